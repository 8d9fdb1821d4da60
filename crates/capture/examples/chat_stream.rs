//! Measures what a streamed call costs: microseconds for 64 events, by server, with and without token decisions.
//!
//! `cargo run --release -p onrecord-capture --example chat_stream`

use std::time::Instant;

use onrecord_capture::{BodyHead, Dialect, End, Limits, Response};
use onrecord_proof::{Kind, Record};
use uuid::Uuid;

const EVENTS: usize = 64;
const BATCHES: usize = 100;
const CALLS: u32 = 100;

const LLAMA: &str = r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":" today"}}],"created":1795386117,"id":"chatcmpl-BfdlHTkX2VWM6suVmGloFG4p64y1FExM","model":"tiny-pydoc","system_fingerprint":"b11434-sdist","object":"chat.completion.chunk"}"#;
const VLLM: &str = r#"{"id":"chatcmpl-bc1f1fd17c566bb5","object":"chat.completion.chunk","created":1795386535,"model":"tiny-pydoc","choices":[{"index":0,"delta":{"content":" today"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#;
const LOGPROBS: &str = r#"{"id":"chatcmpl-b535d690c03186aa","object":"chat.completion.chunk","created":1795386562,"model":"tiny-pydoc","choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":{"content":[{"token":"Hello","logprob":-0.09406694024801254,"bytes":[72,101,108,108,111],"top_logprobs":[{"token":"Hello","logprob":-0.09406694024801254,"bytes":[72,101,108,108,111]},{"token":"Hi","logprob":-3.022888422012329,"bytes":[72,105]}]}]},"finish_reason":null,"token_ids":null}]}"#;

fn main() {
    for (name, chunk) in [("llama.cpp", LLAMA), ("vLLM", VLLM), ("vLLM with logprobs", LOGPROBS)] {
        let event = format!("data: {chunk}\n\n");
        // The best of many batches: what else runs on the machine makes the others slower.
        let us = (0..BATCHES).map(|_| batch(&event)).fold(f64::MAX, f64::min);
        println!("{name}: {us:.1} µs a call of {EVENTS} events, {} bytes", event.len() * EVENTS);
    }
}

/// Microseconds a call.
fn batch(event: &str) -> f64 {
    let started = Instant::now();
    for _ in 0..CALLS {
        call(event);
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
}

/// One call, an event a piece, as a server sends them.
fn call(event: &str) {
    let head = BodyHead { content_type: Some("text/event-stream"), content_encoding: None };
    let mut response = Response::new(Dialect::OpenAiChat, 200, head, Limits::default());
    for at in 1..EVENTS {
        response.push(event.as_bytes(), at as i64);
    }
    response.push(b"data: [DONE]\n\n", EVENTS as i64);
    let mut record = Record::new(Uuid::nil(), Kind::Interaction, 0, [0; 32]);
    response.finish(End::Complete, &mut record);
    std::hint::black_box(record);
}
