//! One stream: decoded, cut into events for the dialect's parser, and watched for its end.

mod gate;
mod ndjson;
mod parser;
mod sse;

use onrecord_proof::{Record, field};

use self::gate::Gate;
use self::parser::Parser;
use crate::coding::{Coding, Unpack};
use crate::error::Failure;
use crate::problem::Problem;
use crate::wire::Last;
use crate::{Dialect, End, Limits};

/// Decoded bytes of one compressed stream, in multiples of what is kept of a body: more than any answer has, and an
/// end to what a small input can cost.
pub(crate) const DECODED_MAX: usize = 64;

/// How a stream is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events.
    Events,
    /// JSON values, one a line.
    Lines,
}

impl Framing {
    /// What a content type announces; `None` for one that is no stream.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        match name.to_ascii_lowercase().as_str() {
            "text/event-stream" => Some(Self::Events),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// One event that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// Its name, empty without one.
    pub(crate) name: &'a [u8],
    /// Its data.
    pub(crate) data: &'a [u8],
    /// True if it was longer than the limit and the rest of it was dropped.
    pub(crate) is_cut: bool,
    /// Where it begins, in bytes from the start of the stream.
    pub(crate) start: u64,
}

/// An event whose end has not come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unended<'a> {
    /// Where it begins, in bytes from the start of the stream.
    pub(crate) start: u64,
    /// Its name, empty as long as it is not known.
    pub(crate) name: &'a [u8],
    /// The start of its data.
    pub(crate) data: &'a [u8],
}

/// A stream that is being received.
pub(crate) struct Stream {
    unpack: Option<Unpack>,
    plain: Plain,
    /// Why its end cannot be seen.
    blind: Option<Problem>,
}

impl Stream {
    pub(crate) fn new(dialect: Dialect, framing: Framing, encoding: Option<&str>, limits: Limits) -> Self {
        let (unpack, blind) = match Coding::of(encoding) {
            Ok(Coding::Identity) => (None, None),
            Ok(coding) => (Some(Unpack::new(coding, limits.body.saturating_mul(DECODED_MAX))), None),
            Err(problem) => (None, Some(problem)),
        };
        Self { unpack, plain: Plain::new(dialect, framing, limits), blind }
    }

    /// True if the dialect is known and the bytes can be read.
    pub(crate) fn is_parsed(&self) -> bool {
        self.plain.parser.is_some() && self.blind.is_none()
    }

    /// True if the event that ends the stream was seen for certain.
    pub(crate) fn has_ended(&self) -> bool {
        self.plain.gate.is_closed()
    }

    /// What the answer is called, once that is known.
    pub(crate) fn id(&self) -> Option<&str> {
        self.plain.parser.as_ref()?.id()
    }

    /// How many bytes of `piece` may flow. While the end cannot be seen, none may: it could be among them.
    pub(crate) fn push(&mut self, piece: &[u8], at_us: i64) -> usize {
        if self.blind.is_some() {
            return 0;
        }
        let Some(unpack) = &mut self.unpack else { return self.plain.push(piece, at_us) };
        let plain = &mut self.plain;
        let result = unpack.push(piece, |decoded| {
            plain.push(decoded, at_us);
        });
        self.blind = result.err();
        // What a compressed piece stands for flows as a whole or not at all.
        if self.blind.is_none() && self.plain.all_may_flow() { piece.len() } else { 0 }
    }

    /// Takes decisions that were taken out of what comes next.
    pub(crate) fn decided(&mut self, index: i64, decisions: &str, at_us: i64) {
        if let Some(parser) = &mut self.plain.parser {
            parser.decided(index, decisions, at_us);
        }
    }

    /// Records what came; `None` if the dialect is not known.
    pub(crate) fn finish(self, end: End, status: u16, record: &mut Record) -> Option<Result<(), Problem>> {
        let result = self.plain.finish(end, record);
        if status >= 400 && record.get(&field::ERROR_TYPE).is_none() {
            Failure::default().record("upstream", status, record);
        } else if status >= 400 {
            record.set(&field::ERROR_STAGE, "upstream");
        }
        result.map(|result| self.blind.map_or(result, Err))
    }
}

/// A stream whose bytes can be read.
struct Plain {
    decoder: Decoder,
    parser: Option<Parser>,
    gate: Gate,
    /// Bytes that have come.
    size: u64,
    /// When the last piece came, in microseconds after the request's head.
    at_us: i64,
}

impl Plain {
    fn new(dialect: Dialect, framing: Framing, limits: Limits) -> Self {
        let decoder = match framing {
            Framing::Events => Decoder::Events(sse::Decoder::new(limits.body)),
            Framing::Lines => Decoder::Lines(ndjson::Decoder::new(limits.body)),
        };
        let parser = dialect.wire().map(|wire| Parser::new(wire, limits));
        Self { decoder, parser, gate: Gate::default(), size: 0, at_us: 0 }
    }

    fn push(&mut self, piece: &[u8], at_us: i64) -> usize {
        let before = self.size;
        (self.size, self.at_us) = (before + piece.len() as u64, at_us);
        let Self { decoder, parser, gate, .. } = self;
        decoder.push(piece, |event| {
            let last = match parser {
                Some(parser) => parser.event(&event, at_us),
                None if parser::is_done(event.data) => Last::Yes,
                None => Last::No,
            };
            gate.saw(last, event.start);
        });
        // Clients that read line by line do not wait for the blank one.
        if let Some(unended) = decoder.unended().filter(|unended| parser::is_done(unended.data)) {
            gate.saw(Last::Yes, unended.start);
        }
        let free = self.free_to().saturating_sub(before);
        usize::try_from(free).unwrap_or(usize::MAX).min(piece.len())
    }

    fn all_may_flow(&self) -> bool {
        self.free_to() == self.size
    }

    /// Up to where everything may flow, in bytes from the start.
    fn free_to(&self) -> u64 {
        let unended = self.decoder.unended().filter(|unended| match &self.parser {
            Some(parser) => parser.may_be_last(unended),
            None => parser::may_be_done(unended.data),
        });
        self.gate.free_to(unended.map(|unended| unended.start), self.size)
    }

    fn finish(self, end: End, record: &mut Record) -> Option<Result<(), Problem>> {
        let mut parser = self.parser?;
        self.decoder.finish(end == End::Complete, |event| {
            parser.event(&event, self.at_us);
        });
        Some(parser.finish(end, record))
    }
}

/// The decoder of a framing.
enum Decoder {
    Events(sse::Decoder),
    Lines(ndjson::Decoder),
}

impl Decoder {
    fn push(&mut self, piece: &[u8], each: impl FnMut(Event<'_>)) {
        match self {
            Self::Events(events) => events.push(piece, each),
            Self::Lines(lines) => lines.push(piece, each),
        }
    }

    fn unended(&self) -> Option<Unended<'_>> {
        match self {
            Self::Events(events) => events.unended(),
            Self::Lines(lines) => lines.unended(),
        }
    }

    fn finish(self, whole: bool, each: impl FnMut(Event<'_>)) {
        match self {
            Self::Events(events) => events.finish(whole, each),
            Self::Lines(lines) => lines.finish(whole, each),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dialect: Dialect, pieces: &[&str], expect: &[usize]) {
        let mut stream = Stream::new(dialect, Framing::Events, None, Limits::default());
        let got: Vec<_> = pieces.iter().map(|piece| stream.push(piece.as_bytes(), 0)).collect();
        assert_eq!(got, expect, "{pieces:?}");
    }

    #[test]
    fn what_flows_and_what_waits() {
        for dialect in [Dialect::OpenAiChat, Dialect::Unknown] {
            check(dialect, &["data: {}\n\n", "data: [DONE]\n\n", "more"], &[10, 0, 0]);
            check(dialect, &["data: {}\n\ndata:[DONE]\n\n"], &[10]);
            check(dialect, &["data: {}\r\rdata: [DONE]"], &[10]);
            check(dialect, &["data: {}\n\ndata: [DO", "NE]\n\n"], &[10, 0]);
            check(dialect, &["data: {}\n\nda", "ta", ": {\"a\":1}", "\n\n"], &[10, 0, 9, 2]);
            check(dialect, &["data: {}\n\nd", "x", "\ndata: [DONE]\n"], &[10, 1, 1]);
            check(dialect, &["data: [DOG]\n\ndata: [DONE]"], &[13]);
            check(dialect, &["data:  [DONE]\n"], &[14]);
            check(dialect, &[": [DONE]\n\n", "data: \"[DONE]\"\n"], &[10, 15]);
            check(dialect, &["", "data: [DONE]", ""], &[0, 0, 0]);
            check(dialect, &[": ping", "\n", "\n: ping\nevent: x\n"], &[6, 1, 8]);
        }
    }

    #[test]
    fn content_types() {
        for (content_type, expect) in [
            ("text/event-stream", Some(Framing::Events)),
            ("Text/Event-Stream; charset=utf-8", Some(Framing::Events)),
            ("application/x-ndjson", Some(Framing::Lines)),
            ("application/ndjson;x", Some(Framing::Lines)),
            ("application/json", None),
            ("text/event-streams", None),
        ] {
            assert_eq!(Framing::of(content_type), expect, "{content_type}");
        }
    }
}
