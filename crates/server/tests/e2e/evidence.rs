//! Evidence about several records in one file.

use serde_json::json;

use crate::support::upstream::{answer, completion, script};
use crate::support::{Log, chat, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_proves_many_records_and_says_what_it_does_not_prove() {
    let model = script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await;
    let log = Log::new();
    let server = log.serve(&model);
    let mut ids = Vec::new();
    for session in ["s-1", "s-1", "s-2"] {
        let reply = post(server.gateway, &[("x-onrecord-session", session)], chat("?", json!({}))).await;
        ids.push(reply.id());
    }
    let key = log.run(&["key"]).good();
    let check = |more: &[&str]| log.json(&[&["check", "e.json", "--json", "--key", key.trim()], more].concat());
    log.run(&["prove", &ids[2], &ids[0], &ids[0], "--reveal", "output", "-o", "e.json"]).good();
    let of = |checked: &serde_json::Value| {
        let entries = checked["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&check(&[])), [ids[0].clone(), ids[2].clone()], "each once, in the order of the log");

    log.run(&["erase", "--where", &format!("id = '{}'", ids[1]), "--fields", "input", "--reason", "a letter"]).good();
    log.run(&["prove", "--where", "session = 's-1'", "--reveal", "input,context", "-o", "e.json"]).good();
    let checked = check(&[]);
    let entries = checked["entries"].as_array().unwrap();
    assert_eq!(
        (entries.len(), &entries[0]["kind"], &entries[2]["kind"]),
        (3, &json!("interaction"), &json!("disposal"))
    );
    assert!(entries[0]["groups"]["input"]["onrecord.input.text"].is_string(), "{checked:#}");
    assert_eq!(entries[1]["groups"]["input"]["erased_by_leaf"], entries[2]["leaf_index"], "{checked:#}");
    let text = log.run(&["check", "e.json", "--key", key.trim()]).good();
    assert!(text.contains("ERASED, as the disposal") && text.contains("Not proved:"), "{text}");
    let second = std::process::Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/onrecord_check.py"))
        .arg(log.folder().join("e.json"))
        .args(["--key", key.trim()])
        .output()
        .unwrap();
    assert!(second.status.success(), "{second:?}");

    for (arguments, problem, never) in [
        (&["prove", "--where", "session = 's-9'"][..], "no record is meant", "\0"),
        (&["prove", "01a20888-9579-7083-9b51-de3d34162ce9"], "there is no record", "\0"),
        (&["prove", &ids[0], "--reveal", "secrets"], "there is no group", "\0"),
        (&["prove", &ids[1], "--reveal", "input"], "it was erased; it has who, ", ", input"),
        (&["prove", "--where", "no_such_column = 1"], "no_such_column", "_leaf"),
    ] {
        let refused = log.run(arguments);
        assert!(refused.code == Some(2) && refused.stderr.contains(problem), "{arguments:?}: {refused:?}");
        assert!(!refused.stderr.contains(never), "{arguments:?}: {refused:?}");
    }
    server.stop();
}
