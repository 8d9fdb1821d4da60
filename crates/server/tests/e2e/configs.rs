//! What a real model server runs is on record, each call refers to it, and a change shows.

use std::net::TcpListener;

use serde_json::json;

use super::support::llama::Llama;
use super::support::log::field;
use super::support::{Log, chat, post, wait_for};

const PROBE: &str = "[probe]\ninterval = \"1s\"\n";

/// The configurations on record, the oldest first.
fn configs(log: &Log) -> Vec<serde_json::Value> {
    log.query(
        "SELECT id, server, model, event, drift, supersedes, deployment, architecture, parameters, context_length, \
         encode(model_sha256, 'hex') AS sha256, array_to_string(command, ' ') AS command FROM configs ORDER BY leaf_index",
    )
}

fn wait_for_configs(log: &Log, count: usize) -> Vec<serde_json::Value> {
    wait_for("a configuration", || Some(configs(log)).filter(|configs| configs.len() >= count))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_model_server_is_on_record_and_told_in_words() {
    // A port that stays the same when the server is started again with other options.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let Some(llama) = Llama::start(&["--port", &port, "--api-key", "k-very-secret"]).await else { return };
    let log = Log::with_config(&format!("gateway.upstream_key = \"k-very-secret\"\n{PROBE}"));
    let server = log.serve(&llama);
    let first = wait_for_configs(&log, 1);
    assert_eq!((&first[0]["server"], &first[0]["model"]), (&json!("llama.cpp"), &json!("tiny-pydoc")));
    assert_eq!((&first[0]["event"], &first[0]["architecture"]), (&json!("taken"), &json!("llama")));
    assert_eq!((&first[0]["parameters"], &first[0]["context_length"]), (&json!(1_926_560), &json!(2048)));
    let model = std::fs::read(Llama::model()).unwrap();
    assert_eq!(first[0]["sha256"], json!(sha256(&model)));
    let command = first[0]["command"].as_str().unwrap();
    assert!(command.contains("--api-key ***") && !command.contains("k-very-secret"), "{command}");

    let before =
        post(server.gateway, &[], chat("What is a list?", json!({ "max_tokens": 4, "temperature": null }))).await;
    let record = log.show(&before.id());
    assert_eq!(record["refs"], json!([{ "rel": "config", "id": first[0]["id"] }]));
    assert_eq!(field(&record, "config", "onrecord.sampling.temperature"), &json!(0.8));
    assert_eq!(field(&record, "config", "onrecord.sampling.min_p"), &json!(0.05));

    // After a restart the configuration is found again.
    server.stop();
    let server = log.serve(&llama);
    let again = wait_for("the configuration in force", || {
        let id = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(post(server.gateway, &[], chat("a", json!({ "max_tokens": 1 }))))
        });
        Some(log.show(&id.id())["refs"].clone()).filter(|refs| refs != &json!([]))
    });
    assert_eq!(again, record["refs"]);
    assert_eq!(configs(&log).len(), 1);

    // Other options: a change that nobody announced.
    drop(llama);
    let options = ["--port", &port, "--api-key", "k-very-secret", "--temp", "0.2", "-c", "2048"];
    let llama = Llama::start(&options).await.unwrap();
    let second = wait_for_configs(&log, 2);
    assert_eq!((&second[1]["event"], &second[1]["drift"]), (&json!("changed"), &json!(true)));
    assert_eq!(second[1]["supersedes"], first[0]["id"]);
    let (a, b) = (first[0]["id"].as_str().unwrap(), second[1]["id"].as_str().unwrap());
    let words = log.run(&["config-diff", a, b]).good();
    assert!(words.contains("temperature default 0.8 → 0.2"), "{words}");
    assert!(words.contains("model context length 2048 → 1024"), "{words}");

    // And one that was.
    log.run(&["deploy", "back to the usual temperature"]).good();
    drop(llama);
    let llama = Llama::start(&["--port", &port, "--api-key", "k-very-secret"]).await.unwrap();
    let third = wait_for_configs(&log, 3);
    assert_eq!(third[2]["drift"], json!(false));
    assert_ne!(third[2]["deployment"], json!(null));
    let after = wait_for("a call under the new configuration", || {
        let reply = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(post(
                server.gateway,
                &[],
                chat("a", json!({ "max_tokens": 1, "temperature": 0.5 })),
            ))
        });
        Some(reply.id()).filter(|id| log.show(id)["refs"] != json!([]))
    });
    let diff = log.json(&["config-diff", &before.id(), &after, "--json"]);
    let words: Vec<_> =
        diff["changes"].as_array().unwrap().iter().filter_map(|change| change["words"].as_str()).collect();
    assert!(words.contains(&"sampling temperature 0.8 → 0.5"), "{words:?}");
    assert!(!words.iter().any(|words| words.contains("default")), "{words:?}");

    // No probe is a call.
    assert_eq!(
        log.query("SELECT id FROM interactions WHERE path <> '/v1/chat/completions'"),
        Vec::<serde_json::Value>::new()
    );
    log.verify();
    server.stop();
    drop(llama);
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_templates_are_listed_with_their_digest() {
    let Some(llama) = Llama::start(&[]).await else { return };
    let log = Log::new();
    let server = log.serve(&llama);
    std::fs::write(log.folder().join("answer.txt"), "Answer {question}").unwrap();
    log.run(&["template", "add", "answer@2", "answer.txt"]).good();
    let headers = [
        ("x-onrecord-template", "answer@2"),
        ("x-onrecord-template-vars", "{\"question\":1}"),
        ("x-onrecord-plugins", "rag, guard"),
    ];
    let reply = post(server.gateway, &headers, chat("a", json!({ "max_tokens": 1 }))).await;
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "config", "onrecord.prompt.variables"), &json!("{\"question\":1}"));
    let row = &log
        .query("SELECT prompt_template, prompt_version, array_to_string(plugins, '+') AS plugins FROM interactions")[0];
    assert_eq!(row, &json!({ "prompt_template": "answer", "prompt_version": "2", "plugins": "rag+guard" }));
    let listed = log.json(&["templates", "--json"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["version"], &listed[0]["calls"]),
        (&json!("answer"), &json!("2"), &json!(1))
    );
    assert_eq!(listed[0]["sha256"], json!(sha256(b"Answer {question}")));
    assert_eq!(listed.as_array().unwrap().len(), 1);
    server.stop();
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}
