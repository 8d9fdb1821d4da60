//! LM Studio's own API, `/api/v1/chat` (its documentation, “REST API v1”). Its `/api/v0` is OpenAI's with more members.
//!
//! A stream has named events and ends with `chat.end`, which has all of the answer again.

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::{Answer, Key, Kind, Message, Usage};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::request::asked::{Asked, SAMPLING};
use crate::wire::{Last, Text, Wire, object};

/// What a request says.
pub(crate) const REQUEST: Asked = Asked {
    parameters: &[("max_output_tokens", &field::MAX_TOKENS)],
    shared: SAMPLING,
    input: &[("input", text_items)],
    ..Asked::NOTHING
};

object! {
    /// An answer.
    Whole { model_instance_id, output, stats, response_id, error } without {}
}

object! {
    /// An event.
    Event {
        kind as "type", model_instance_id, content, tool, arguments, output, provider_info, reason, metadata, result, error
    } without {}
}

object! {
    /// Something that was put out: a message, a thought, a tool call or one that could not be made.
    Item { kind as "type", content, tool, arguments, output, provider_info, reason, metadata } without {}
}

object! {
    /// What a tool call was that could not be made.
    Invalid { tool_name, arguments } without {}
}

/// Events that say only how far the work is.
const PROGRESS: [&str; 3] = ["prompt_processing.", "message.", "reasoning."];

/// Reads answers.
#[derive(Default)]
pub(crate) struct Chat {
    /// Items that have begun.
    items: i64,
    /// What the last of them is, until another one begins.
    current: Option<Kind>,
}

impl Wire for Chat {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        let new = Event::read(event.json)?;
        let named = new.kind.and_then(json::text).unwrap_or_default();
        let name = if named.is_empty() { event.name } else { &named };
        if let Some(error) = new.error {
            answer.fail(error);
        }
        answer.set_model(new.model_instance_id);
        match name {
            "message.delta" => self.say(Kind::Text, &new, event.at_us, answer),
            "reasoning.delta" => self.say(Kind::Reasoning, &new, event.at_us, answer),
            "message.start" | "reasoning.start" => self.current = None,
            "tool_call.start" => {
                self.current = None;
                self.call(&new, event.at_us, answer);
            }
            "tool_call.arguments" => self.call(&new, event.at_us, answer),
            "tool_call.success" | "tool_call.failure" => {
                self.call(&new, event.at_us, answer);
                self.current = None;
            }
            "chat.end" => new.result.map_or(Ok(()), |result| take_whole(result.get(), answer))?,
            "chat.start" => {}
            _ if PROGRESS.iter().any(|known| name.starts_with(known)) => return Ok(Last::No),
            // A model that is loaded for the call says how far that is, and how long it took.
            _ if name.starts_with("model_load.") => {
                let (extra, budget) = answer.extra(None);
                extra.set(name, json::parse(event.json)?, budget);
                return Ok(Last::No);
            }
            _ => {
                let (extra, budget) = answer.extra(None);
                extra.add(name, json::parse(event.json)?, budget);
                return Ok(Last::No);
            }
        }
        let (extra, budget) = answer.extra(None);
        extra.set_all(&new.rest, budget);
        Ok(if name == "chat.end" { Last::Yes } else { Last::No })
    }

    fn whole(&mut self, json: &str, answer: &mut Answer) -> Result<()> {
        take_whole(json, answer)
    }

    fn may_be_last(&self, name: &[u8], _: &[u8]) -> bool {
        name.is_empty() || name == b"chat.end"
    }
}

impl Chat {
    /// The key of the item that is under way, which is one of that kind. It is its place in the output.
    fn key(&mut self, kind: Kind) -> Key<'static> {
        if self.current.replace(kind) != Some(kind) {
            self.items += 1;
        }
        Key::index(self.items - 1)
    }

    fn say(&mut self, kind: Kind, new: &Event<'_>, at_us: i64, answer: &mut Answer) {
        let key = self.key(kind);
        let text = new.content.and_then(json::text).unwrap_or_default();
        if let Some((message, budget)) = answer.message(0)
            && let Some(part) = message.part(kind, key, budget)
        {
            part.append(&text, budget);
        }
        if !text.is_empty() {
            answer.spoke(at_us);
        }
    }

    fn call(&mut self, new: &Event<'_>, at_us: i64, answer: &mut Answer) {
        let key = self.key(Kind::ToolCall);
        let Event { tool, arguments, output, provider_info, reason, metadata, .. } = *new;
        if let Some((message, budget)) = answer.message(0) {
            let call = Item { tool, arguments, output, provider_info, reason, metadata, ..Item::default() };
            take_call(key, &call, message, budget);
        }
        answer.spoke(at_us);
    }
}

fn take_whole(json: &str, answer: &mut Answer) -> Result<()> {
    let whole = Whole::read(json)?;
    answer.set_model(whole.model_instance_id);
    answer.set_id(whole.response_id);
    if let Some(error) = whole.error {
        answer.fail(error);
    }
    if let Some(output) = whole.output
        && let Some((message, budget)) = answer.message(0)
    {
        let mut index = 0;
        json::items(output, |item| {
            take_item(Key::index(index), item, message, budget);
            index += 1;
        });
    }
    if let Some(stats) = whole.stats {
        take_stats(stats, answer);
    }
    let (extra, budget) = answer.extra(None);
    extra.set_all(&whole.rest, budget);
    Ok(())
}

/// Takes an item, which replaces what of it came before.
fn take_item(key: Key<'_>, json: &RawValue, message: &mut Message, budget: &mut Budget) {
    let Ok(item) = Item::read(json.get()) else { return };
    let (kind, content) = match item.kind.and_then(json::text).as_deref() {
        Some("message") => (Kind::Text, item.content.and_then(json::text).unwrap_or_default()),
        Some("reasoning") => (Kind::Reasoning, item.content.and_then(json::text).unwrap_or_default()),
        Some("tool_call" | "invalid_tool_call") => return take_call(key, &item, message, budget),
        _ => (Kind::Other, json.get().into()),
    };
    if let Some(part) = message.part(kind, key, budget) {
        part.replace(&content, budget);
        if kind != Kind::Other {
            part.extra.set_all(&item.rest, budget);
        }
    }
}

/// Takes a call, and what the tool gave back: the server runs its tools itself. Of one that could not be made the server
/// says why, and beside that what the model asked for.
fn take_call(key: Key<'_>, item: &Item<'_>, message: &mut Message, budget: &mut Budget) {
    let Some(call) = message.part(Kind::ToolCall, key, budget) else { return };
    let invalid = item.metadata.and_then(|metadata| Invalid::read(metadata.get()).ok()).unwrap_or_default();
    if let Some(name) = item.tool.or(invalid.tool_name).and_then(json::text) {
        call.append_name(&name, budget);
    }
    if let Some(arguments) = item.arguments.or(invalid.arguments) {
        call.replace(&json::text(arguments).unwrap_or(arguments.get().into()), budget);
    }
    let said = [("provider_info", item.provider_info), ("reason", item.reason), ("metadata", item.metadata)];
    for (name, value) in said.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        call.extra.set(name, value, budget);
    }
    call.extra.set_all(&item.rest, budget);
    if let Some(output) = item.output
        && let Some(result) = message.part(Kind::ToolResult, key, budget)
    {
        result.replace(&json::text(output).unwrap_or(output.get().into()), budget);
    }
}

/// Takes token counts, and the rest as timings, which most of it is.
fn take_stats(stats: &RawValue, answer: &mut Answer) {
    let member = |name| json::member_of(stats, name);
    let count = |name| member(name).and_then(json::int);
    answer.usage.set(&Usage {
        input: count("input_tokens"),
        output: count("total_output_tokens"),
        reasoning: count("reasoning_output_tokens"),
        ..Usage::default()
    });
    answer.set_timings(stats.get());
    if let (Some(reason), Some((message, budget))) = (member("stop_reason"), answer.message(0)) {
        message.finish(reason, budget);
    }
}

/// The text of LM Studio's input: itself, or of the texts among its items.
fn text_items(input: &RawValue) -> Option<String> {
    if let Some(text) = json::text(input) {
        return Some(text.into());
    }
    let mut texts = Vec::new();
    json::items(input, |item| texts.extend(json::member_of(item, "content").and_then(json::text)));
    (!texts.is_empty()).then(|| texts.join("\n"))
}
