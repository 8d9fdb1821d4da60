//! What is refused, and what has to wait.

use axum::http::{Method, StatusCode};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::client::Server;

#[tokio::test]
async fn bad_requests_are_explained() {
    let server = Server::start().await;
    let check = async |body: &str, status: u16, param: Value, code: Value| {
        let (actual, answer) = server.post(body).await;
        let error = &answer["error"];
        assert_eq!((actual.as_u16(), &error["param"], &error["code"]), (status, &param, &code), "{body}");
        assert_eq!(error["type"], "invalid_request_error");
        assert!(!error["message"].as_str().unwrap().is_empty());
    };
    let null = || Value::Null;
    check("{\"model\": ", 400, null(), null()).await;
    check("[]", 400, null(), null()).await;
    check("", 400, null(), null()).await;
    check("{}", 400, json!("model"), json!("missing_required_parameter")).await;
    let model = "\"model\": \"tiny-pydoc\"";
    check(&format!("{{{model}}}"), 400, json!("messages"), json!("missing_required_parameter")).await;
    check("{\"model\": \"gpt\", \"messages\": []}", 404, json!("model"), json!("model_not_found")).await;
    let hot = format!("{{{model}, \"messages\": [{{\"role\": \"user\"}}], \"temperature\": 3}}");
    check(&hot, 400, json!("temperature"), json!("invalid_value")).await;
    let twice = format!("{{{model}, \"messages\": [{{\"role\": \"user\"}}], \"n\": 2}}");
    check(&twice, 400, json!("n"), json!("unsupported_value")).await;
}

#[tokio::test]
async fn a_prompt_beyond_the_context_is_refused() {
    let server = Server::start().await;
    let question = "word ".repeat(2500);
    for stream in [false, true] {
        let (status, answer) = server.ask(&question, json!({ "stream": stream })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(answer["error"]["code"], "context_length_exceeded");
        assert_eq!(answer["error"]["param"], "messages");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let server = Server::start().await;
    let (status, answer) = server.ask(&"x".repeat((1 << 20) + 1), json!({})).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let server = Server::start().await;
    assert_eq!(server.get("/v1/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/v1/chat/completions").await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(server.send(Method::DELETE, "/v1/models", "").await.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn more_requests_than_slots_are_all_answered() {
    let server = Server::start().await;
    let (_, health) = server.get("/health").await;
    let requests = 3 * health["capacity"].as_u64().unwrap();
    let asked = (0..requests).map(|_| server.ask("Hello!", json!({})));
    for (_, answer) in join_all(asked).await {
        assert_eq!(answer["choices"][0]["message"]["content"], "Hello! How can I help you today?");
    }
    let health = server.until(|health| health["generating"] == 0).await;
    assert_eq!(health["generated_tokens"].as_u64().unwrap(), 10 * requests);
}
