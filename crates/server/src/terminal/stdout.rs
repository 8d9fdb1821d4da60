//! Standard output. A reader that has left, such as `head`, is an error here, where `println!` would panic.

use std::io::{self, IsTerminal as _, Write};

use super::escape::{Escape, escape_json};

/// Standard output, with errors that [`is_broken_pipe`] tells from those of files and connections.
#[derive(Debug)]
pub(crate) struct Stdout(io::Stdout);

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
struct NotPrinted(io::Error);

/// Standard output.
pub(crate) fn stdout() -> Stdout {
    Stdout(io::stdout())
}

fn not_printed(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), NotPrinted(error))
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(not_printed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(not_printed)
    }
}

/// Writes a line to standard output.
pub(crate) fn print_line(line: &str) -> io::Result<()> {
    stdout().write_all(format!("{line}\n").as_bytes())
}

/// Writes JSON to standard output: as it is for a program, and with the same value but harmless for a terminal.
pub(crate) fn print_json(json: &str) -> io::Result<()> {
    let interactive = io::stdout().is_terminal();
    print_line(&if interactive { escape_json(json) } else { json.into() })
}

/// True if the program should just end, since nobody reads what it prints. A pipe or connection to somebody else that breaks
/// is a failure like others.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_ours = |cause: &io::Error| Some(cause.get_ref()?.downcast_ref::<NotPrinted>()?.0.kind());
    error.chain().filter_map(|cause| of_ours(cause.downcast_ref()?)).any(|kind| kind == io::ErrorKind::BrokenPipe)
}

/// Passes text on in a form that is harmless for a terminal.
pub(crate) struct Escaping<W> {
    to: W,
    escape: Escape,
    /// The beginning of a character that was cut.
    cut: Vec<u8>,
}

impl<W: Write> Escaping<W> {
    pub(crate) fn new(to: W, escape: Escape) -> Self {
        Self { to, escape, cut: Vec::new() }
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.cut.extend_from_slice(bytes);
        let rest = self.cut.split_off(whole(&self.cut));
        let text = std::mem::replace(&mut self.cut, rest);
        self.to.write_all((self.escape)(&String::from_utf8_lossy(&text)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The bytes of a text without the beginning of a character at its end.
fn whole(text: &[u8]) -> usize {
    match str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::escape_lines;

    #[test]
    fn only_our_own_output_is_a_broken_pipe_below_its_context() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let full = not_printed(io::Error::from(io::ErrorKind::StorageFull));
        let error = |error: io::Error| anyhow::Error::from(error).context("asking");
        assert!(is_broken_pipe(&error(not_printed(broken()))));
        assert!(!is_broken_pipe(&error(broken())), "of a connection");
        assert!(!is_broken_pipe(&error(full)));
        assert_eq!(not_printed(broken()).to_string(), format!("standard output: {}", broken()));
    }

    #[test]
    fn text_in_pieces_is_harmless() {
        for (escape, text, shown) in [
            (escape_lines as Escape, "a\u{1b}[2J,ß\n\u{202e}b\u{9b}", "a\\u{1b}[2J,ß\n\\u{202e}b\\u{9b}"),
            (escape_json, "{\"a\":\"\u{9b}寿\u{202e}\"}\n", "{\"a\":\"\\u009b寿\\u202e\"}\n"),
        ] {
            for size in 1..=text.len() {
                let mut out = Escaping::new(Vec::new(), escape);
                text.as_bytes().chunks(size).for_each(|piece| out.write_all(piece).unwrap());
                assert_eq!(String::from_utf8(out.to).unwrap(), shown, "{size}");
            }
        }
        let mut out = Escaping::new(Vec::new(), escape_lines);
        out.write_all(b"a\x9bb").unwrap();
        assert_eq!(out.to, "a\u{fffd}b".as_bytes(), "no UTF-8");
    }
}
