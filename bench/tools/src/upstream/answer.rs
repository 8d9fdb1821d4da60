//! The one answer, made once at the start.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use serde_json::{Value, json};

/// What every chat completion is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    whole: Bytes,
    events: Arc<[Bytes]>,
}

impl Answer {
    /// Of about `bytes` bytes when whole, of `tokens` tokens when streamed.
    pub(crate) fn new(bytes: usize, tokens: usize) -> Self {
        Self { whole: whole(bytes), events: events(tokens) }
    }

    /// As one JSON object.
    pub(crate) fn whole(&self) -> Bytes {
        self.whole.clone()
    }

    /// As server-sent events.
    pub(crate) fn tokens(&self) -> Tokens {
        Tokens { events: Arc::clone(&self.events), next: 0, pause: false }
    }
}

/// A body of one event a token, each of which is written by itself: a model never has two tokens at a time.
#[derive(Debug)]
pub(crate) struct Tokens {
    events: Arc<[Bytes]>,
    next: usize,
    pause: bool,
}

impl Body for Tokens {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::take(&mut self.pause) {
            // The connection writes what it has before it asks again.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let event = self.events.get(self.next).cloned();
        self.next += 1;
        self.pause = true;
        Poll::Ready(event.map(|event| Ok(Frame::data(event))))
    }
}

const ID: &str = "chatcmpl-bench";
const MODEL: &str = "stand-in-that-computes-nothing";
const CREATED: u64 = 1_700_000_000;
const FILLER: &str = "The answer of a stand-in that computes nothing is always the same. ";

fn completion(content: &str) -> Value {
    json!({
        "id": ID, "object": "chat.completion", "created": CREATED, "model": MODEL,
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": content}, "logprobs": null, "finish_reason": "stop"
        }],
        "usage": {"prompt_tokens": 128, "completion_tokens": 64, "total_tokens": 192},
    })
}

fn whole(bytes: usize) -> Bytes {
    let content = bytes.saturating_sub(completion("").to_string().len());
    let content: String = FILLER.chars().cycle().take(content).collect();
    completion(&content).to_string().into()
}

fn event(delta: &Value, finish_reason: Option<&str>) -> Bytes {
    let chunk = json!({
        "id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    });
    format!("data: {chunk}\n\n").into()
}

fn events(tokens: usize) -> Arc<[Bytes]> {
    let words = FILLER.split_inclusive(' ').cycle().take(tokens);
    let mut events: Vec<_> = words.map(|word| event(&json!({"content": word}), None)).collect();
    events.push(event(&json!({}), Some("stop")));
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events.into()
}
