//! Sessions: a conversation as it went, whoever named it.

use serde_json::{Value, json};

use crate::support::upstream::model;
use crate::support::{Log, chat, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_reads_as_it_went() {
    let log = Log::new();
    let server = log.serve(model().await);
    let headers = [("x-onrecord-session", "support 7/ä")];
    let ask = |text: &str| chat(text, json!({ "max_tokens": 12 }));
    let first = post(server.gateway, &headers, ask("How do I read a file?")).await;
    let second = post(server.gateway, &headers, ask("What does str.split do?")).await;
    let other =
        post(server.gateway, &[("x-onrecord-session", "other")], json!({ "model": "tiny-pydoc" }).to_string()).await;
    post(server.gateway, &[], ask("What is a list?")).await;
    log.run(&["feedback", &second.id(), "--score", "0.5", "--comment", "it cuts"]).good();

    let shown = log.json(&["session", "support 7/ä", "--json"]);
    let turns = shown["turns"].as_array().unwrap();
    let of = |name: &str| turns.iter().map(|turn| turn[name].clone()).collect::<Vec<Value>>();
    assert_eq!(of("kind"), ["interaction", "interaction", "feedback"]);
    assert_eq!(of("id")[..2], [first.id(), second.id()]);
    assert_eq!(of("prompt")[..2], ["How do I read a file?", "What does str.split do?"]);
    assert_eq!(turns[1]["answer"], second.json()["choices"][0]["message"]["content"]);
    assert_eq!(turns[2]["subject"], second.id());
    let text = log.run(&["session", "support 7/ä"]).good();
    assert!(text.starts_with("session support 7/ä, 3 records\n"), "{text}");
    assert!(text.contains("\n  > How do I read a file?\n  < ") && text.contains("\n    it cuts\n"), "{text}");

    let list = log.json(&["session", "--json"]);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|session| session["session"].as_str().unwrap()).collect();
    assert_eq!(names, ["support 7/ä", "other"], "the one that was used last comes first");
    assert_eq!((&list[0]["calls"], &list[0]["feedback"], &list[0]["mean_score"]), (&json!(2), &json!(1), &json!(0.5)));
    assert_eq!((&list[1]["calls"], &list[1]["errors"]), (&json!(1), &json!(1)), "{}", other.text());
    assert_eq!(list[0]["models"], json!(["tiny-pydoc"]));
    assert!(log.run(&["session"]).good().contains("support 7/ä"));
    let none = log.run(&["session", "nobody"]);
    assert!(none.code == Some(2) && none.stderr.contains("there is no session \"nobody\""), "{none:?}");
    assert_eq!(log.query("SELECT count(*) AS n FROM accesses WHERE event = 'session'"), [json!({ "n": 2 })]);
    log.verify();
}
