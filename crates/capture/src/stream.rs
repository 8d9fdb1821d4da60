//! One event stream: decoded, cut into events for the dialect's parser, and watched for its end.

use onrecord_proof::{Record, field};

use crate::coding::{Coding, Inflate};
use crate::error::Failure;
use crate::gate::Gate;
use crate::problem::Problem;
use crate::sse::{Decoder, Event};
use crate::{Dialect, End, Limits};

/// Decoded bytes of one compressed stream, in multiples of what is kept of a body: more than any answer has, and an
/// end to what a small input can cost.
const DECODED_MAX: usize = 64;

/// What a dialect makes of an event stream.
pub(crate) trait StreamParser: Send {
    /// Takes one event, which came `at_us` microseconds after the request's head.
    fn event(&mut self, event: &Event<'_>, at_us: i64);

    /// Records what the events add up to.
    fn finish(self: Box<Self>, end: End, record: &mut Record) -> Result<(), Problem>;
}

/// An event stream that is being received.
pub(crate) struct Stream {
    inflate: Option<Inflate>,
    plain: Plain,
    /// Why its end cannot be seen.
    blind: Option<Problem>,
}

struct Plain {
    gate: Gate,
    decoder: Decoder,
    parser: Option<Box<dyn StreamParser>>,
    /// When the last piece came, in microseconds after the request's head.
    at_us: i64,
}

impl Stream {
    pub(crate) fn new(dialect: Dialect, encoding: Option<&str>, limits: Limits) -> Self {
        let (inflate, blind) = match Coding::of(encoding) {
            Ok(Coding::Identity) => (None, None),
            Ok(coding) => (Some(Inflate::new(coding, limits.body.saturating_mul(DECODED_MAX))), None),
            Err(problem) => (None, Some(problem)),
        };
        let plain =
            Plain { gate: Gate::new(), decoder: Decoder::new(limits.body), parser: dialect.stream(limits), at_us: 0 };
        Self { inflate, plain, blind }
    }

    /// True if the dialect is known and the bytes can be read.
    pub(crate) fn is_parsed(&self) -> bool {
        self.plain.parser.is_some() && self.blind.is_none()
    }

    /// True if the event that ends the stream was seen.
    pub(crate) fn has_ended(&self) -> bool {
        self.plain.gate.is_closed()
    }

    /// How many bytes of `piece` may flow. While the end cannot be seen, none may: it could be among them.
    pub(crate) fn push(&mut self, piece: &[u8], at_us: i64) -> usize {
        if self.blind.is_some() {
            return 0;
        }
        let Some(inflate) = &mut self.inflate else { return self.plain.push(piece, at_us) };
        let plain = &mut self.plain;
        let result = inflate.push(piece, |decoded| {
            plain.push(decoded, at_us);
        });
        self.blind = result.err();
        if self.blind.is_some() || self.plain.gate.is_closed() { 0 } else { piece.len() }
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

impl Plain {
    fn push(&mut self, piece: &[u8], at_us: i64) -> usize {
        self.at_us = at_us;
        if let Some(parser) = &mut self.parser {
            self.decoder.push(piece, |event| parser.event(&event, at_us));
        }
        self.gate.push(piece)
    }

    fn finish(self, end: End, record: &mut Record) -> Option<Result<(), Problem>> {
        let mut parser = self.parser?;
        self.decoder.finish(end == End::Complete, |event| parser.event(&event, self.at_us));
        Some(parser.finish(end, record))
    }
}
