//! Rules that are looked at while the log grows, with the real program and a webhook.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post as posted;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::support::upstream::{self, answer};
use crate::support::{Log, chat, post, wait_for};

const FAILED: &str = r#"{"error":{"message":"CUDA error: out of memory","type":"server_error"}}"#;

/// What a webhook was sent. It refuses the first request.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Vec<Value>>>);

impl Hook {
    async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/hook", posted(Self::take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn take(State(hook): State<Self>, headers: HeaderMap, Json(mut body): Json<Value>) -> Ready<StatusCode> {
        body["key"] = headers.get("authorization").and_then(|key| key.to_str().ok()).into();
        drop(headers);
        let mut all = hook.0.lock().unwrap();
        all.push(body);
        ready(if all.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK })
    }

    fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

fn alerts(log: &Log) -> Vec<Value> {
    log.query("SELECT event, outcome, occurrence, model, note, leaf_index FROM alerts ORDER BY leaf_index")
}

/// Waits until so many are on record.
fn wait_for_alerts(log: &Log, count: usize) -> Vec<Value> {
    wait_for("an alert", || Some(alerts(log)).filter(|alerts| alerts.len() >= count))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_rule_finds_is_told_once_and_when_it_is_over() {
    let hook = Hook::default();
    let address = hook.listen().await;
    let log = Log::with_config(&format!(
        "[[alert]]\nname = \"failures\"\ninterval = \"1s\"\nwebhook = \"http://{address}/hook\"\n\
         headers = [\"authorization: Bearer a-key\"]\nquery = \"\"\"SELECT model, count(*) AS failed FROM interactions\n\
         WHERE time > now() - INTERVAL '4 seconds' AND status = 500 GROUP BY model\"\"\"\n\
         [[alert]]\nname = \"never\"\nquery = \"SELECT id FROM interactions WHERE status = 999\"\n"
    ));
    let model =
        upstream::script([answer("500 Internal Server Error", "content-type: application/json\r\n", FAILED)]).await;
    let call = || chat("Hello!", json!({ "model": "m" }));
    let server = log.serve(&model);
    // One: of two the rule may see the first alone.
    assert_eq!(post(server.gateway, &[], call()).await.status, 500);
    let found = wait_for_alerts(&log, 2);
    for (found, outcome) in found.iter().zip(["raised", "resolved"]) {
        assert_eq!(found["event"], "failures");
        assert_eq!(found["outcome"], outcome);
        assert!(found["occurrence"].as_str().unwrap().starts_with("failures-"), "{found}");
        assert_eq!(found["model"], "m");
    }
    assert_eq!(found.iter().map(|found| &found["note"]).collect::<Vec<_>>(), ["failed 1, model m", "model m"]);
    assert_eq!(found[0]["occurrence"], found[1]["occurrence"]);
    let sent = wait_for("the webhook", || Some(hook.all()).filter(|all| all.len() >= 3));
    assert_eq!(sent[0], sent[1], "what it refused comes again");
    assert_eq!([&sent[1]["outcome"], &sent[2]["outcome"]], ["raised", "resolved"]);
    assert_eq!([&sent[1]["leaf_index"], &sent[2]["leaf_index"]], [&found[0]["leaf_index"], &found[1]["leaf_index"]]);
    assert_eq!((&sent[1]["row"]["model"], &sent[1]["key"]), (&json!("m"), &json!("Bearer a-key")));
    assert!(sent[1]["text"].as_str().unwrap().starts_with("failures (raised): failed "), "{}", sent[1]);
    let metrics = crate::support::http::get(server.api, "/metrics", &[]).await.text();
    assert!(metrics.contains("onrecord_alert_raised_total{alert=\"failures\"} 1\n"), "{metrics}");
    assert!(metrics.contains("onrecord_alert_firing{alert=\"failures\"} 0\n"), "{metrics}");
    assert!(metrics.contains("onrecord_alert_failures_total{alert=\"failures\"} 1\n"), "{metrics}");

    // It begins again, and lasts over a restart.
    assert_eq!(post(server.gateway, &[], call()).await.status, 500);
    assert_eq!(wait_for_alerts(&log, 3)[2]["outcome"], "raised");
    server.stop();
    let server = log.serve(&model);
    let over = &wait_for_alerts(&log, 4)[3];
    assert_eq!((&over["outcome"], &over["model"]), (&json!("resolved"), &json!("m")));
    let read = log.query("SELECT count(*) AS looks FROM accesses WHERE principal = 'alerts' AND event = 'alert'");
    assert_eq!(read[0]["looks"], 2);
    assert_eq!(alerts(&log).len(), 4);

    // The rule goes while it lasts.
    assert_eq!(post(server.gateway, &[], call()).await.status, 500);
    assert_eq!(wait_for_alerts(&log, 5)[4]["outcome"], "raised");
    server.stop();
    let rules = std::fs::read_to_string(log.folder().join("onrecord.toml")).unwrap();
    let renamed = rules.replace("\"failures\"", "\"errors\"").replace("4 seconds", "0 seconds");
    std::fs::write(log.folder().join("onrecord.toml"), renamed).unwrap();
    let server = log.serve(&model);
    let over = &wait_for_alerts(&log, 6)[5];
    assert_eq!(
        (&over["event"], &over["outcome"], &over["model"]),
        (&json!("failures"), &json!("resolved"), &json!("m"))
    );
    assert_eq!(
        (&over["note"], &over["occurrence"]),
        (&json!("the rule is not there any more"), &found[0]["occurrence"])
    );
    server.stop();
    log.verify();
}

#[test]
fn a_rule_that_cannot_be_run_is_refused_at_start() {
    for (query, why) in [
        ("SELECT nothing FROM interactions", "nothing"),
        ("DELETE FROM interactions", "query"),
        ("SELECT 1; SELECT 2", "query"),
        ("SELECT id FROM interactions WHERE model = $1", "query"),
        ("VERBOSE SELECT id FROM interactions", "query"),
    ] {
        let log = Log::with_config(&format!("[[alert]]\nname = \"bad\"\nquery = \"{query}\"\n"));
        let ran =
            log.run(&["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"]);
        assert_ne!(ran.code, Some(0), "{query}");
        assert!(ran.stderr.contains("the alert \"bad\"") && ran.stderr.contains(why), "{query}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_rules_of_the_documentation_run() {
    let docs = include_str!("../../../../docs/alerts.md");
    let blocks = docs.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let rules = blocks.collect::<Vec<_>>().concat();
    assert!(rules.matches("[[alert]]").count() > 4);
    let log = Log::with_config(&rules);
    let server = log.serve(upstream::model().await);
    assert_eq!(post(server.gateway, &[], chat("Hello!", json!({ "max_tokens": 2 }))).await.status, 200);
    for rule in rules.parse::<toml::Table>().unwrap()["alert"].as_array().unwrap() {
        log.query(rule["query"].as_str().unwrap());
    }
    server.stop();
}
