//! Answers that consist of choices: of chat completions and of legacy completions, whole or in chunks.
//!
//! A whole answer and a chunk have the same shape, but for `message` in the one and `delta` in the other; a legacy
//! completion has `text`. llama.cpp, vLLM, LM Studio and other servers add members of their own.

use serde_json::Result;

use crate::answer::{Answer, Key, Kind, Message};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::wire::{Rest, object};

object! {
    /// An answer, or a chunk of it.
    Chunk { id, model, system_fingerprint, choices, usage, timings, stats, metrics, error } without { "object" }
}

object! {
    /// One of its choices, or what is new in it.
    Choice { index, delta, message, text, finish_reason, logprobs, token_ids } without {}
}

object! {
    /// What is new in a choice's message, or all of it.
    Delta { role, content, reasoning_content, reasoning, refusal, tool_calls, function_call, audio, images } without {}
}

object! {
    /// A tool call, or what is new in it.
    ToolCall { index, id, function, custom } without { "type" }
}

object! {
    /// The function of a tool call, or the custom tool, which has an input in free form.
    Function { name, arguments, input } without {}
}

object! {
    /// Token decisions.
    Logprobs { content } without {}
}

object! {
    /// Speech, or what is new in it.
    Audio { data, transcript } without {}
}

/// Takes one chunk, or a whole answer, that came `at_us` microseconds after the request's head.
pub(super) fn take(json: &str, at_us: i64, answer: &mut Answer) -> Result<()> {
    let chunk = Chunk::read(json)?;
    answer.set_id(chunk.id);
    answer.set_model(chunk.model);
    answer.set_fingerprint(chunk.system_fingerprint);
    if let Some(error) = chunk.error {
        answer.fail(error);
    }
    let mut first = None;
    if let Some(choices) = chunk.choices {
        json::items(choices, |choice| first = first.or(take_choice(choice, at_us, answer)));
    }
    take_performance(&chunk, first, answer);
    // A member of a chunk goes with the choice that the chunk is about, or else with the first one.
    let (extra, budget) = answer.extra(first);
    extra.set_all(&chunk.rest, budget);
    if let Some(usage) = chunk.usage {
        extra.set("usage", usage, budget);
    }
    Ok(())
}

/// Takes token counts and timings, for which llama.cpp, LM Studio and vLLM have a name each, and the parameters in
/// force, which llama.cpp tells if it is asked to be verbose.
fn take_performance(chunk: &Chunk<'_>, choice: Option<i64>, answer: &mut Answer) {
    if let Some(usage) = chunk.usage {
        answer.usage.take(usage);
    }
    for (name, value) in [("timings", chunk.timings), ("stats", chunk.stats), ("metrics", chunk.metrics)] {
        let Some(value) = value else { continue };
        if value.get().starts_with('{') {
            answer.set_timings(value.get());
        } else {
            let (extra, budget) = answer.extra(choice);
            extra.set(name, value, budget);
        }
    }
    let member = |name: &str| chunk.rest.iter().find(|(have, _)| have == name).map(|(_, value)| *value);
    let verbose = |name: &str| json::member_of(member("__verbose")?, name);
    if let Some(settings) = verbose("generation_settings") {
        answer.set_settings(settings.get());
    }
    answer.set_prompt(member("prompt_text").or_else(|| verbose("prompt")), member("prompt_token_ids"));
}

fn take_choice(json: &RawValue, at_us: i64, answer: &mut Answer) -> Option<i64> {
    let new = Choice::read(json.get()).ok()?;
    let index = new.index.and_then(json::int).unwrap_or(0);
    let (message, budget) = answer.message(index)?;
    let spoke = new.delta.or(new.message).is_some_and(|delta| take_delta(delta, message, budget))
        | new.text.is_some_and(|text| take_text(Kind::Text, ("text", text), message, budget));
    if let Some(reason) = new.finish_reason {
        message.finish(reason, budget);
    }
    if let Some(logprobs) = new.logprobs {
        take_logprobs(logprobs, message, budget);
    }
    if let Some(ids) = new.token_ids.filter(|ids| !message.token_ids.extend(ids, budget)) {
        message.extra.set("token_ids", ids, budget);
    }
    // vLLM tells the stop string, or the token that stopped it, beside the reason.
    if let Some((_, word)) = new.rest.iter().find(|(name, _)| name == "stop_reason") {
        message.stopped_by(word, budget);
    }
    message.extra.set_all(&new.rest, budget);
    if spoke {
        answer.spoke(at_us);
    }
    // Of legacy completions vLLM tells the prompt with each choice.
    let member = |name: &str| new.rest.iter().find(|(have, _)| have == name).map(|(_, value)| *value);
    answer.set_prompt(member("prompt_text"), member("prompt_token_ids"));
    Some(index)
}

fn take_delta(json: &RawValue, message: &mut Message, budget: &mut Budget) -> bool {
    let Ok(delta) = Delta::read(json.get()) else {
        message.extra.set("delta", json, budget);
        return false;
    };
    if let Some(role) = delta.role {
        message.set_role(role, budget);
    }
    let texts = [
        (Kind::Reasoning, "reasoning", delta.reasoning_content.or(delta.reasoning)),
        (Kind::Text, "content", delta.content),
        (Kind::Refusal, "refusal", delta.refusal),
    ];
    let mut spoke = false;
    for (kind, name, value) in texts {
        spoke |= value.is_some_and(|value| take_text(kind, (name, value), message, budget));
    }
    spoke |= take_calls(&delta, message, budget) | take_media(&delta, message, budget);
    message.extra.set_all(&delta.rest, budget);
    spoke
}

/// Takes a text, or the parts of a list. True if anything was said.
fn take_text(kind: Kind, (name, value): (&str, &RawValue), message: &mut Message, budget: &mut Budget) -> bool {
    if let Some(text) = json::text(value) {
        return message.say(kind, &text, budget);
    }
    if !value.get().starts_with('[') {
        message.extra.set(name, value, budget);
        return false;
    }
    let mut spoke = false;
    json::items(value, |part| {
        let text = json::member_of(part, "text").and_then(json::text);
        spoke |= text.as_ref().is_none_or(|text| message.say(kind, text, budget));
        if text.is_none() {
            message.add_other(part, budget);
        }
    });
    spoke
}

fn take_calls(delta: &Delta<'_>, message: &mut Message, budget: &mut Budget) -> bool {
    let mut calls = 0;
    if let Some(list) = delta.tool_calls {
        json::items(list, |call| {
            take_call(call, message, budget);
            calls += 1;
        });
    }
    // What tool calls have replaced, and older servers send.
    if let Some(function) = delta.function_call {
        take_function(None, "", function, message, budget);
        calls += 1;
    }
    calls > 0
}

/// Takes one tool call, or a fragment of one, as Ollama sends them too.
pub(crate) fn take_call(json: &RawValue, message: &mut Message, budget: &mut Budget) {
    let Ok(call) = ToolCall::read(json.get()) else { return };
    let index = call.index.and_then(json::int);
    let id = call.id.and_then(json::non_empty).unwrap_or_default();
    match call.function.or(call.custom) {
        Some(function) => take_function(index, &id, function, message, budget),
        None => drop(message.call(index, &id, budget)),
    }
    if let Some(part) = message.call(index, &id, budget) {
        part.extra.set_all(&call.rest, budget);
    }
}

fn take_function(index: Option<i64>, id: &str, json: &RawValue, message: &mut Message, budget: &mut Budget) {
    let Some(part) = message.call(index, id, budget) else { return };
    let Ok(function) = Function::read(json.get()) else { return part.extra.set("function", json, budget) };
    if let Some(name) = function.name.and_then(json::text) {
        part.append_name(&name, budget);
    }
    if let Some(arguments) = function.arguments.or(function.input) {
        part.append_arguments(arguments, budget);
    }
    part.extra.set_all(&function.rest, budget);
}

/// Takes speech, which comes in fragments with what is said in it, and images, which come whole.
fn take_media(delta: &Delta<'_>, message: &mut Message, budget: &mut Budget) -> bool {
    let mut spoke = false;
    if let Some(images) = delta.images {
        json::items(images, |image| {
            message.add_other(image, budget);
            spoke = true;
        });
    }
    let Some(json) = delta.audio else { return spoke };
    let Ok(audio) = Audio::read(json.get()) else {
        message.extra.set("audio", json, budget);
        return spoke;
    };
    for (kind, piece) in [(Kind::Audio, audio.data), (Kind::Transcript, audio.transcript)] {
        spoke |= piece.and_then(json::text).is_some_and(|piece| message.say(kind, &piece, budget));
    }
    if let (false, Some(part)) = (audio.rest.is_empty(), message.part(Kind::Audio, Key::default(), budget)) {
        part.extra.set_all(&audio.rest, budget);
    }
    spoke
}

fn take_logprobs(json: &RawValue, message: &mut Message, budget: &mut Budget) {
    let Ok(logprobs) = Logprobs::read(json.get()) else { return message.extra.set("logprobs", json, budget) };
    if is_legacy(&logprobs.rest) {
        return message.decisions.push(json.get(), budget);
    }
    if let Some(content) = logprobs.content
        && !message.decisions.extend(content, budget)
    {
        message.extra.set("logprobs", json, budget);
    }
    message.extra.set_all(&logprobs.rest, budget);
}

/// Legacy completions have lists side by side: tokens, their log-probabilities, and the alternatives.
fn is_legacy(rest: &Rest<'_>) -> bool {
    rest.iter().any(|(name, _)| name == "tokens" || name == "token_logprobs")
}
