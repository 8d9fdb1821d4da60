//! Streams of other dialects than chat completions flow through the gateway event by event, and their records say the same.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::http::{open, request};
use crate::support::log::field;
use crate::support::upstream::{Act, script, send};
use crate::support::{Log, Reply};

/// A call of one dialect and what its record must say.
struct Case {
    path: &'static str,
    body: Value,
    content_type: &'static str,
    /// What the model server sends, one after the other.
    events: [String; 3],
    dialect: &'static str,
    finish: &'static str,
}

/// What all of them answer, in two pieces.
const ANSWER: [&str; 2] = ["One", " two"];

fn ollama() -> Case {
    let line = |text: &str| {
        format!("{}\n", json!({ "model": "m", "message": { "role": "assistant", "content": text }, "done": false }))
    };
    let end = json!({ "model": "m", "message": { "role": "assistant", "content": "" }, "done": true, "done_reason": "stop",
        "prompt_eval_count": 7, "eval_count": 2 });
    Case {
        path: "/api/chat",
        body: json!({ "model": "m", "messages": [{ "role": "user", "content": "Count." }] }),
        content_type: "application/x-ndjson",
        events: [line(ANSWER[0]), line(ANSWER[1]), format!("{end}\n")],
        dialect: "ollama.chat",
        finish: "stop",
    }
}

fn anthropic() -> Case {
    let event = |name: &str, data: Value| {
        let mut data = data;
        data["type"] = name.into();
        format!("event: {name}\ndata: {data}\n\n")
    };
    let text = |text: &str| {
        event("content_block_delta", json!({ "index": 0, "delta": { "type": "text_delta", "text": text } }))
    };
    let message = json!({ "id": "msg", "role": "assistant", "model": "m", "content": [], "usage": { "input_tokens": 7, "output_tokens": 1 } });
    let start = event("message_start", json!({ "message": message }))
        + &event("content_block_start", json!({ "index": 0, "content_block": { "type": "text", "text": "" } }));
    let end = event("content_block_stop", json!({ "index": 0 }))
        + &event("message_delta", json!({ "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 2 } }))
        + &event("message_stop", json!({}));
    Case {
        path: "/v1/messages",
        body: json!({ "model": "m", "max_tokens": 9, "stream": true, "messages": [{ "role": "user", "content": "Count." }] }),
        content_type: "text/event-stream",
        events: [start + &text(ANSWER[0]), text(ANSWER[1]), end],
        dialect: "anthropic.messages",
        finish: "end_turn",
    }
}

async fn check(case: Case) {
    let pause = Duration::from_millis(500);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {}\r\nconnection: close\r\n\r\n", case.content_type);
    let [first, second, last] = case.events.clone();
    let acts = [send(head + &first), Act::Wait(pause), send(second), Act::Wait(pause), send(last)];
    let log = Log::new();
    let server = log.serve(script(acts).await);
    let mut call = request(server.gateway, &[], case.body.to_string());
    *call.uri_mut() = format!("http://{}{}", server.gateway, case.path).parse().unwrap();
    let start = Instant::now();
    let mut response = open(call).await.unwrap();
    let piece = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(start.elapsed() < pause, "{}: the first event waited for the next", case.dialect);
    assert_eq!(piece, Bytes::from(first.clone()), "{}", case.dialect);
    let reply = Reply::read(response).await;
    assert!(reply.whole);
    assert_eq!(reply.text(), case.events[1..].concat(), "{}", case.dialect);
    let record = log.show(&reply.id());
    for (group, name, expect) in [
        ("context", "onrecord.dialect", json!(case.dialect)),
        ("context", "gen_ai.operation.name", json!("chat")),
        ("config", "gen_ai.request.model", json!("m")),
        ("input", "onrecord.input.text", json!("Count.")),
        ("output", "onrecord.output.text", json!(ANSWER.concat())),
        ("performance", "gen_ai.usage.input_tokens", json!(7)),
        ("performance", "gen_ai.usage.output_tokens", json!(2)),
        ("outcome", "onrecord.outcome", json!("completed")),
        ("outcome", "onrecord.capture", json!("parsed")),
        ("outcome", "gen_ai.response.finish_reasons", json!([case.finish])),
    ] {
        assert_eq!(field(&record, group, name), &expect, "{}: {name}", case.dialect);
    }
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ollama_lines_flow_one_by_one() {
    check(ollama()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn anthropic_events_flow_one_by_one() {
    check(anthropic()).await;
}
