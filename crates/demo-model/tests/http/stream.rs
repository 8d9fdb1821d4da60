//! Streamed answers.

use axum::http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::client::{Server, request};

fn parsed(events: &[String]) -> Vec<Value> {
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect()
}

fn concat(chunks: &[Value], field: &str) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][field].as_str()).collect()
}

#[tokio::test]
async fn chunks_follow_the_protocol() {
    let server = Server::start().await;
    let chunks = parsed(&server.stream("Hello!", json!({ "stream_options": { "include_usage": true } })).await);
    let [opening, pieces @ .., end, usage] = &chunks[..] else { panic!("{chunks:?}") };
    assert_eq!(opening["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(concat(pieces, "content"), "Hello! How can I help you today?");
    assert!(pieces.iter().all(|piece| piece["choices"][0]["finish_reason"].is_null()));
    assert_eq!((&end["choices"][0]["delta"], &end["choices"][0]["finish_reason"]), (&json!({}), &json!("stop")));
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(20)));
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["id"], opening["id"]);
    }
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer() {
    let server = Server::start().await;
    for seed in 0..12 {
        // Hot enough for half characters, markers and false starts of the stop string.
        let changes = json!({
            "temperature": 2, "seed": seed, "max_tokens": 120, "ignore_eos": true, "stop": ["the end", " re"],
            "logprobs": true,
        });
        let (_, whole) = server.ask("Grüße 你好 🙂🏽", changes.clone()).await;
        let chunks = parsed(&server.stream("Grüße 你好 🙂🏽", changes).await);
        let choice = &whole["choices"][0];
        assert_eq!(concat(&chunks, "content"), choice["message"]["content"].as_str().unwrap());
        assert_eq!(
            concat(&chunks, "reasoning_content"),
            choice["message"]["reasoning_content"].as_str().unwrap_or_default()
        );
        let logprobs = chunks.iter().filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array());
        assert_eq!(&logprobs.flatten().cloned().collect::<Value>(), &choice["logprobs"]["content"]);
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], choice["finish_reason"]);
    }
}

#[tokio::test]
async fn nothing_of_a_stop_string_is_shown() {
    let server = Server::start().await;
    let chunks = parsed(&server.stream("Hello!", json!({ "stop": "w can I help you to" })).await);
    let pieces: Vec<&str> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(pieces, ["", "Hello", "!", " Ho"]);
}

#[tokio::test]
async fn a_hang_up_stops_a_stream() {
    let server = Server::start().await;
    let body = request("Hello!", json!({ "ignore_eos": true, "stream": true })).to_string();
    let mut response = server.send(Method::POST, "/v1/chat/completions", &body).await;
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    stopped_early(&server).await;
}

#[tokio::test]
async fn a_hang_up_stops_a_whole_answer() {
    let server = Server::start().await;
    let body = request("Hello!", json!({ "ignore_eos": true })).to_string();
    tokio::select! {
        _ = server.send(Method::POST, "/v1/chat/completions", &body) => panic!("answered before the hang-up"),
        _ = server.until(|health| health["generated_tokens"].as_u64() > Some(0)) => {}
    }
    stopped_early(&server).await;
}

/// The context leaves room for 2,038 tokens; a generation that nobody stops uses it up.
async fn stopped_early(server: &Server) {
    let health = server.until(|health| health["generating"] == 0).await;
    let generated = health["generated_tokens"].as_u64().unwrap();
    assert!((1..2038).contains(&generated), "{generated} tokens");
}
