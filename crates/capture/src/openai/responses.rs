//! Responses (OpenAI API reference, “Responses”), as OpenAI, llama.cpp, vLLM and others serve them.
//!
//! A stream sends an item's text in deltas and then all of it again: when the item is done, and when the response is.
//! What comes again replaces what there is, so that a stream that breaks off leaves what it got to, and one that does
//! not leaves what the server says in the end.

use onrecord_proof::field;
use serde_json::Result;

use super::item;
use crate::answer::{Answer, Key, Kind, Message};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::request::asked::{Asked, SAMPLING, last_item};
use crate::wire::{Last, Text, Wire, object};

/// What a request says.
pub(crate) const REQUEST: Asked = Asked {
    parameters: &[("max_output_tokens", &field::MAX_TOKENS)],
    shared: SAMPLING,
    input: &[("input", last_item)],
    ..Asked::NOTHING
};

object! {
    /// A response, whole or as far as it is known.
    Response { id, model, output, usage, status, incomplete_details, error } without { "object" }
}

object! {
    /// An event.
    Event {
        kind as "type", response, item, item_id, output_index, content_index, summary_index, delta, logprobs, timings,
        error
    } without { "sequence_number" }
}

/// The events that end a stream.
const LAST: [&str; 3] = ["response.completed", "response.failed", "response.incomplete"];

/// The events that bring more of something, and what of.
const DELTAS: [(&str, Kind); 9] = [
    ("response.output_text.delta", Kind::Text),
    ("response.refusal.delta", Kind::Refusal),
    ("response.reasoning_text.delta", Kind::Reasoning),
    ("response.reasoning_summary_text.delta", Kind::Reasoning),
    ("response.function_call_arguments.delta", Kind::ToolCall),
    ("response.custom_tool_call_input.delta", Kind::ToolCall),
    ("response.mcp_call_arguments.delta", Kind::ToolCall),
    ("response.audio.delta", Kind::Audio),
    ("response.audio.transcript.delta", Kind::Transcript),
];

/// Events that say nothing that no other one does: what they tell is part of an item, or a sign of life.
const KNOWN: [&str; 7] =
    [".added", ".done", ".in_progress", ".searching", ".generating", ".interpreting", ".completed"];

/// Reads answers.
#[derive(Default)]
pub(crate) struct Responses {
    /// Token decisions came with the deltas, so that those of the whole response are the same ones again.
    has_logprobs: bool,
}

impl Wire for Responses {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        let new = Event::read(event.json)?;
        let named = new.kind.and_then(json::text).unwrap_or_default();
        let name = if named.is_empty() { event.name } else { &named };
        if name == "error" {
            answer.fail_with(event.json);
            return Ok(Last::No);
        }
        if let Some(error) = new.error {
            answer.fail(error);
        }
        if let Some(timings) = new.timings {
            answer.set_timings(timings.get());
        }
        if let Some(response) = new.response {
            self.take_response(response, answer)?;
            let (extra, budget) = answer.extra(None);
            extra.set_all(&new.rest, budget);
        } else if let Some(item) = new.item {
            if let Some((message, budget)) = answer.message(0) {
                let (is_done, index) = (name == "response.output_item.done", new.output_index.and_then(json::int));
                item::take(item, index, is_done, None, message, budget);
            }
        } else if let Some((_, kind)) = DELTAS.iter().find(|(delta, _)| *delta == name) {
            let spoke =
                answer.message(0).is_some_and(|(message, budget)| self.take_delta(*kind, &new, message, budget));
            if spoke {
                answer.spoke(event.at_us);
            }
        } else if !KNOWN.iter().any(|known| name.ends_with(known)) {
            let (extra, budget) = answer.extra(None);
            extra.set(name, json::parse(event.json)?, budget);
        }
        Ok(if LAST.contains(&name) { Last::Yes } else { Last::No })
    }

    fn whole(&mut self, json: &str, answer: &mut Answer) -> Result<()> {
        self.take_response(json::parse(json)?, answer)
    }

    fn may_be_last(&self, name: &[u8], _: &[u8]) -> bool {
        name.is_empty() || LAST.iter().any(|last| last.as_bytes() == name)
    }
}

impl Responses {
    /// Takes a delta. True if it says something.
    fn take_delta(&mut self, kind: Kind, new: &Event<'_>, message: &mut Message, budget: &mut Budget) -> bool {
        let Some(delta) = new.delta.and_then(json::text) else { return false };
        if let Some(logprobs) = new.logprobs.filter(|list| json::inside_list(list).is_some()) {
            self.has_logprobs = true;
            message.decisions.extend(logprobs, budget);
        }
        let at = |index: Option<&RawValue>| index.and_then(json::int);
        let item = item::name(new.item_id, at(new.output_index));
        let key = match at(new.summary_index) {
            _ if kind == Kind::ToolCall => Key { index: None, name: &item },
            Some(index) => item::summary(&item, index),
            None => Key { index: at(new.content_index).or(Some(0)), name: &item },
        };
        if let Some(part) = message.part(kind, key, budget) {
            part.append(&delta, budget);
        }
        !delta.is_empty()
    }

    fn take_response(&mut self, json: &RawValue, answer: &mut Answer) -> Result<()> {
        let response = Response::read(json.get())?;
        answer.set_id(response.id);
        answer.set_model(response.model);
        if let Some(error) = response.error {
            answer.fail(error);
        }
        if let Some(usage) = response.usage {
            answer.usage.take(usage);
        }
        let status = response.status.filter(|status| !is_under_way(status));
        if let Some((message, budget)) = status.or(response.output).and_then(|_| answer.message(0)) {
            let why = response.incomplete_details.and_then(|details| json::member_of(details, "reason"));
            if let Some(reason) = status.and(why.and_then(json::present).or(status)) {
                message.finish(reason, budget);
            }
            let mut logprobs = (!self.has_logprobs).then(Vec::new);
            let mut index = 0;
            if let Some(items) = response.output {
                json::items(items, |item| {
                    item::take(item, Some(index), true, logprobs.as_mut(), message, budget);
                    index += 1;
                });
            }
            for list in logprobs.into_iter().flatten() {
                message.decisions.extend(list, budget);
            }
        }
        let (extra, budget) = answer.extra(None);
        extra.set_all(&response.rest, budget);
        if let Some(usage) = response.usage {
            extra.set("usage", usage, budget);
        }
        Ok(())
    }
}

fn is_under_way(status: &RawValue) -> bool {
    json::text(status).is_some_and(|status| status == "in_progress" || status == "queued")
}
