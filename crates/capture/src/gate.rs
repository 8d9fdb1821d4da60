//! How much of an event stream may go on to the client before its record is durable.
//!
//! A client takes `data: [DONE]` for the end of the answer. Everything before that line flows at once; from its first
//! byte on nothing does. A piece that ends within what may become that line keeps back those few bytes and nothing
//! else, since no token is in them.

/// The line that ends a stream, apart from the one space that may follow the colon.
const LAST: &[u8] = b"data:[DONE]";
const COLON: usize = 5;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Watches a stream for the line that ends it.
#[derive(Debug)]
pub(crate) struct Gate {
    at: At,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// At the start of the stream, after so many bytes of a byte order mark.
    Mark(usize),
    /// In a line that so far reads like so many bytes of [`LAST`], with or without the space.
    Head { matched: usize, space: bool },
    /// In a line that is another one.
    Other,
    /// At the end.
    Closed,
}

const LINE: At = At::Head { matched: 0, space: false };

impl Gate {
    pub(crate) const fn new() -> Self {
        Self { at: At::Mark(0) }
    }

    /// True if the line was seen; nothing flows any more.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.at, At::Closed)
    }

    /// How many bytes of `piece` may flow, and with them, if it is not 0, all that an earlier piece kept back.
    pub(crate) fn push(&mut self, piece: &[u8]) -> usize {
        let (mut line, mut at) = (0, 0);
        while at < piece.len() {
            match self.at {
                At::Closed => return line,
                At::Other => match memchr::memchr2(b'\n', b'\r', &piece[at..]) {
                    Some(found) => (at, line, self.at) = (at + found + 1, at + found + 1, LINE),
                    None => return piece.len(),
                },
                At::Mark(n) if BOM.get(n) == Some(&piece[at]) => {
                    (at, line, self.at) = (at + 1, at + 1, At::Mark(n + 1));
                }
                At::Mark(_) => self.at = LINE,
                At::Head { matched, space } => {
                    self.at = after(matched, space, piece[at]);
                    at += usize::from(!matches!(self.at, At::Other));
                }
            }
        }
        if matches!(self.at, At::Head { .. } | At::Closed) { line } else { piece.len() }
    }
}

/// One byte further into a line. A byte that does not fit is looked at again, as it may end the line.
fn after(matched: usize, space: bool, byte: u8) -> At {
    match LAST.get(matched) {
        Some(&expected) if expected == byte && matched + 1 == LAST.len() => At::Closed,
        Some(&expected) if expected == byte => At::Head { matched: matched + 1, space },
        _ if matched == COLON && byte == b' ' && !space => At::Head { matched, space: true },
        _ => At::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str], expect: &[usize]) {
        let mut gate = Gate::new();
        let got: Vec<_> = pieces.iter().map(|piece| gate.push(piece.as_bytes())).collect();
        assert_eq!(got, expect, "{pieces:?}");
    }

    #[test]
    fn what_flows_and_what_waits() {
        check(&["data: {}\n\n", "data: [DONE]\n\n", "more"], &[10, 0, 0]);
        check(&["data: {}\n\ndata:[DONE]\n\n"], &[10]);
        check(&["data: {}\r\rdata: [DONE]"], &[10]);
        check(&["data: {}\n\ndata: [DO", "NE]\n\n"], &[10, 0]);
        check(&["data: {}\n\nda", "ta", ": {\"a\":1}", "\n\n"], &[10, 0, 9, 2]);
        check(&["data: {}\n\nd", "x", "data: [DONE]\n"], &[10, 1, 13]);
        check(&["data: [DO\ndata: [DONE]"], &[10]);
        check(&["data:  [DONE]\n"], &[14]);
        check(&["\u{feff}data: [DONE]\n"], &[3]);
        check(&[": [DONE]\n\n", "data: \"[DONE]\"\n"], &[10, 15]);
        check(&["", "data: [DONE]", ""], &[0, 0, 0]);
    }
}
