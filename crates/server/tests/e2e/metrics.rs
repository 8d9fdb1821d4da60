//! What Prometheus collects, what its rules and the dashboard ask, and the documentation of it: all name the same things.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::postgres::{LISTEN, Psql};
use crate::support::http::get;
use crate::support::log::run;
use crate::support::{Log, chat, post, upstream};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const RULES: &str = "contrib/prometheus/onrecord.rules.yml";

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{path}")).unwrap()
}

/// Names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words =
        text.split(|c: char| !word(c)).filter(|found| found.starts_with("onrecord_") && *found != "onrecord_token");
    let base = |name: &str| {
        let end = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
        end.unwrap_or(name).to_owned()
    };
    words.map(base).collect()
}

/// The value of a series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn metrics_count_calls_and_the_work_of_the_log() {
    let (log, model) = (Log::new(), upstream::model().await);
    let server = log.serve(&model);
    for _ in 0..3 {
        assert_eq!(post(server.gateway, &[], chat("Hello!", json!({ "max_tokens": 2 }))).await.status, 200);
    }
    let reply = get(server.api, "/metrics", &[]).await;
    assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.text();
    assert!((value(&text, "onrecord_calls_total{outcome=\"completed\"}") - 3.0).abs() < 0.1);
    assert!((value(&text, "onrecord_call_duration_seconds_count") - 3.0).abs() < 0.1);
    assert!((value(&text, "onrecord_call_duration_seconds_bucket{le=\"+Inf\"}") - 3.0).abs() < 0.1);
    assert!((value(&text, "onrecord_log_records_total{kind=\"interaction\"}") - 3.0).abs() < 0.1);
    for above_zero in
        ["onrecord_log_sync_seconds_count", "onrecord_log_up", "onrecord_disk_free_bytes", "onrecord_log_size"]
    {
        assert!(value(&text, above_zero) > 0.0, "{above_zero}: {text}");
    }
    assert!(value(&text, "onrecord_tokens_total{direction=\"output\"}") > 0.0, "{text}");
    // A checkpoint is signed a second later, and then has a time.
    let there = crate::support::wait_for("a checkpoint", || {
        let text = log_metrics(&log, server.api);
        text.contains("onrecord_checkpoint_timestamp_seconds ").then_some(text)
    });
    let kinds = there.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let given: BTreeSet<_> = kinds.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(given, named(&file("docs/metrics.md")), "docs/metrics.md names other metrics");
    for path in [RULES, "contrib/grafana/onrecord.json"] {
        let unknown: Vec<_> = named(&file(path)).difference(&given).cloned().collect();
        assert!(unknown.is_empty(), "{path} asks for {unknown:?}");
    }
    server.stop();
}

fn log_metrics(log: &Log, api: std::net::SocketAddr) -> String {
    let mut curl = Command::new("curl");
    run(curl.current_dir(log.folder()).args(["-s", &format!("http://{api}/metrics")])).good()
}

#[test]
fn prometheus_takes_the_rules() {
    if Command::new("promtool").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "promtool is missing; it comes with Prometheus");
        eprintln!("SKIPPED: promtool is not installed; it comes with Prometheus");
        return;
    }
    run(Command::new("promtool").args(["check", "rules", &format!("{ROOT}/{RULES}")])).good();
}

/// A panel's statement with Grafana's macros filled in as Grafana does.
fn filled_in(statement: &str) -> String {
    let (mut text, mut rest) = (String::new(), statement);
    while let Some((before, after)) = rest.split_once("$__timeFilter(") {
        let (column, after) = after.split_once(')').unwrap();
        text += &format!("{before}{column} BETWEEN '2020-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z'");
        rest = after;
    }
    let group = "floor(extract(epoch from time)/60)*60 AS \"time\"";
    (text + rest).replace("$__timeGroupAlias(time,$__interval)", group)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_query_of_the_dashboard_runs() {
    let (log, model) = (Log::with_config(LISTEN), upstream::model().await);
    let server = log.serve(&model);
    assert_eq!(post(server.gateway, &[], chat("Hello!", json!({ "max_tokens": 2 }))).await.status, 200);
    let Some(psql) = Psql::of(&server) else { return };
    let dashboard: Value = serde_json::from_str(&file("contrib/grafana/onrecord.json")).unwrap();
    let targets = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let statements: Vec<_> = targets.filter_map(|target| target["rawSql"].as_str()).collect();
    assert!(statements.len() > 8, "{statements:?}");
    for statement in statements {
        let statement = filled_in(statement);
        assert!(!statement.contains('$'), "{statement}");
        psql.run(&[&statement]).good();
    }
    let calls = psql
        .run(&[&filled_in(
            "SELECT $__timeGroupAlias(time,$__interval), count(*) AS calls FROM interactions GROUP BY 1",
        )])
        .good();
    assert!(calls.contains("time|calls"), "{calls}");
    server.stop();
}
