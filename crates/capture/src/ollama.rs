//! Ollama's own API (docs/api.md and api/types.go of its repository): `/api/chat` and `/api/generate`, which answer in
//! lines of JSON unless they are asked not to.

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::{Answer, Key, Kind, Message, Usage};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::openai::choice::take_call;
use crate::request::asked::{Asked, Names, last_message, prompt};
use crate::wire::{Last, Rest, Text, Wire, object};

/// The members of `options` that have a field.
const OPTIONS: Names = &[
    ("temperature", &field::TEMPERATURE),
    ("top_p", &field::TOP_P),
    ("top_k", &field::TOP_K),
    ("seed", &field::SEED),
    ("num_predict", &field::MAX_TOKENS),
    ("stop", &field::STOP_SEQUENCES),
    ("frequency_penalty", &field::FREQUENCY_PENALTY),
    ("presence_penalty", &field::PRESENCE_PENALTY),
];
const NAMES: Names = &[("model", &field::REQUEST_MODEL), ("stream", &field::STREAM)];

/// What a request of `/api/chat` says.
pub(crate) const CHAT: Asked = Asked {
    shared: NAMES,
    within: Some(("options", OPTIONS)),
    input: &[("messages", last_message)],
    streams: true,
    ..Asked::NOTHING
};

/// What a request of `/api/generate` says.
pub(crate) const GENERATE: Asked = Asked {
    shared: NAMES,
    within: Some(("options", OPTIONS)),
    input: &[("prompt", prompt)],
    streams: true,
    ..Asked::NOTHING
};

/// What a request of `/api/embed` says, or of the older `/api/embeddings`.
pub(crate) const EMBED: Asked = Asked {
    shared: &[("model", &field::REQUEST_MODEL)],
    input: &[("input", prompt), ("prompt", prompt)],
    ..Asked::NOTHING
};

object! {
    /// A line of a stream, or a whole answer: `message` of a chat, `response` and `thinking` of a generation.
    Line { model, message, response, thinking, done, done_reason, logprobs, prompt_eval_count, eval_count, error }
    without {}
}

object! {
    /// A message, or what is new in it.
    Said { role, content, thinking, tool_calls, images } without {}
}

/// Reads answers. A line with `"done":true` ends a stream.
pub(crate) struct Ollama;

impl Wire for Ollama {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        let line = Line::read(event.json)?;
        answer.set_model(line.model);
        if let Some(error) = line.error {
            answer.fail(error);
            return Ok(Last::No);
        }
        if line.message.or(line.response).or(line.done).is_some()
            && let Some((message, budget)) = answer.message(0)
            && take_line(&line, message, budget)
        {
            answer.spoke(event.at_us);
        }
        take_performance(&line, answer);
        let done = line.done.and_then(json::boolean).unwrap_or(false);
        Ok(if done { Last::Yes } else { Last::No })
    }
}

/// Takes what a line says. True if the model said something in it.
fn take_line(line: &Line<'_>, message: &mut Message, budget: &mut Budget) -> bool {
    let said = line.message.map(|said| Said::read(said.get()));
    let said = said.and_then(std::result::Result::ok).unwrap_or_default();
    if let Some(role) = said.role {
        message.set_role(role, budget);
    }
    let mut spoke = false;
    for (kind, text) in
        [(Kind::Reasoning, line.thinking.or(said.thinking)), (Kind::Text, line.response.or(said.content))]
    {
        spoke |= text.and_then(json::text).is_some_and(|text| message.say(kind, &text, budget));
    }
    if let Some(calls) = said.tool_calls {
        json::items(calls, |call| {
            take_one_call(call, message, budget);
            spoke = true;
        });
    }
    if let Some(images) = said.images {
        message.extra.set("images", images, budget);
    }
    if let Some(reason) = line.done_reason {
        message.finish(reason, budget);
    }
    if let Some(logprobs) = line.logprobs
        && !message.decisions.extend(logprobs, budget)
    {
        message.extra.set("logprobs", logprobs, budget);
    }
    message.extra.set_all(&said.rest, budget);
    spoke
}

/// Takes a tool call. Each comes whole, its index within `function` if there is one.
fn take_one_call(call: &RawValue, message: &mut Message, budget: &mut Budget) {
    let _ = message.add(Kind::ToolCall, Key::default(), budget);
    take_call(call, message, budget);
}

fn take_performance(line: &Line<'_>, answer: &mut Answer) {
    let count = |value: Option<&RawValue>| value.and_then(json::int);
    let (input, output) = (count(line.prompt_eval_count), count(line.eval_count));
    answer.usage.set(&Usage { input, output, ..Usage::default() });
    if let Some(timings) = durations(&line.rest) {
        answer.set_timings(&timings);
    }
    let (extra, budget) = answer.extra(None);
    for (name, value) in line.rest.iter().filter(|(name, _)| !is_duration(name)) {
        extra.set(name, value, budget);
    }
}

fn is_duration(name: &str) -> bool {
    name.ends_with("_duration")
}

/// How long each part took, in nanoseconds, as one object.
pub(crate) fn durations(rest: &Rest<'_>) -> Option<String> {
    let mut durations = rest.iter().filter(|(name, _)| is_duration(name)).peekable();
    durations.peek()?;
    json::object(durations.map(|(name, value)| (name.as_ref(), *value)))
}
