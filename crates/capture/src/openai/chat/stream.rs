//! The events of a streamed answer: chunks, and `[DONE]` at the end.

use onrecord_proof::{Record, field};

use super::answer::Answer;
use crate::problem::Problem;
use crate::sse::Event;
use crate::stream::StreamParser;
use crate::{End, Limits, json};

/// A streamed answer that is being received.
pub(crate) struct Stream {
    answer: Answer,
    events: u64,
    is_done: bool,
    bad: Option<Bad>,
}

/// Events that could not be parsed.
struct Bad {
    count: u64,
    first: u64,
    why: String,
}

impl Stream {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { answer: Answer::new(limits.body), events: 0, is_done: false, bad: None }
    }

    fn take(&mut self, event: &Event<'_>, at_us: i64) -> Result<(), String> {
        if event.data.starts_with(b"[DONE]") {
            self.is_done = true;
            return Ok(());
        }
        let data = json::utf8(event.data);
        if event.name == b"error" {
            self.answer.fail(&data);
            return Ok(());
        }
        self.answer.take(&data, at_us).map_err(|error| error.to_string())?;
        let damaged = matches!(data, std::borrow::Cow::Owned(_));
        if damaged { Err("it is not UTF-8".into()) } else { Ok(()) }
    }

    fn problem(&mut self, end: End) -> Result<(), Problem> {
        let explained = self.answer.has_failed() || end == End::CutOff;
        match self.bad.take() {
            Some(Bad { count, first, why }) => Err(Problem::Events { count, first, why }),
            None if explained || (self.answer.has_choices() && (self.is_done || self.answer.has_finished())) => Ok(()),
            None if self.events == 0 => Err(Problem::Empty),
            None if self.answer.has_choices() => Err(Problem::NoEnd),
            None => Err(Problem::NoChoices),
        }
    }
}

impl StreamParser for Stream {
    fn event(&mut self, event: &Event<'_>, at_us: i64) {
        self.events += 1;
        let result = if event.is_cut { Err("it is too long".into()) } else { self.take(event, at_us) };
        if let Err(why) = result {
            let first = self.events;
            self.bad.get_or_insert(Bad { count: 0, first, why }).count += 1;
        }
    }

    fn finish(mut self: Box<Self>, end: End, record: &mut Record) -> Result<(), Problem> {
        record.set(&field::OUTPUT_EVENTS, i64::try_from(self.events).unwrap_or(i64::MAX));
        self.answer.record_stream(record);
        let result = self.problem(end);
        self.answer.record_facts("stream", record);
        result
    }
}
