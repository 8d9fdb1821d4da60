//! The events of a streamed answer, in whatever dialect: counted, read, and what they add up to recorded.

use std::borrow::Cow;

use onrecord_proof::{Record, field};

use super::{Event, Unended};
use crate::answer::Answer;
use crate::problem::Problem;
use crate::wire::{Last, Text, Wire};
use crate::{End, Limits, json};

/// What ends the streams of OpenAI and of all who speak like it. Taken for the end in every dialect: proxies add it.
const DONE: &[u8] = b"[DONE]";

/// True if an event with this data ends a stream.
pub(super) fn is_done(data: &[u8]) -> bool {
    data.starts_with(DONE)
}

/// True if it may turn out to, of data that begins like this.
pub(super) fn may_be_done(data: &[u8]) -> bool {
    is_done(data) || DONE.starts_with(data)
}

/// A streamed answer that is being received.
pub(super) struct Parser {
    wire: Box<dyn Wire>,
    answer: Answer,
    events: u64,
    has_ended: bool,
    bad: Option<Bad>,
}

/// Events that could not be parsed.
struct Bad {
    count: u64,
    first: u64,
    why: String,
}

impl Parser {
    pub(super) fn new(wire: Box<dyn Wire>, limits: Limits) -> Self {
        Self { wire, answer: Answer::new(limits.body), events: 0, has_ended: false, bad: None }
    }

    /// Takes one event, which came `at_us` microseconds after the request's head.
    pub(super) fn event(&mut self, event: &Event<'_>, at_us: i64) -> Last {
        self.events += 1;
        self.answer.at(at_us);
        let result = if event.is_cut { Ok(self.too_long(event)) } else { self.take(event, at_us) };
        let last = result.unwrap_or_else(|why| {
            self.note(why);
            Last::No
        });
        self.has_ended |= last != Last::No;
        last
    }

    /// What the answer is called, once that is known.
    pub(super) fn id(&self) -> Option<&str> {
        self.answer.id()
    }

    /// Takes the decisions of an answer's message that were taken out of the stream.
    pub(super) fn decided(&mut self, index: i64, decisions: &str, at_us: i64) {
        self.answer.decided(index, decisions, at_us);
    }

    fn take(&mut self, event: &Event<'_>, at_us: i64) -> Result<Last, String> {
        if is_done(event.data) {
            return Ok(Last::Yes);
        }
        let (name, json) = (json::utf8(event.name), json::utf8(event.data));
        if name == "error" {
            self.answer.fail_with(&json);
            return Ok(Last::No);
        }
        let text = Text { name: &name, json: &json, at_us };
        let last = self.wire.event(text, &mut self.answer).map_err(|error| error.to_string())?;
        if matches!(json, Cow::Owned(_)) {
            self.note("it is not UTF-8".into());
        }
        Ok(last)
    }

    /// An event that was cut may be the last one, unless its name or its start says that it is not.
    fn too_long(&mut self, event: &Event<'_>) -> Last {
        self.note("it is too long".into());
        if may_be_done(event.data) || self.wire.may_be_last(event.name, event.data) { Last::Perhaps } else { Last::No }
    }

    /// Takes note of why this event could not be parsed.
    fn note(&mut self, why: String) {
        let first = self.events;
        self.bad.get_or_insert(Bad { count: 0, first, why }).count += 1;
    }

    pub(super) fn may_be_last(&self, unended: &Unended<'_>) -> bool {
        may_be_done(unended.data) || self.wire.may_be_last(unended.name, unended.data)
    }

    /// Records what the events add up to.
    pub(super) fn finish(mut self, end: End, record: &mut Record) -> Result<(), Problem> {
        record.set(&field::OUTPUT_EVENTS, i64::try_from(self.events).unwrap_or(i64::MAX));
        self.answer.at(0);
        self.answer.record_stream(record);
        let result = self.problem(end);
        self.answer.record_facts("stream", record);
        result
    }

    fn problem(&mut self, end: End) -> Result<(), Problem> {
        let explained = self.answer.has_failed() || end != End::Complete;
        let is_answer = self.answer.is_answer();
        match self.bad.take() {
            Some(Bad { count, first, why }) => Err(Problem::Events { count, first, why }),
            None if explained || (is_answer && (self.has_ended || self.answer.has_finished())) => Ok(()),
            None if self.events == 0 => Err(Problem::Empty),
            None if is_answer => Err(Problem::NoEnd),
            None => Err(Problem::NoAnswer),
        }
    }
}
