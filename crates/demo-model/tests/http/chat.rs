//! Whole answers.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::client::Server;

#[tokio::test]
async fn answers_a_question() {
    let server = Server::start().await;
    let (status, answer) = server.ask("What is the capital of France?", json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "tiny-pydoc");
    assert_eq!(answer["system_fingerprint"], "fp_8aba70a13af1");
    let message = json!({ "role": "assistant", "content": "The capital of France is Paris.", "refusal": null });
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" });
    assert_eq!(answer["choices"], json!([choice]));
    let usage = json!({ "prompt_tokens": 15, "completion_tokens": 8, "total_tokens": 23 });
    assert_eq!(answer["usage"], usage);
    server.stop().await;
}

#[tokio::test]
async fn the_seed_fixes_the_answer() {
    let server = Server::start().await;
    let content = async |seed: i64| {
        let changes = json!({ "temperature": 1.5, "seed": seed, "max_tokens": 30 });
        server.ask("Tell me a story.", changes).await.1["choices"][0]["message"].take()
    };
    assert_eq!(content(-7).await, content(-7).await);
    assert_ne!(content(-7).await, content(8).await);
}

#[tokio::test]
async fn limits_and_stops_end_the_answer() {
    let server = Server::start().await;
    let check = async |changes: Value, content: &str, reason: &str, tokens: usize| {
        let (_, answer) = server.ask("Hello!", changes).await;
        assert_eq!(answer["choices"][0]["message"]["content"], content);
        assert_eq!(answer["choices"][0]["finish_reason"], reason);
        assert_eq!(answer["usage"]["completion_tokens"], tokens);
    };
    check(json!({ "max_tokens": 3 }), "Hello! How", "length", 3).await;
    check(json!({ "max_completion_tokens": 2 }), "Hello!", "length", 2).await;
    check(json!({ "stop": "w ca" }), "Hello! Ho", "stop", 4).await;
    check(json!({ "stop": ["zebra", " help"] }), "Hello! How can I", "stop", 6).await;
}

#[tokio::test]
async fn reports_logprobs() {
    let server = Server::start().await;
    let (_, answer) = server.ask("Hello!", json!({ "logprobs": true, "top_logprobs": 2, "max_tokens": 2 })).await;
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(tokens.len(), 2);
    assert_eq!((&tokens[0]["token"], &tokens[0]["id"]), (&json!("Hello"), &json!(1617)));
    assert_eq!(tokens[0]["bytes"], json!([72, 101, 108, 108, 111]));
    assert!((tokens[0]["logprob"].as_f64().unwrap() + 0.0940).abs() < 1e-2);
    assert_eq!(tokens[0]["top_logprobs"].as_array().unwrap().len(), 2);
    assert_eq!(tokens[0]["top_logprobs"][1]["token"], "Hi");

    let (_, answer) = server.ask("Hello!", json!({ "logprobs": true })).await;
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    let last = tokens.last().unwrap();
    assert_eq!((&last["token"], &last["bytes"]), (&json!("<|im_end|>"), &json!([])));
    assert_eq!(last["top_logprobs"], json!([]));
}

#[tokio::test]
async fn calls_a_tool() {
    let server = Server::start().await;
    let tool = r#"{"type": "function", "function": {"name": "get_weather",
        "description": "Get the weather in a city.", "parameters": {"type": "object",
        "properties": {"city": {"type": "string"}}, "required": ["city"]}}}"#;
    // Written by hand, because the key order of the definition reaches the model.
    let body = format!(
        r#"{{"model": "tiny-pydoc", "temperature": 0, "tools": [{tool}],
        "messages": [{{"role": "user", "content": "What is the weather in Paris?"}}]}}"#
    );
    let (_, answer) = server.post(&body).await;
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({ "name": "get_weather", "arguments": "{\"city\": \"Paris\"}" }));
    assert!(call["id"].as_str().unwrap().starts_with("call_") && call["index"].is_null());
    assert_eq!(answer["usage"]["prompt_tokens"], 104);

    let (_, answer) = server.post(&body.replace("\"tools\"", "\"tool_choice\": \"none\", \"tools\"")).await;
    assert_eq!(answer["choices"][0]["message"]["tool_calls"], Value::Null);
}

#[tokio::test]
async fn sets_reasoning_apart() {
    let server = Server::start().await;
    let messages = json!([
        { "role": "system", "content": "Think first." },
        { "role": "user", "content": [{ "type": "text", "text": "What is json.dumps?" }] },
    ]);
    let (_, answer) = server.ask("", json!({ "messages": messages })).await;
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "The user asks about xml.sax.\n");
    assert_eq!(message["content"], "A class for reading a Python object.");
}
