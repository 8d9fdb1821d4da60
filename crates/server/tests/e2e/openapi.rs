//! The OpenAPI document: a validator takes it, every example in it works, and what comes is what it says.

use std::path::Path;

use serde_json::{Value, json};

use crate::clients::Client;
use crate::support::http::get;
use crate::support::{Log, chat, post, upstream};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_does_what_the_document_says() {
    let Some(client) = Client::python("with_openapi.py", "openapi_spec_validator, jsonschema") else { return };
    let log = Log::with_config("[retention]\npolicy = \"retention.toml\"\n");
    let policy = "[[rule]]\nname = \"all\"\nkind = \"interaction\"\npayload_days = 30\n";
    std::fs::write(log.folder().join("retention.toml"), policy).unwrap();
    let model = upstream::model().await;
    let server = log.serve(&model);
    for _ in 0..2 {
        let asked = chat("Hello, make a list.", json!({}));
        assert_eq!(post(server.gateway, &[("x-onrecord-session", "s-1")], asked).await.status, 200);
    }
    // Without tokens everybody may ask, but nobody may dispose of anything.
    server.stop();
    let made = log.run(&["token", "create", "--role", "admin", "--name", "admin"]).good();
    let token = made.split_whitespace().find(|word| word.starts_with("onr_")).unwrap().to_owned();
    let server = log.serve(&model);
    let ran = client.script(&[], &[&format!("http://{}", server.api), &token]);
    let said = ran.stderr.clone();
    let ran: Value = serde_json::from_str(&ran.good()).unwrap();
    let statuses = ran["statuses"].as_object().unwrap();
    for (operation, status) in statuses {
        let expect = if ["addRecords", "addFeedback"].contains(&operation.as_str()) { 201 } else { 200 };
        assert_eq!(status, expect, "{operation}: {said}");
    }
    assert!(statuses.len() > 30, "{statuses:?}");
    log.verify();
}

/// `docs/openapi.json` is what the program serves; `UPDATE_OPENAPI=1` writes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_in_the_repository_is_that_of_the_program() {
    let log = Log::new();
    let server = log.serve("http://127.0.0.1:1");
    let answer = get(server.api, "/api/v1/openapi.json", &[]).await;
    assert_eq!(answer.status, 200);
    let document = String::from_utf8(answer.body).unwrap();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(DOCUMENT, &document).unwrap();
    }
    let kept = std::fs::read_to_string(Path::new(DOCUMENT)).unwrap_or_default();
    assert!(kept == document, "docs/openapi.json is not what the program serves; run the test with UPDATE_OPENAPI=1");
}
