//! Against a real llama.cpp server.

use serde_json::{Value, json};

use crate::support::log::field;
use crate::support::{Llama, Log, chat, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_real_model_server_answers_and_is_on_record() {
    let Some(llama) = Llama::start(&[]).await else { return };
    let log = Log::new();
    let server = log.serve(&llama);
    let body = chat("What is the capital of France?", json!({ "max_tokens": 16 }));
    let direct = post(llama.address, &[], body.clone()).await;
    let reply = post(server.gateway, &[], body.clone()).await;
    let text = |answer: &Value| answer["choices"][0]["message"]["content"].clone();
    assert_eq!(text(&reply.json()), text(&direct.json()));
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "input", "onrecord.input.body"), &body);
    assert_eq!(field(&record, "output", "onrecord.output.body"), &reply.text());
    assert_eq!(field(&record, "output", "onrecord.output.text"), &text(&direct.json()));
    log.verify();
}
