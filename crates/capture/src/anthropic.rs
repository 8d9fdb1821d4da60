//! Anthropic messages (Anthropic API reference, “Messages”), as Anthropic, llama.cpp, vLLM, Ollama and others serve them.

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::{Answer, Key, Kind, Message};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::request::asked::{Asked, SAMPLING, last_message};
use crate::wire::{Last, Text, Wire, object};

/// What a request says.
pub(crate) const REQUEST: Asked = Asked {
    parameters: &[("max_tokens", &field::MAX_TOKENS), ("stop_sequences", &field::STOP_SEQUENCES)],
    shared: SAMPLING,
    input: &[("messages", last_message)],
    ..Asked::NOTHING
};

object! {
    /// A message, whole or as it begins.
    Whole { id, model, role, content, stop_reason, stop_sequence, usage, error } without { "type" }
}

object! {
    /// An event.
    Event { kind as "type", index, message, content_block, delta, usage, error } without {}
}

object! {
    /// What is new in a message that ends.
    End { stop_reason, stop_sequence } without {}
}

object! {
    /// A block of content, or what is new in it.
    Block { kind as "type", text, thinking, signature, citation, id, name, input, partial_json } without {}
}

/// Reads answers. `message_stop` ends a stream.
pub(crate) struct Messages;

impl Wire for Messages {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        let new = Event::read(event.json)?;
        let named = new.kind.and_then(json::text).unwrap_or_default();
        let name = if named.is_empty() { event.name } else { &named };
        if let Some(error) = new.error {
            answer.fail(error);
        }
        match name {
            "message_start" => new.message.map_or(Ok(()), |message| take_whole(message.get(), answer))?,
            "content_block_start" | "content_block_delta" => take_block(&new, event.at_us, answer),
            "message_delta" => take_end(&new, answer),
            "content_block_stop" | "ping" | "message_stop" | "error" => {}
            _ => {
                let (extra, budget) = answer.extra(None);
                extra.set(name, json::parse(event.json)?, budget);
                return Ok(Last::No);
            }
        }
        let (extra, budget) = answer.extra(None);
        extra.set_all(&new.rest, budget);
        Ok(if name == "message_stop" { Last::Yes } else { Last::No })
    }

    fn whole(&mut self, json: &str, answer: &mut Answer) -> Result<()> {
        take_whole(json, answer)
    }

    fn may_be_last(&self, name: &[u8], _: &[u8]) -> bool {
        name.is_empty() || name == b"message_stop"
    }
}

fn take_whole(json: &str, answer: &mut Answer) -> Result<()> {
    let new = Whole::read(json)?;
    answer.set_id(new.id);
    answer.set_model(new.model);
    if let Some(error) = new.error {
        answer.fail(error);
    }
    if new.role.or(new.content).is_some()
        && let Some((message, budget)) = answer.message(0)
    {
        if let Some(role) = new.role {
            message.set_role(role, budget);
        }
        let mut index = 0;
        if let Some(content) = new.content {
            json::items(content, |block| {
                begin(index, block, message, budget);
                index += 1;
            });
        }
        finish(new.stop_reason, new.stop_sequence, message, budget);
    }
    take_usage(new.usage, answer);
    let (extra, budget) = answer.extra(None);
    extra.set_all(&new.rest, budget);
    Ok(())
}

/// Takes token counts, of which a stream sends some as it begins and some as it ends.
fn take_usage(usage: Option<&RawValue>, answer: &mut Answer) {
    if let Some(usage) = usage {
        answer.usage.take(usage);
        let (extra, budget) = answer.extra(None);
        extra.merge("usage", usage, budget);
    }
}

fn finish(reason: Option<&RawValue>, word: Option<&RawValue>, message: &mut Message, budget: &mut Budget) {
    if let Some(reason) = reason {
        message.finish(reason, budget);
    }
    if let Some(word) = word {
        message.stopped_by(word, budget);
    }
}

/// Takes what a message says as it ends.
fn take_end(new: &Event<'_>, answer: &mut Answer) {
    let end = new.delta.and_then(|delta| End::read(delta.get()).ok()).unwrap_or_default();
    if let Some((message, budget)) = answer.message(0) {
        finish(end.stop_reason, end.stop_sequence, message, budget);
        message.extra.set_all(&end.rest, budget);
    }
    take_usage(new.usage, answer);
}

/// Takes a block as it begins, or what is new in it.
fn take_block(new: &Event<'_>, at_us: i64, answer: &mut Answer) {
    let index = new.index.and_then(json::int).unwrap_or(0);
    let Some((message, budget)) = answer.message(0) else { return };
    let spoke = match (new.content_block, new.delta) {
        (Some(block), _) => begin(index, block, message, budget),
        (None, Some(delta)) => go_on(index, delta, message, budget),
        (None, None) => false,
    };
    if spoke {
        answer.spoke(at_us);
    }
}

/// Takes a block as it begins, which in a whole answer is all of it. True if it says something.
fn begin(index: i64, json: &RawValue, message: &mut Message, budget: &mut Budget) -> bool {
    let Ok(block) = Block::read(json.get()) else { return false };
    let named = block.kind.and_then(json::text).unwrap_or_default();
    let (kind, text) = match &*named {
        "text" => (Kind::Text, block.text),
        "thinking" => (Kind::Reasoning, block.thinking),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => return begin_call(index, &named, &block, message, budget),
        // What has no meaning to us is whole from the start: encrypted thoughts, results of the server's own tools.
        _ => {
            if let Some(part) = message.part(Kind::Other, Key::index(index), budget) {
                part.replace(json.get(), budget);
            }
            return true;
        }
    };
    let Some(part) = message.part(kind, Key::index(index), budget) else { return false };
    let text = text.and_then(json::text).unwrap_or_default();
    part.append(&text, budget);
    if let Some(signature) = block.signature.filter(|signature| signature.get() != "\"\"") {
        part.extra.set("signature", signature, budget);
    }
    part.extra.set_all(&block.rest, budget);
    !text.is_empty()
}

fn begin_call(index: i64, named: &str, block: &Block<'_>, message: &mut Message, budget: &mut Budget) -> bool {
    let Some(part) = message.part(Kind::ToolCall, Key::index(index), budget) else { return true };
    if let Some(id) = block.id.and_then(json::text) {
        part.set_id(&id, budget);
    }
    if let Some(name) = block.name.and_then(json::text) {
        part.append_name(&name, budget);
    }
    // In a stream the input is empty here, and its JSON follows in pieces.
    if let Some(input) = block.input.filter(|input| input.get() != "{}") {
        part.append(input.get(), budget);
    }
    if let (true, Some(kind)) = (named != "tool_use", block.kind) {
        part.extra.set("type", kind, budget);
    }
    part.extra.set_all(&block.rest, budget);
    true
}

/// Takes what is new in a block. True if it says something.
fn go_on(index: i64, json: &RawValue, message: &mut Message, budget: &mut Budget) -> bool {
    let Ok(delta) = Block::read(json.get()) else { return false };
    let (kind, text) = match (delta.text, delta.thinking, delta.partial_json) {
        (Some(text), _, _) => (Kind::Text, text),
        (None, Some(thinking), _) => (Kind::Reasoning, thinking),
        (None, None, Some(input)) => (Kind::ToolCall, input),
        (None, None, None) => {
            take_mark(index, &delta, json, message, budget);
            return false;
        }
    };
    let text = json::text(text).unwrap_or_default();
    if let Some(part) = message.part(kind, Key::index(index), budget) {
        part.append(&text, budget);
        part.extra.set_all(&delta.rest, budget);
    }
    !text.is_empty()
}

/// Takes what a delta says about a block: the signature of a thought, a citation, or what we do not know.
fn take_mark(index: i64, delta: &Block<'_>, json: &RawValue, message: &mut Message, budget: &mut Budget) {
    let extra = match message.keyed(Key::index(index)) {
        Some(part) => &mut part.extra,
        None => &mut message.extra,
    };
    if let Some(signature) = delta.signature {
        extra.set("signature", signature, budget);
    } else if let Some(citation) = delta.citation {
        extra.add("citations", citation, budget);
    } else {
        let name = delta.kind.and_then(json::text).unwrap_or_default();
        extra.set(&name, json, budget);
    }
}
