//! Streams of JSON values, one a line (`application/x-ndjson`), cut from pieces of any size.

use super::sse::append;
use super::{Event, Unended};

/// Cuts a stream into lines. Empty ones are passed over.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// Bytes that are kept of one line.
    limit: usize,
    line: Vec<u8>,
    is_cut: bool,
    /// Where the line begins, and how much of it has come, in bytes.
    line_at: u64,
    line_len: u64,
}

impl Decoder {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), is_cut: false, line_at: 0, line_len: 0 }
    }

    /// Reports the lines that end in `piece`.
    pub(crate) fn push(&mut self, mut piece: &[u8], mut each: impl FnMut(Event<'_>)) {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            self.end_line(&piece[..end], &mut each);
            self.line_at += self.line_len + end as u64 + 1;
            self.line_len = 0;
            piece = &piece[end + 1..];
        }
        self.is_cut |= append(&mut self.line, piece, self.limit);
        self.line_len += piece.len() as u64;
    }

    /// Reports the line that was not ended. `whole` says that the stream was, so that its last line is whole too.
    pub(crate) fn finish(mut self, whole: bool, mut each: impl FnMut(Event<'_>)) {
        if whole {
            self.end_line(&[], &mut each);
        }
    }

    /// The line whose end has not come, if something of it has.
    pub(crate) fn unended(&self) -> Option<Unended<'_>> {
        (self.line_len > 0).then_some(Unended { start: self.line_at, name: b"", data: &self.line })
    }

    /// Ends the line that `tail` is the last part of.
    fn end_line(&mut self, tail: &[u8], each: &mut impl FnMut(Event<'_>)) {
        let start = self.line_at;
        let mut report = |line: &[u8], is_cut| {
            let data = line.trim_ascii();
            if is_cut || !data.is_empty() {
                each(Event { name: b"", data, is_cut, start });
            }
        };
        if self.line.is_empty() && tail.len() <= self.limit {
            return report(tail, self.is_cut);
        }
        self.is_cut |= append(&mut self.line, tail, self.limit);
        report(&self.line, self.is_cut);
        self.line.clear();
        self.is_cut = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(stream: &str, size: usize) -> Vec<(String, bool, u64)> {
        let mut found = Vec::new();
        let mut each =
            |event: Event<'_>| found.push((String::from_utf8_lossy(event.data).into(), event.is_cut, event.start));
        let mut decoder = Decoder::new(16);
        stream.as_bytes().chunks(size).for_each(|piece| decoder.push(piece, &mut each));
        decoder.finish(true, &mut each);
        found
    }

    #[test]
    fn lines_of_any_ending_with_their_places() {
        let stream = "{\"a\":1}\n{\"b\":2}\r\n\n  \n[3]";
        for size in 1..=stream.len() {
            let expect = [("{\"a\":1}".into(), false, 0), ("{\"b\":2}".into(), false, 8), ("[3]".into(), false, 21)];
            assert_eq!(lines(stream, size), expect, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let stream = "x".repeat(20) + "\n" + &"y".repeat(16) + "\nz\n";
        for size in 1..=stream.len() {
            let expect = [("x".repeat(16), true, 0), ("y".repeat(16), false, 21), ("z".into(), false, 38)];
            assert_eq!(lines(&stream, size), expect, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_that_is_cut_off_is_not_reported() {
        let mut decoder = Decoder::new(16);
        decoder.push(b"{\"a\"", |_| panic!("nothing ended"));
        assert_eq!(decoder.unended().unwrap().data, b"{\"a\"");
        decoder.finish(false, |_| panic!("it was cut off"));
    }
}
