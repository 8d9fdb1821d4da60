//! The table in an object store: what moves there, what is found there, and what becomes of both when the program is
//! killed in the middle of it, the store does not answer, or says that it failed when it did not.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::http::{get, open, request};
use crate::support::log::run;
use crate::support::store::{Door, Store};
use crate::support::upstream::{Upstream, answer, completion, script};
use crate::support::{Log, Ran, Reply, Server, chat, post, wait_for};

const LAKE: &str = "[lake]\nseal_after = \"1s\"\ncompact_every = \"200ms\"\n";

fn log_of(store: &Store) -> Log {
    Log::with_config(LAKE).and_environment(&store.environment())
}

/// A start that comes to nothing.
fn start(log: &Log) -> Ran {
    log.run(&["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"])
}

async fn model() -> Upstream {
    script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await
}

/// Some calls of this user; gives their ids.
async fn calls(server: &Server, user: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..3 {
        let reply = post(server.gateway, &[("x-onrecord-user", user)], chat("Is it?", json!({}))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        ids.push(reply.id());
    }
    ids
}

/// Waits until every record is in the table; gives the numbers.
#[track_caller]
fn sealed(log: &Log) -> Value {
    wait_for("the records to be sealed", || {
        let stats = log.json(&["stats", "--json"]);
        (stats["records"] == stats["sealed_records"]).then_some(stats)
    })
}

/// Each of these calls is on record, once.
#[track_caller]
fn all_are_there_once(log: &Log, known: &[String]) {
    let ids: Vec<String> = log
        .query("SELECT id FROM interactions")
        .iter()
        .map(|row| row["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    let once: HashSet<_> = ids.iter().collect();
    assert_eq!(once.len(), ids.len(), "a call is on record twice");
    let lost: Vec<_> = known.iter().filter(|id| !once.contains(id)).collect();
    assert!(lost.is_empty(), "of {} calls these are not on record: {lost:?}", known.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_move_to_a_bucket_and_are_read_from_there() {
    let Some(store) = Store::start().await else { return };
    let log = log_of(&store);
    let model = model().await;
    let server = log.serve(&model);
    let ids = calls(&server, "alice").await;
    let stats = sealed(&log);
    assert_eq!(stats["table"], format!("s3://audit/{}", store.prefix()));
    assert_eq!(log.show(&ids[0])["id"], json!(ids[0]));
    server.stop();

    let lake: Vec<_> = std::fs::read_dir(log.data().join("lake")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(lake.iter().all(|name| name == "store" || name == "drafts"), "{lake:?}");
    assert!(!store.objects(".parquet").await.is_empty());

    // The data folder says where the table is, to those who were not told.
    let environment: Vec<_> = store.environment().into_iter().filter(|(name, _)| name != "ONRECORD_STORE").collect();
    let log = log.and_environment(&environment);
    all_are_there_once(&log, &ids);
    log.verify();
    log.run(&["fsck"]).good();

    // Another reader of Delta tables reads it.
    let script = "import sys, polars; print(polars.scan_delta(sys.argv[1]).filter(polars.col('kind') == 'interaction')\
                  .select(polars.len()).collect().item())";
    let python = std::env::var("ONRECORD_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut polars = std::process::Command::new(python);
    polars.args(["-c", script, &format!("s3://audit/{}", store.prefix())]).envs(environment);
    let rows = run(polars.env("AWS_ALLOW_HTTP", "true"));
    assert_eq!(rows.good().trim(), "3");

    // A second table elsewhere would be a second history.
    let elsewhere =
        run(crate::support::log::program(log.folder()).arg("stats").env("ONRECORD_STORE", "s3://audit/other"));
    assert!(elsewhere.stderr.contains("are in s3://audit/") && elsewhere.code == Some(2), "{elsewhere:?}");
}

/// A client that calls until the server is gone; the ids of the answers that it had in full.
async fn caller(gateway: SocketAddr, known: Arc<Mutex<Vec<String>>>) {
    while let Ok(response) = open(request(gateway, &[], chat("How many?", json!({})))).await {
        let ok = response.status().is_success();
        let reply = Reply::read(response).await;
        if !reply.whole || !ok {
            return;
        }
        known.lock().unwrap().push(reply.id());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_at_any_step_of_the_hand_over_loses_nothing() {
    let Some(mut store) = Store::start().await else { return };
    let log = log_of(&store);
    let (model, known) = (model().await, Arc::new(Mutex::new(Vec::new())));
    // A seal is three writes, and compaction comes in between: more than one turn of both.
    for write in 0..6 {
        for door in [Door::StopBefore(write), Door::StopAfter(write)] {
            let server = log.serve(&model);
            store.set(door);
            let client = tokio::spawn(caller(server.gateway, Arc::clone(&known)));
            let at = store.stopped().await;
            eprintln!("{door:?}: killed at {at}");
            server.kill();
            client.await.unwrap();
            store.set(Door::Open);
        }
    }
    let server = log.serve(&model);
    let stats = sealed(&log);
    assert_eq!(store.objects(".parquet").await.len() as u64, stats["lake_files"].as_u64().unwrap());
    server.stop();
    let known = known.lock().unwrap().clone();
    assert!(known.len() > 100, "{} calls", known.len());
    all_are_there_once(&log, &known);
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_erasure_that_is_killed_is_completed() {
    let Some(mut store) = Store::start().await else { return };
    // Whose write the program is killed at must not be up to chance: nothing is compacted or asked beside the erasure.
    let quiet = LAKE.replace("200ms", "1h") + "[probe]\nenabled = false\n";
    let log = Log::with_config(&quiet).and_environment(&store.environment());
    let model = model().await;
    for write in 0..4 {
        for door in [Door::StopBefore(write), Door::StopAfter(write)] {
            let user = format!("{door:?}");
            let server = log.serve(&model);
            calls(&server, &user).await;
            sealed(&log);
            store.set(door);
            let mut command = crate::support::log::program(log.folder());
            command.args([
                "erase",
                "--where",
                &format!("user_id = '{user}'"),
                "--fields",
                "input",
                "--reason",
                "asked",
            ]);
            let mut erasing = command.stderr(std::process::Stdio::null()).spawn().unwrap();
            eprintln!("{user}: killed at {}", store.stopped().await);
            server.kill();
            erasing.wait().unwrap();
            store.set(Door::Open);

            let server = log.serve(&model);
            let noted = || std::fs::read_dir(log.data().join("disposing")).map_or(0, Iterator::count);
            wait_for("the erasure to be completed", || (noted() == 0).then_some(()));
            let left = format!("SELECT count(*) AS n FROM interactions WHERE user_id = '{user}' AND input IS NOT NULL");
            assert_eq!(log.query(&left)[0]["n"], 0, "{user}");
            server.stop();
        }
    }
    let server = log.serve(&model);
    let files = sealed(&log)["lake_files"].as_u64().unwrap();
    assert_eq!(store.objects(".parquet").await.len() as u64, files, "what was replaced is gone");
    server.stop();
    assert_eq!(log.verify()["erased"], 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_the_store_is_away_calls_are_recorded_and_sealing_says_that_it_stands_still() {
    let Some(store) = Store::start().await else { return };
    let log = log_of(&store);
    let model = model().await;
    let server = log.serve(&model);
    let mut ids = calls(&server, "alice").await;
    sealed(&log);
    store.set(Door::Refuse);
    ids.extend(calls(&server, "bob").await);
    wait_for("the server to say so", || server.messages().contains("sealing failed").then_some(()));
    let health = get(server.api, "/health", &[]).await;
    let why = health.json()["sealing_stands_still"].as_str().unwrap().to_owned();
    assert!(health.status == 200 && why.contains("s3://audit/") && why.contains("AWS_ENDPOINT_URL"), "{why}");
    assert!(get(server.api, "/metrics", &[]).await.text().contains("\nonrecord_sealing_up 0\n"));
    assert!(log.run(&["stats"]).good().contains("stands still"));
    ids.extend(calls(&server, "carol").await);
    // What is not sealed is read from the log.
    let newest = log.json(&["stats", "--json"])["records"].as_u64().unwrap() - 1;
    let shown = get(server.api, &format!("/api/v1/calls/{newest}"), &[]).await;
    assert_eq!(shown.status, 200, "{}", shown.text());

    // A start needs to know what is sealed.
    server.stop();
    let refused = start(&log);
    assert!(refused.code == Some(2) && refused.stderr.contains("is the store reachable"), "{refused:?}");
    let unknown = log.run(&["verify"]);
    assert!(unknown.code == Some(2) && unknown.stderr.contains("is the store reachable"), "{unknown:?}");

    store.set(Door::Open);
    let server = log.serve(&model);
    sealed(&log);
    assert_eq!(get(server.api, "/health", &[]).await.json()["sealing_stands_still"], Value::Null);
    server.stop();
    all_are_there_once(&log, &ids);
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_fails_now_and_then_and_loses_answers_makes_no_difference() {
    let Some(store) = Store::start().await else { return };
    let log = log_of(&store);
    let model = model().await;
    let server = log.serve(&model);
    store.set(Door::Flaky);
    let mut ids = Vec::new();
    for user in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        ids.extend(calls(&server, user).await);
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    store.set(Door::Open);
    sealed(&log);
    server.stop();
    all_are_there_once(&log, &ids);
    log.verify();
    log.run(&["fsck"]).good();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_without_conditional_writes_is_refused() {
    let Some(store) = Store::start().await else { return };
    let log = log_of(&store);
    store.set(Door::Careless);
    let refused = start(&log);
    assert!(refused.stderr.contains("it must know conditional writes (If-None-Match)"), "{refused:?}");
    assert!(!log.data().join("lake/store").exists(), "nothing binds the log to it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_an_object_lock_all_goes_on_and_erasure_says_what_it_cannot_do() {
    let lock = [("x-amz-bucket-object-lock-enabled", "true")];
    let Some(store) = Store::with_bucket("locked", &lock).await else { return };
    let log = log_of(&store);
    if store.is_real() {
        // That of Ceph 16 forgets the condition where there are versions.
        assert!(start(&log).stderr.contains("it must know conditional writes"));
        return;
    }
    let model = model().await;
    let server = log.serve(&model);
    assert!(server.messages().contains("the bucket keeps old versions"), "{}", server.messages());
    let mut ids = calls(&server, "alice").await;
    sealed(&log);
    ids.extend(calls(&server, "bob").await);
    sealed(&log);
    let erased =
        log.run(&["erase", "--where", "user_id = 'alice'", "--fields", "input", "--reason", "asked for"]).good();
    assert!(erased.contains("old versions in the bucket, until a rule of it removes them"), "{erased}");
    let files = sealed(&log)["lake_files"].as_u64().unwrap();
    assert_eq!(store.objects(".parquet").await.len() as u64, files);
    let (_, versions) = store.ask(Method::GET, &format!("?versions&prefix={}", store.prefix()), &[]).await;
    let kept = versions.matches("<Version>").count();
    assert!(kept as u64 > files && versions.contains("<DeleteMarker>"), "{versions}");
    server.stop();
    all_are_there_once(&log, &ids);
    assert_eq!(log.verify()["erased"], 3);
}
