//! What the server says about itself.

use axum::http::StatusCode;
use serde_json::json;

use crate::client::Server;

#[tokio::test]
async fn the_model_describes_itself() {
    let server = Server::start().await;
    let (_, list) = server.get("/v1/models").await;
    let model = &list["data"][0];
    assert_eq!((&model["id"], &model["owned_by"]), (&json!("tiny-pydoc"), &json!("onrecord")));
    let description = "1.9 M parameters, trained on Python's documentation: small enough to ship, not clever";
    assert_eq!(model["description"], description);
    assert_eq!(&server.get("/v1/models/tiny-pydoc").await.1, model);
    let (status, answer) = server.get("/v1/models/other").await;
    assert_eq!((status, &answer["error"]["code"]), (StatusCode::NOT_FOUND, &json!("model_not_found")));
}

#[tokio::test]
async fn health_counts_work() {
    let server = Server::start().await;
    let (status, idle) = server.get("/health").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&idle["status"], &idle["generating"], &idle["generated_tokens"]), (&json!("ok"), &json!(0), &json!(0)));
    server.ask("Hello!", json!({ "max_tokens": 3 })).await;
    assert_eq!(server.until(|health| health["generating"] == 0).await["generated_tokens"], 3);
}
