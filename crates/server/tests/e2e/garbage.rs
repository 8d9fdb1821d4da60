//! Clients and model servers that misbehave: a clear answer, a record that says what happened, and a server that goes on.

mod client;
mod model;

use serde_json::Value;

use crate::support::http::get;
use crate::support::log::field;
use crate::support::{Log, Server};

/// Checks a record: its outcome, the status that the client got, the kind of error and where it arose.
#[track_caller]
fn ended(record: &Value, outcome: &str, status: u64, error: &str, stage: &str) {
    let of = |name: &str| field(record, "outcome", name);
    let got = (of("onrecord.outcome"), of("http.response.status_code"), of("error.type"), of("onrecord.error.stage"));
    let wanted = (&outcome.into(), &status.into(), &error.into(), &stage.into());
    assert_eq!(got, wanted, "{record:#}");
    assert!(!of("onrecord.error.message").as_str().unwrap_or_default().is_empty(), "{record:#}");
}

/// Checks that a call was passed on whole, with this status.
#[track_caller]
fn completed(record: &Value, status: u64) {
    let of = |name: &str| field(record, "outcome", name);
    assert_eq!(
        (of("onrecord.outcome"), of("http.response.status_code")),
        (&"completed".into(), &status.into()),
        "{record:#}"
    );
}

/// The server is as healthy as before, and its log too.
async fn still_good(log: &Log, server: Server) {
    let health = get(server.api, "/health", &[]).await;
    assert_eq!(health.status, 200, "{}", health.text());
    let stats = log.json(&["stats", "--json"]);
    assert_eq!((stats["healthy"].as_bool(), stats["open_calls"].as_u64()), (Some(true), Some(0)), "{stats}");
    let messages = server.stop();
    assert!(!messages.contains("ERROR"), "{messages}");
    log.verify();
}
