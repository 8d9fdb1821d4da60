//! Erasure, legal holds and retention, by the command line and the API of the real program.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::http::{get, request};
use crate::support::upstream::{self, Act, answer, completion};
use crate::support::{Log, Reply, Server, chat, http, post, wait_for};

const SECRET: &str = "my-number-is-4711";
const JSON: &str = "content-type: application/json\r\n";

/// Three calls of alice with a secret in question and answer, two of bob.
async fn calls(log: &Log) -> (Server, upstream::Upstream) {
    let model = upstream::script([answer("200 OK", JSON, completion(&format!("the answer to {SECRET}")))]).await;
    let server = log.serve(&model);
    for (n, user) in ["alice", "bob", "alice", "bob", "alice"].iter().enumerate() {
        let question = format!("{SECRET} of {user}, question {n}");
        let tags = format!("team={user}");
        let headers = [("x-onrecord-user", *user), ("x-onrecord-tags", tags.as_str())];
        assert_eq!(post(server.gateway, &headers, chat(&question, json!({}))).await.status, 200);
    }
    (server, model)
}

/// How often alice's secret stands in the files below a folder, as far as these are not compressed.
fn found_in(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(found_in(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn erase(log: &Log, more: &[&str]) -> Value {
    let mut arguments = vec!["erase", "--where", "user_id = 'alice'", "--fields", "input,output", "--json"];
    arguments.extend(["--reason", "asked for by letter", "--by", "alice"]);
    arguments.extend(more);
    log.json(&arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_person_wants_erased_is_gone_and_the_log_still_verifies() {
    let log = Log::new();
    let (server, _model) = calls(&log).await;
    let id =
        log.query("SELECT id FROM interactions WHERE user_id = 'alice' LIMIT 1")[0]["id"].as_str().unwrap().to_owned();
    assert!(!found_in(&log.data(), &format!("{SECRET} of alice")).is_empty(), "it is in the segments");

    let plan = erase(&log, &["--dry-run"]);
    assert_eq!((&plan["records"], &plan["disposals"]), (&json!(3), &json!([])));
    assert!(plan["payload_bytes"].as_u64() > Some(300));
    assert_eq!(log.verify()["erased"], 0);

    let done = erase(&log, &[]);
    assert_eq!((&done["records"], done["disposals"].as_array().unwrap().len()), (&json!(3), 1), "{done}");
    assert_eq!(found_in(&log.data(), &format!("{SECRET} of alice")), Vec::<String>::new());
    let left = log.query("SELECT user_id, count(prompt) AS prompts, count(answer) AS answers, count(*) AS calls FROM interactions GROUP BY 1 ORDER BY 1");
    assert_eq!(left[0], json!({ "user_id": "alice", "prompts": 0, "answers": 0, "calls": 3 }));
    assert_eq!(left[1], json!({ "user_id": "bob", "prompts": 2, "answers": 2, "calls": 2 }));

    let report = log.verify();
    assert_eq!(report["erased"], 3);
    let disposal = &report["erasures"][0];
    assert_eq!((&disposal["leaf"], &disposal["records"]), (&done["disposals"][0], &json!(3)));
    let text = log.run(&["verify"]).good();
    let line = format!("ERASED    input, output of 3 records, by leaf {}: asked for by letter", done["disposals"][0]);
    assert!(text.contains(&line) && text.contains("VERIFIED"), "{text}");
    let record = log.show(&done["disposals"][0].to_string());
    assert_eq!(
        (&record["kind"], &record["groups"]["who"]["onrecord.requested_by"]),
        (&json!("disposal"), &json!("alice"))
    );
    assert_eq!(record["refs"].as_array().unwrap().len(), 3);

    let refused = log.run(&["prove", &id, "--reveal", "input"]);
    assert!(refused.output().contains("it was erased"), "{refused:?}");
    log.run(&["prove", &id, "--reveal", "who", "-o", "evidence.json"]).good();
    let key = log.run(&["key"]).good();
    let checked = log.run(&["check", "evidence.json", "--key", key.trim()]).good();
    assert!(checked.contains("PROVED") && checked.contains("input: ERASED, as the disposal at leaf"), "{checked}");
    assert_eq!(erase(&log, &[])["records"], 0, "nothing is left to erase");
    server.stop();
    assert_eq!(log.verify()["erased"], 3);
}

/// The index of searches has words, so those that only alice's calls have must be gone from it too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_is_not_found_any_more_and_not_in_the_index() {
    let log = Log::with_config("[lake]\nseal_after = \"1s\"\n");
    let (server, _model) = calls(&log).await;
    let index = log.data().join("index");
    let total = |query: &str| log.json(&["search", query, "--json"])["total"].clone();
    // Terms have no more in front of them than what they share with the one before.
    wait_for("an index", || (index.exists() && !found_in(&index, "lice").is_empty()).then_some(()));
    assert_eq!((total("alice 4711"), total("4711")), (json!(3), json!(5)));

    let found = ["--where", "leaf_index IN (SELECT leaf_index FROM search('\"of alice\"'))"];
    let done = log.json(
        &[&["erase"][..], &found, &["--fields", "input,output,who,context", "--reason", "a letter", "--json"]].concat(),
    );
    assert_eq!(done["records"], 3);
    for when in ["at once", "indexed anew"] {
        assert_eq!(found_in(&index, "lice"), Vec::<String>::new(), "{when}");
        assert_eq!((total("alice"), total("tag:team=alice"), total("4711")), (json!(0), json!(0), json!(2)), "{when}");
        wait_for("an index", || (!found_in(&index, "4711").is_empty()).then_some(()));
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_a_crash_interrupts_is_completed_at_the_next_start() {
    let log = Log::new();
    let (server, _model) = calls(&log).await;
    server.stop();
    let model = upstream::script([Act::Hold]).await;
    let server = log.serve(&model);
    // A call that is under way keeps its segment, and the erasure waits for it.
    let pending = tokio::spawn(http::open(request(server.gateway, &[], chat("wait", json!({})))));
    wait_for("the call", || (model.requests.lock().unwrap().len() == 1).then_some(()));
    let question = format!("{SECRET} of alice, who goes away");
    let headers = [("x-onrecord-user", "alice")];
    let gone = tokio::spawn(http::open(request(server.gateway, &headers, chat(&question, json!({})))));
    wait_for("the call", || (model.requests.lock().unwrap().len() == 2).then_some(()));
    gone.abort();
    wait_for("its record", || {
        (log.query("SELECT id FROM interactions WHERE user_id = 'alice'").len() == 4).then_some(())
    });
    let mut command = crate::support::log::program(log.folder());
    command.args(["erase", "--where", "user_id = 'alice'", "--fields", "input,output", "--reason", "a letter"]);
    let mut erasing = command.spawn().unwrap();
    let notes = log.data().join("disposing");
    let disposed = "SELECT leaf_index FROM records WHERE kind = 'disposal'";
    wait_for("the disposal", || (!log.query(disposed).is_empty()).then_some(()));
    assert_eq!(std::fs::read_dir(&notes).unwrap().count(), 1);
    // Meanwhile others dispose of what they want, and hold it.
    wait_for("the rows", || {
        (log.query("SELECT prompt FROM interactions WHERE user_id = 'alice' AND prompt IS NOT NULL").is_empty())
            .then_some(())
    });
    let held = log.run(&["hold", "add", "--where", "user_id = 'bob'", "--reason", "case 13"]).good();
    log.run(&["hold", "release", held.lines().next().unwrap()]).good();
    assert!(erasing.try_wait().unwrap().is_none(), "the erasure waits for the call under way");
    server.kill();
    assert!(!erasing.wait().unwrap().success());
    drop(pending);
    let server = log.serve(&model);
    wait_for("the rest of the erasure", || (std::fs::read_dir(&notes).unwrap().count() == 0).then_some(()));
    assert_eq!(found_in(&log.data(), &format!("{SECRET} of alice")), Vec::<String>::new());
    assert_eq!(log.verify()["erased"], 4);
    assert_eq!(log.query(disposed).len(), 1);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_beats_erasure_and_retention_and_the_refusal_names_it() {
    let log = Log::with_config("[retention]\npolicy = \"retention.toml\"\n");
    std::fs::write(log.folder().join("retention.toml"), "[[rule]]\nname = \"short\"\npayload_days = 0\n").unwrap();
    let (server, _model) = calls(&log).await;
    let added = log.run(&["hold", "add", "--where", "user_id = 'alice'", "--reason", "case 12"]).good();
    let id = added.lines().next().unwrap().to_owned();
    assert!(added.contains("covers 3 records"), "{added}");
    assert_eq!(log.json(&["hold", "list", "--json"])[0]["reason"], "case 12");
    let refused = log.run(&["erase", "--where", "true", "--fields", "input", "--reason", "tidy"]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.output().contains(&format!("3 of these records are under the legal hold {id} (case 12)")),
        "{refused:?}"
    );
    let plan = &log.json(&["retention", "plan", "--json"])[0];
    assert_eq!((&plan["records"].as_u64().is_some_and(|n| n >= 2), &plan["held"]), (&true, &json!(3)), "{plan}");
    log.json(&["retention", "run", "--json"]);
    let left = log.query("SELECT user_id, count(answer) AS answers FROM interactions GROUP BY 1 ORDER BY 1");
    assert_eq!(left, [json!({ "user_id": "alice", "answers": 3 }), json!({ "user_id": "bob", "answers": 0 })]);
    log.run(&["hold", "release", &id]).good();
    assert_eq!(log.json(&["hold", "list", "--json"]), json!([]));
    assert_eq!(erase(&log, &[])["records"], 3);
    log.verify();
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_disposes_by_rule_and_its_floor_holds_for_everybody() {
    let log = Log::with_config("[retention]\npolicy = \"retention.toml\"\nevery = \"1s\"\n");
    let policy = "[floor]\nmetadata_days = 30\n[[rule]]\nname = \"all\"\nkind = \"interaction\"\npayload_days = 0\n\
        [[rule]]\nname = \"bob's\"\ntag = \"team=bob\"\npayload_days = 3650\n";
    std::fs::write(log.folder().join("retention.toml"), policy).unwrap();
    let (server, _model) = calls(&log).await;
    let disposed = "SELECT rule, record_count AS records, policy_sha256 IS NOT NULL AS digest FROM disposals";
    wait_for("the schedule", || {
        let records: i64 = log.query(disposed).iter().map(|row| row["records"].as_i64().unwrap()).sum();
        (records >= 3).then_some(())
    });
    assert_eq!((&log.query(disposed)[0]["rule"], &log.query(disposed)[0]["digest"]), (&json!("all"), &json!(true)));
    let left = "SELECT user_id, count(answer) AS answers FROM interactions GROUP BY 1 ORDER BY 1";
    // The disposal is on record before it is carried out.
    let expect = [json!({ "user_id": "alice", "answers": 0 }), json!({ "user_id": "bob", "answers": 2 })];
    wait_for("the answers to be gone", || (log.query(left) == expect).then_some(()));
    let refused = log.run(&["erase", "--where", "true", "--fields", "who", "--reason", "tidy"]);
    assert!(refused.output().contains("younger than 30 days, the floor for metadata"), "{refused:?}");
    server.stop();
    log.verify();
    std::fs::write(log.folder().join("retention.toml"), policy.replace("payload_days = 0", "metadata_days = 3"))
        .unwrap();
    let wrong = log.run(&["config", "check"]);
    assert!(wrong.code == Some(2) && wrong.output().contains("retention.toml:3"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_administrator_disposes_of_anything() {
    let log = Log::new();
    let token = |role: &str| {
        let made = log.run(&["token", "create", "--role", role, "--name", role]).good();
        made.split_whitespace().find(|word| word.starts_with("onr_")).unwrap().to_owned()
    };
    let (server, model) = calls(&log).await;
    assert_eq!(get(server.api, "/api/v1/holds", &[]).await.status, 403, "without a token nobody disposes of anything");
    server.stop();
    let (reader, admin) = (token("read"), token("admin"));
    let server = log.serve(&model);
    let ask = |token: String| async move {
        let body = json!({ "where": "true", "fields": ["input"], "reason": "r", "dry_run": true });
        let mut request = request(server.api, &[("x-onrecord-token", token.as_str())], body.to_string());
        *request.uri_mut() = format!("http://{}/api/v1/erase", server.api).parse().unwrap();
        Reply::read(http::open(request).await.unwrap()).await
    };
    let refused = ask(reader).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
    assert_eq!(ask(admin).await.json()["records"].as_u64().map(|records| records >= 5), Some(true));
    server.stop();
}
