//! Against a real llama.cpp server.

use serde_json::{Value, json};

use crate::support::log::field;
use crate::support::{Llama, Log, chat, post, wait_for};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_model_read_is_on_record() {
    let Some(llama) = Llama::start(&[]).await else { return };
    let log = Log::with_config("[probe]\nprompts_per_minute = 2\n");
    let server = log.serve(&llama);
    wait_for("its configuration", || log.query("SELECT id FROM configs").pop());
    let headers = [("x-onrecord-session", "s-1"), ("x-onrecord-user", "ann")];
    let ask = || chat("What is the capital of France?", json!({ "max_tokens": 4 }));
    let call = post(server.gateway, &headers, ask()).await;
    let steps = "SELECT step, interaction_id, session, rendered_prompt, prompt_token_ids FROM steps";
    let step = wait_for("the prompt", || log.query(steps).pop());
    assert_eq!(
        (&step["step"], &step["interaction_id"], &step["session"]),
        (&json!("prompt"), &json!(call.id()), &json!("s-1"))
    );
    let text = step["rendered_prompt"].as_str().unwrap();
    assert!(text.contains("<|im_start|>user\nWhat is the capital of France?<|im_end|>"), "{text}");
    assert!(text.ends_with("<|im_start|>assistant\n"), "{text}");
    let tokens: Vec<i64> = serde_json::from_str(step["prompt_token_ids"].as_str().unwrap()).unwrap();
    assert_eq!(tokens.len() as u64, call.json()["usage"]["prompt_tokens"].as_u64().unwrap());
    let tree = log.json(&["trace", &call.id(), "--json"]);
    let depths: Vec<_> = tree["nodes"].as_array().unwrap().iter().map(|node| &node["depth"]).collect();
    assert_eq!(depths, [&json!(0), &json!(1)], "{tree:#}");

    // The server tells it itself, if it is asked to be verbose.
    let verbose = chat("What is the capital of France?", json!({ "max_tokens": 4, "verbose": true }));
    let reply = post(server.gateway, &[], verbose).await;
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "input", "onrecord.prompt.source"), "reported");
    assert_eq!(field(&record, "input", "onrecord.prompt.rendered"), text);
    for _ in 0..3 {
        post(server.gateway, &headers, ask()).await;
    }
    wait_for("the second prompt", || (log.query(steps).len() >= 2).then_some(()));
    let erase = ["erase", "--where", "session = 's-1'", "--fields", "input", "--reason", "test"];
    log.run(&erase).good();
    let left =
        |id: &str| log.query(&format!("{steps} WHERE interaction_id = '{id}'")).remove(0)["rendered_prompt"].clone();
    assert_eq!((left(&call.id()), left(&reply.id())), (Value::Null, json!(text)), "it goes with its call");
    server.stop();
    assert_eq!(log.query(steps).len(), 2, "so many a minute");
    log.verify();
}
