//! The items of a response's output: messages, thoughts, tool calls, and what servers with tools of their own add.

use std::borrow::Cow;

use crate::answer::{Key, Kind, Message};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::wire::object;

object! {
    /// An item of the output.
    Item { id, kind as "type", role, content, summary, call_id, name, arguments, input } without { "status" }
}

object! {
    /// A part of a message or of a thought.
    Part { text, refusal, logprobs } without { "type" }
}

/// Lists of token decisions.
pub(super) type Decisions<'a> = Vec<&'a RawValue>;

/// What an item is called: its id, or its place in the output if it has none.
pub(super) fn name(id: Option<&RawValue>, index: Option<i64>) -> Cow<'_, str> {
    let place = || index.map(|index| Cow::Owned(format!("#{index}")));
    id.and_then(json::non_empty).or_else(place).unwrap_or_default()
}

/// The key of a part of a thought's summary; those of its content count upwards.
pub(super) const fn summary(item: &str, index: i64) -> Key<'_> {
    Key { index: Some((-1_i64).saturating_sub(index)), name: item }
}

/// Takes an item, which replaces what of it came before. One that is not done has nothing to say yet, unless it is a
/// tool call: that has a name. The token decisions in it are put into `decisions`.
pub(super) fn take<'a>(
    json: &'a RawValue,
    index: Option<i64>,
    is_done: bool,
    decisions: Option<&mut Decisions<'a>>,
    message: &mut Message,
    budget: &mut Budget,
) {
    let Ok(item) = Item::read(json.get()) else { return };
    let id = name(item.id, index);
    match item.kind.and_then(json::text).as_deref() {
        Some("message") if is_done => take_message(&item, &id, decisions, message, budget),
        Some("reasoning") if is_done => take_reasoning(&item, &id, message, budget),
        Some("message" | "reasoning") => {}
        Some("function_call" | "custom_tool_call" | "mcp_call") => take_call(&item, &id, message, budget),
        _ => {
            if let Some(part) = message.part(Kind::Other, Key { index: None, name: &id }, budget) {
                part.replace(json.get(), budget);
            }
        }
    }
}

fn take_message<'a>(
    item: &Item<'a>,
    id: &str,
    mut decisions: Option<&mut Decisions<'a>>,
    message: &mut Message,
    budget: &mut Budget,
) {
    if let Some(role) = item.role {
        message.set_role(role, budget);
    }
    let mut index = 0;
    let mut each = |json: &'a RawValue| {
        let key = Key { index: Some(index), name: id };
        index += 1;
        let logprobs = take_part(Kind::Text, key, json, message, budget);
        if let (Some(decisions), Some(logprobs)) = (decisions.as_deref_mut(), logprobs) {
            decisions.push(logprobs);
        }
    };
    match item.content {
        Some(content) if content.get().starts_with('[') => json::items(content, each),
        Some(content) => each(content),
        None => {}
    }
    message.extra.set_all(&item.rest, budget);
}

/// Takes a part of an item. Gives the token decisions in it.
fn take_part<'a>(
    kind: Kind,
    key: Key<'_>,
    json: &'a RawValue,
    message: &mut Message,
    budget: &mut Budget,
) -> Option<&'a RawValue> {
    if let Some(text) = json::text(json) {
        message.part(kind, key, budget)?.replace(&text, budget);
        return None;
    }
    let new = Part::read(json.get()).ok()?;
    let (kind, text) = match (new.text.and_then(json::text), new.refusal.and_then(json::text)) {
        (Some(text), _) => (kind, text),
        (None, Some(refusal)) => (Kind::Refusal, refusal),
        (None, None) => (Kind::Other, json.get().into()),
    };
    let part = message.part(kind, key, budget)?;
    part.replace(&text, budget);
    if kind != Kind::Other {
        part.extra.set_all(&new.rest, budget);
    }
    new.logprobs
}

/// Takes a thought: its text, a summary of it, or what the server has encrypted.
fn take_reasoning(item: &Item<'_>, id: &str, message: &mut Message, budget: &mut Budget) {
    let mut first = None;
    for (list, is_summary) in [(item.content, false), (item.summary, true)] {
        let mut index = 0;
        let each = |json: &RawValue| {
            let key = if is_summary { summary(id, index) } else { Key { index: Some(index), name: id } };
            first = first.or(key.index);
            index += 1;
            take_part(Kind::Reasoning, key, json, message, budget);
        };
        if let Some(list) = list {
            json::items(list, each);
        }
    }
    let key = Key { index: first.or(Some(0)), name: id };
    if let Some(part) = message.part(Kind::Reasoning, key, budget) {
        part.extra.set_all(&item.rest, budget);
    }
}

fn take_call(item: &Item<'_>, id: &str, message: &mut Message, budget: &mut Budget) {
    let Some(part) = message.part(Kind::ToolCall, Key { index: None, name: id }, budget) else { return };
    if let Some(call) = item.call_id.or(item.id).and_then(json::text) {
        part.set_id(&call, budget);
    }
    if let Some(name) = item.name.and_then(json::text) {
        part.append_name(&name, budget);
    }
    // An item that is only begun has empty arguments, and perhaps its deltas came first.
    if let Some(arguments) = item.arguments.or(item.input).and_then(json::non_empty) {
        part.replace(&arguments, budget);
    }
    part.extra.set_all(&item.rest, budget);
}
