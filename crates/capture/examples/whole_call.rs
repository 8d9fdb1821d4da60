//! What a whole chat completion costs before the log: capture, commitments and encoding.
//! `cargo run --release -p onrecord-capture --example whole_call`

use std::hint::black_box;
use std::time::Instant;

use onrecord_capture::{BodyHead, Dialect, End, Limits, Request, Response};
use onrecord_proof::{Kind, Record, field};
use uuid::Uuid;

const CALLS: u32 = 20_000;
const BATCHES: u32 = 10;

fn bodies() -> (String, String) {
    let filler = "The answer of a stand-in that computes nothing is always the same. ".repeat(12);
    let request = serde_json::json!({"model": "m", "messages": [
        {"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": filler}],
        "temperature": 0.2, "max_tokens": 64});
    let answer = serde_json::json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": filler}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 128, "completion_tokens": 64, "total_tokens": 192}});
    (request.to_string(), answer.to_string())
}

fn describe(record: &mut Record) {
    record.set(&field::USER_AGENT, "OpenAI/Python 1.99.9");
    record.set(&field::REQUEST_ID, record.id.simple().to_string());
    record.set(&field::CLIENT_ADDRESS, "127.0.0.1".to_owned());
    record.set(&field::DIALECT, "openai.chat");
    record.set(&field::OPERATION, "chat");
    record.set(&field::METHOD, "POST");
    record.set(&field::PATH, "/v1/chat/completions");
    record.set(&field::UPSTREAM, "127.0.0.1");
    record.set(&field::SERVER_ADDRESS, "127.0.0.1");
    record.set(&field::SERVER_PORT, 8080_u16);
    record.set(&field::PRINCIPAL, "anonymous");
}

fn main() {
    let (question, answer) = bodies();
    let head = || BodyHead { content_type: Some("application/json"), content_encoding: None };
    let mut best = [f64::INFINITY; 5];
    for _ in 0..BATCHES {
        let mut times = [0.0; 5];
        for number in 0..CALLS {
            let mut at = Instant::now();
            let mut lap = |which: usize| {
                let now = Instant::now();
                times[which] += (now - at).as_secs_f64();
                at = now;
            };
            let mut record = Record::new(Uuid::from_u128(number.into()), Kind::Interaction, 1, [7; 32]);
            describe(&mut record);
            lap(0);
            let mut request = Request::new(Limits::default());
            request.push(question.as_bytes());
            black_box(request.finish(Dialect::OpenAiChat, head(), &mut record));
            lap(1);
            black_box(record.to_intent().ok());
            lap(2);
            let mut response = Response::new(Dialect::OpenAiChat, 200, head(), Limits::default());
            response.push(answer.as_bytes(), 1000);
            response.finish(End::Complete, &mut record);
            record.set(&field::DURATION, 1000_i64);
            record.set(&field::OUTCOME, "completed");
            lap(3);
            black_box(record.prepare().ok());
            lap(4);
        }
        for (best, time) in best.iter_mut().zip(times) {
            *best = best.min(time);
        }
    }
    let names = ["describe", "request", "intent", "response", "prepare"];
    let us = |seconds: f64| seconds / f64::from(CALLS) * 1e6;
    for (name, best) in names.iter().zip(best) {
        println!("{name:9} {:6.2} µs", us(best));
    }
    println!("together  {:6.2} µs for a call, the best of {BATCHES} batches of {CALLS}", us(best.iter().sum()));
}
