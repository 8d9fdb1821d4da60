//! Measures what a streamed call costs: microseconds for 64 events, by dialect and server.
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

const COMPLETION: &str = r#"{"index":0,"content":" today","tokens":[802],"stop":false,"id_slot":-1,"tokens_predicted":4,"tokens_evaluated":3}"#;
const RESPONSE: &str = r#"{"content_index":0,"delta":" today","item_id":"msg_b066252caceacd7f","logprobs":[],"output_index":1,"sequence_number":22,"type":"response.output_text.delta"}"#;
const MESSAGE: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" today"}}"#;
const OLLAMA: &str = r#"{"model":"qwen3:0.6b","created_at":"2025-11-12T09:30:00.112345Z","message":{"role":"assistant","content":" today"},"done":false}"#;

const EVENTS_TYPE: &str = "text/event-stream";
const LINES_TYPE: &str = "application/x-ndjson";

fn main() {
    let data = |data: &str| format!("data: {data}\n\n");
    for (name, dialect, content_type, event) in [
        ("chat, llama.cpp", Dialect::OpenAiChat, EVENTS_TYPE, data(LLAMA)),
        ("chat, vLLM", Dialect::OpenAiChat, EVENTS_TYPE, data(VLLM)),
        ("chat, vLLM with logprobs", Dialect::OpenAiChat, EVENTS_TYPE, data(LOGPROBS)),
        ("completion, llama.cpp", Dialect::LlamaCompletion, EVENTS_TYPE, data(COMPLETION)),
        (
            "responses",
            Dialect::OpenAiResponses,
            EVENTS_TYPE,
            "event: response.output_text.delta\n".to_owned() + &data(RESPONSE),
        ),
        (
            "messages",
            Dialect::AnthropicMessages,
            EVENTS_TYPE,
            "event: content_block_delta\n".to_owned() + &data(MESSAGE),
        ),
        ("chat, Ollama", Dialect::OllamaChat, LINES_TYPE, OLLAMA.to_owned() + "\n"),
    ] {
        let batch = || batch(dialect, content_type, &event);
        // The best of many batches: what else runs on the machine makes the others slower.
        let us = (0..BATCHES).map(|_| batch()).fold(f64::MAX, f64::min);
        println!("{name}: {us:.1} µs a call of {EVENTS} events, {} bytes", event.len() * EVENTS);
    }
}

/// Microseconds a call.
fn batch(dialect: Dialect, content_type: &str, event: &str) -> f64 {
    let started = Instant::now();
    for _ in 0..CALLS {
        call(dialect, content_type, event);
    }
    started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
}

/// One call, an event a piece, as a server sends them.
fn call(dialect: Dialect, content_type: &str, event: &str) {
    let head = BodyHead { content_type: Some(content_type), content_encoding: None };
    let mut response = Response::new(dialect, 200, head, Limits::default());
    for at in 0..EVENTS {
        response.push(event.as_bytes(), at as i64);
    }
    let mut record = Record::new(Uuid::nil(), Kind::Interaction, 0, [0; 32]);
    response.finish(End::Complete, &mut record);
    std::hint::black_box(record);
}
