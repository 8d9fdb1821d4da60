//! The JSON of answers, whole and in chunks.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use uuid::Uuid;

use super::parts::{Delta, ToolCall};
use crate::{Alternative, Model, Token};

/// What all chunks of one answer have in common.
#[derive(Debug)]
pub(super) struct Envelope {
    id: String,
    /// Seconds since 1970.
    created: u64,
    model: String,
    system_fingerprint: String,
}

/// Tokens read and written.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Usage {
    #[serde(rename = "prompt_tokens")]
    prompt: usize,
    #[serde(rename = "completion_tokens")]
    completion: usize,
    #[serde(rename = "total_tokens")]
    total: usize,
}

/// A token with its log-probability. `id` is not part of the API but tells apart tokens that read the same.
#[derive(Debug, Serialize)]
pub(super) struct TokenLogprob {
    #[serde(flatten)]
    chosen: Candidate,
    top_logprobs: Vec<Candidate>,
}

#[derive(Debug, Serialize)]
struct Candidate {
    id: u32,
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

impl Usage {
    pub(super) fn new(prompt: usize, completion: usize) -> Self {
        Self { prompt, completion, total: prompt + completion }
    }
}

impl TokenLogprob {
    pub(super) fn new(model: &Model, token: Token) -> Self {
        let candidate = |id, logprob, bytes| Candidate { id, token: model.token_label(id), logprob, bytes };
        let top = |top: &Alternative| candidate(top.id, top.logprob, model.token_bytes(top.id).to_vec());
        let top_logprobs = token.top.iter().map(top).collect();
        Self { chosen: candidate(token.id, token.logprob, token.bytes), top_logprobs }
    }
}

/// The start of the model's digest: the same weights have the same fingerprint.
pub(super) fn fingerprint(model: &Model) -> String {
    format!("fp_{}", model.digest().get(..12).unwrap_or_default())
}

impl Envelope {
    pub(super) fn new(model: &Model) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            id: format!("chatcmpl-{}", Uuid::now_v7().simple()),
            created: since.map_or(0, |since| since.as_secs()),
            model: model.name().to_owned(),
            system_fingerprint: fingerprint(model),
        }
    }

    /// The whole answer. `logprobs` says whether they were asked for.
    pub(super) fn whole(&self, answer: &Delta, finish_reason: &str, usage: Usage, logprobs: bool) -> String {
        let logprobs = logprobs.then_some(Logprobs { content: &answer.logprobs, refusal: () });
        let choice = Choice { index: 0, said: Said::message(answer), logprobs, finish_reason: Some(finish_reason) };
        self.object("chat.completion", &[choice], Some(usage))
    }

    /// The first chunk, which says who speaks.
    pub(super) fn opening(&self) -> String {
        let delta = Spoken { role: Some("assistant"), content: Some(""), ..Spoken::default() };
        self.chunk(delta, None, None)
    }

    /// A chunk with a piece of the answer, or with how it ended.
    pub(super) fn piece(&self, delta: &Delta, finish_reason: Option<&str>) -> String {
        let logprobs = (!delta.logprobs.is_empty()).then_some(Logprobs { content: &delta.logprobs, refusal: () });
        self.chunk(Spoken::new(delta), logprobs, finish_reason)
    }

    /// The chunk after the last choice, on request.
    pub(super) fn usage(&self, usage: Usage) -> String {
        self.object("chat.completion.chunk", &[], Some(usage))
    }

    fn chunk(&self, delta: Spoken<'_>, logprobs: Option<Logprobs<'_>>, finish_reason: Option<&str>) -> String {
        let choice = Choice { index: 0, said: Said::Delta(delta), logprobs, finish_reason };
        self.object("chat.completion.chunk", &[choice], None)
    }

    fn object(&self, object: &str, choices: &[Choice<'_>], usage: Option<Usage>) -> String {
        let Self { id, created, model, system_fingerprint } = self;
        let answer = Answer { id, object, created: *created, model, system_fingerprint, choices, usage };
        // Nothing in it can fail: keys are strings, and serde_json writes a number that is not finite as null.
        serde_json::to_string(&answer).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    object: &'a str,
    created: u64,
    model: &'a str,
    system_fingerprint: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    #[serde(flatten)]
    said: Said<'a>,
    logprobs: Option<Logprobs<'a>>,
    finish_reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Logprobs<'a> {
    content: &'a [TokenLogprob],
    refusal: (),
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Said<'a> {
    Delta(Spoken<'a>),
    Message(Message<'a>),
}

/// What a chunk adds; what it does not add is absent.
#[derive(Default, Serialize)]
struct Spoken<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_content: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [ToolCall],
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    /// Null if there is nothing but tool calls.
    content: Option<&'a str>,
    refusal: (),
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_content: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [ToolCall],
}

impl<'a> Said<'a> {
    fn message(answer: &'a Delta) -> Self {
        let Spoken { content, reasoning_content, tool_calls, .. } = Spoken::new(answer);
        let content = content.or(tool_calls.is_empty().then_some(""));
        Self::Message(Message { role: "assistant", content, refusal: (), reasoning_content, tool_calls })
    }
}

impl<'a> Spoken<'a> {
    fn new(delta: &'a Delta) -> Self {
        let content = Some(delta.content.as_str()).filter(|content| !content.is_empty());
        Self { role: None, content, reasoning_content: &delta.reasoning, tool_calls: &delta.tool_calls }
    }
}
