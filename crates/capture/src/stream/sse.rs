//! Server-sent events (WHATWG HTML §9.2.6, “Interpreting an event stream”), cut from pieces of any size.
//!
//! One difference: an event that the end of the stream leaves without its blank line is reported, because clients
//! take it as well. `id` and `retry` steer reconnection and say nothing of the answer, so they are passed over.

use super::{Event, Unended};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Room in a line for more than a byte order mark and `data: `, so that a line that is cut has data beyond the limit
/// and the event says that it is cut, whatever the pieces were.
const FIELD_MAX: usize = 16;

/// Cuts a stream into events.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Bytes that are kept of the data of one event.
    limit: usize,
    /// The start of a line whose end has not come.
    line: Vec<u8>,
    /// Where that line begins, and how much of it has come, in bytes.
    line_at: u64,
    line_len: u64,
    open: Open,
    /// The last byte was a CR, so that an LF now belongs to it.
    after_cr: bool,
    /// No line has ended yet, so that a byte order mark may stand before this one.
    at_start: bool,
}

/// The event whose blank line has not come.
#[derive(Debug, Default)]
struct Open {
    /// Where its first field begins.
    start: Option<u64>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    is_cut: bool,
}

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            line_at: 0,
            line_len: 0,
            open: Open::default(),
            after_cr: false,
            at_start: true,
        }
    }

    /// Reports the events that end in `piece`.
    pub(crate) fn push(&mut self, mut piece: &[u8], mut each: impl FnMut(Event<'_>)) {
        if self.after_cr && !piece.is_empty() {
            let rest = piece.strip_prefix(b"\n").unwrap_or(piece);
            self.line_at += (piece.len() - rest.len()) as u64;
            (piece, self.after_cr) = (rest, false);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', piece) {
            self.end_line(&piece[..end], &mut each);
            let rest = &piece[end + 1..];
            let cr = piece[end] == b'\r';
            self.after_cr = cr && rest.is_empty();
            let rest = if cr { rest.strip_prefix(b"\n").unwrap_or(rest) } else { rest };
            self.line_at += self.line_len + (piece.len() - rest.len()) as u64;
            self.line_len = 0;
            piece = rest;
        }
        append(&mut self.line, piece, self.limit + FIELD_MAX);
        self.line_len += piece.len() as u64;
    }

    /// Reports the event that was not ended. `whole` says that the stream was, so that its last line is whole too.
    pub(crate) fn finish(mut self, whole: bool, mut each: impl FnMut(Event<'_>)) {
        if whole && !self.line.is_empty() {
            self.end_line(&[], &mut each);
        }
        self.end_event(&mut each);
    }

    /// The event whose end has not come, if something of it has. Comments belong to none.
    pub(crate) fn unended(&self) -> Option<Unended<'_>> {
        let line = if self.at_start { self.line.strip_prefix(BOM).unwrap_or(&self.line) } else { &self.line };
        let begins = may_be_field(line).then_some(self.line_at);
        let start = self.open.start.or(begins)?;
        let value = line.strip_prefix(b"data:").unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let data = if self.open.has_data { &self.open.data } else { value };
        Some(Unended { start, name: &self.open.name, data })
    }

    /// Ends the line that `tail` is the last part of.
    fn end_line(&mut self, tail: &[u8], each: &mut impl FnMut(Event<'_>)) {
        if self.line.is_empty() {
            return self.on_line(tail, each);
        }
        let mut line = std::mem::take(&mut self.line);
        append(&mut line, tail, self.limit + FIELD_MAX);
        self.on_line(&line, each);
        line.clear();
        self.line = line;
    }

    fn on_line(&mut self, line: &[u8], each: &mut impl FnMut(Event<'_>)) {
        let line = if std::mem::take(&mut self.at_start) { line.strip_prefix(BOM).unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.end_event(each);
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" => self.open.add(value, self.limit),
            b"event" => {
                self.open.name.clear();
                append(&mut self.open.name, value, self.limit);
            }
            _ => return,
        }
        self.open.start.get_or_insert(self.line_at);
    }

    fn end_event(&mut self, each: &mut impl FnMut(Event<'_>)) {
        let open = &mut self.open;
        if open.has_data {
            let start = open.start.unwrap_or(self.line_at);
            each(Event { name: &open.name, data: &open.data, is_cut: open.is_cut, start });
        }
        open.name.clear();
        open.data.clear();
        (open.start, open.has_data, open.is_cut) = (None, false, false);
    }
}

impl Open {
    fn add(&mut self, value: &[u8], limit: usize) {
        if self.has_data {
            self.is_cut |= append(&mut self.data, b"\n", limit);
        }
        self.has_data = true;
        self.is_cut |= append(&mut self.data, value, limit);
    }
}

/// True if a line that begins like this may become, or is, one that says something of an event.
fn may_be_field(line: &[u8]) -> bool {
    let fits = |field: &[u8]| {
        let known = line.len().min(field.len());
        line[..known] == field[..known] && line.get(known).is_none_or(|byte| *byte == b':')
    };
    !line.is_empty() && (fits(b"data") || fits(b"event"))
}

/// Appends as much as the limit allows; true if that is not all.
pub(super) fn append(to: &mut Vec<u8>, piece: &[u8], limit: usize) -> bool {
    let room = limit.saturating_sub(to.len());
    to.extend_from_slice(&piece[..piece.len().min(room)]);
    piece.len() > room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(stream: &str, size: usize) -> Vec<(String, String, bool)> {
        let mut found = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut each = |event: Event<'_>| found.push((text(event.name), text(event.data), event.is_cut));
        let mut decoder = Decoder::new(32);
        stream.as_bytes().chunks(size).for_each(|piece| decoder.push(piece, &mut each));
        decoder.finish(true, &mut each);
        found
    }

    fn check(stream: &str, expect: &[(&str, &str)]) {
        for size in 1..=stream.len().max(1) {
            let got = events(stream, size);
            let got: Vec<_> = got.iter().map(|(name, data, _)| (name.as_str(), data.as_str())).collect();
            assert_eq!(got, expect, "{stream:?} in pieces of {size}");
        }
    }

    #[test]
    fn every_line_ending() {
        for end in ["\n", "\r\n", "\r"] {
            check(&["data: a", "", "data: b", "", ""].join(end), &[("", "a"), ("", "b")]);
        }
        check("data: a\r\n\r\ndata: b\n\rdata: c\r\r\n", &[("", "a"), ("", "b"), ("", "c")]);
    }

    #[test]
    fn fields() {
        check("data:a\ndata:  b\ndata\n\n", &[("", "a\n b\n")]);
        check("event: ping\nid: 1\nretry: 5\ndata: {}\n\ndata: x\n\n", &[("ping", "{}"), ("", "x")]);
        check(": comment\n\n:\n\nevent: lost\n\ndata:\n\n", &[("", "")]);
        check("unknown: a\ndatax: b\n\n", &[]);
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[("", "a")]);
    }

    #[test]
    fn the_last_event_needs_no_end() {
        check("data: a\n\ndata: b", &[("", "a"), ("", "b")]);
        check("data: a\n\ndata: b\n", &[("", "a"), ("", "b")]);
        check("", &[]);
        let mut decoder = Decoder::new(32);
        decoder.push(b"data: a\ndata: {\"cut", |_| panic!("nothing ended"));
        let mut last = None;
        decoder.finish(false, |event| last = Some(event.data.to_vec()));
        assert_eq!(last.as_deref(), Some(&b"a"[..]));
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "data: ".to_owned() + &"x".repeat(40) + "\n\ndata: y\n\n";
        for size in 1..long.len() {
            let cut = events(&long, size);
            assert_eq!(cut[0], (String::new(), "x".repeat(32), true), "{size}");
            assert_eq!(cut[1], (String::new(), "y".into(), false));
        }
    }
}
