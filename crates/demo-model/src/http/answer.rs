//! The JSON of answers, whole and in chunks.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::parts::Delta;
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
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
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
        Self { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
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
    pub(super) fn whole(&self, answer: &Delta, finish_reason: &str, usage: Usage, logprobs: bool) -> Value {
        let choice = json!({
            "index": 0,
            "message": message(answer),
            "logprobs": logprobs.then(|| json!({ "content": answer.logprobs, "refusal": null })),
            "finish_reason": finish_reason,
        });
        let mut whole = self.object("chat.completion", [choice].into());
        whole["usage"] = json!(usage);
        whole
    }

    /// The first chunk, which says who speaks.
    pub(super) fn opening(&self) -> Value {
        self.chunk(json!({ "role": "assistant", "content": "" }), None, None)
    }

    /// A chunk with a piece of the answer, or with how it ended.
    pub(super) fn piece(&self, delta: &Delta, finish_reason: Option<&str>) -> Value {
        let logprobs = (!delta.logprobs.is_empty()).then(|| json!({ "content": delta.logprobs, "refusal": null }));
        self.chunk(delta_fields(delta).into(), logprobs, finish_reason)
    }

    /// The chunk after the last choice, on request.
    pub(super) fn usage(&self, usage: Usage) -> Value {
        let mut chunk = self.object("chat.completion.chunk", Vec::new());
        chunk["usage"] = json!(usage);
        chunk
    }

    fn chunk(&self, delta: Value, logprobs: Option<Value>, finish_reason: Option<&str>) -> Value {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason });
        self.object("chat.completion.chunk", [choice].into())
    }

    fn object(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.system_fingerprint,
            "choices": choices,
        })
    }
}

fn message(answer: &Delta) -> Value {
    let mut message = delta_fields(answer);
    // A call without text has null content, an empty answer has empty content.
    let content = if answer.content.is_empty() && !answer.tool_calls.is_empty() { None } else { Some(&answer.content) };
    message.insert("role".to_owned(), json!("assistant"));
    message.insert("content".to_owned(), json!(content));
    message.insert("refusal".to_owned(), Value::Null);
    message.into()
}

fn delta_fields(delta: &Delta) -> Map<String, Value> {
    let mut fields = Map::new();
    if !delta.content.is_empty() {
        fields.insert("content".to_owned(), json!(delta.content));
    }
    if !delta.reasoning.is_empty() {
        fields.insert("reasoning_content".to_owned(), json!(delta.reasoning));
    }
    if !delta.tool_calls.is_empty() {
        fields.insert("tool_calls".to_owned(), json!(delta.tool_calls));
    }
    fields
}
