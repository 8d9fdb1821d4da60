//! `kill -9` under load: what a client was given in full is on record, once; what was begun has an end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::json;

use crate::support::http::{open, request};
use crate::support::{Log, Reply, chat, upstream};

const ROUNDS: u64 = 50;
const CLIENTS: usize = 16;

/// What a client knows about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// All of the answer.
    Whole,
    /// Its head, and maybe more.
    Begun,
}

/// What all clients know: of each record's id how far its answer came.
type Known = Arc<Mutex<HashMap<String, Seen>>>;

/// A model that answers in some milliseconds: whole, or as a stream of a few tokens.
async fn quick() -> SocketAddr {
    use axum::response::IntoResponse as _;
    let answer = async |body: String| {
        tokio::time::sleep(Duration::from_millis(2)).await;
        if !body.contains("\"stream\":true") {
            return ([("content-type", "application/json")], upstream::completion("Yes.")).into_response();
        }
        let events = ["One", " two", " three"].map(upstream::event).into_iter().chain(["data: [DONE]\n\n".to_owned()]);
        let events = futures::stream::iter(events).then(async |event| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, Infallible>(event)
        });
        ([("content-type", "text/event-stream")], axum::body::Body::from_stream(events)).into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Calls until the server is gone.
async fn client(gateway: SocketAddr, number: usize, killed: Arc<AtomicBool>, known: Known) {
    for call in 0.. {
        let stream = (number + call).is_multiple_of(2);
        let body = chat("How many?", json!({ "stream": stream }));
        let Ok(response) = open(request(gateway, &[], body)).await else { return };
        let id = response.headers()["x-onrecord-id"].to_str().unwrap().to_owned();
        let ok = response.status().is_success();
        known.lock().unwrap().insert(id.clone(), Seen::Begun);
        let reply = Reply::read(response).await;
        assert!(ok || killed.load(Ordering::SeqCst), "{reply:?}");
        if reply.whole && ok {
            assert!(!stream || reply.text().ends_with("data: [DONE]\n\n"), "{reply:?}");
            known.lock().unwrap().insert(id, Seen::Whole);
        }
        if killed.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Calls a server for a moment, then kills it in the middle.
async fn round(log: &Log, upstream: &str, number: u64, known: &Known) {
    let server = log.serve(upstream);
    assert!(!server.messages().contains("panicked"), "{}", server.messages());
    let killed = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client_number| {
            tokio::spawn(client(server.gateway, client_number, Arc::clone(&killed), Arc::clone(known)))
        })
        .collect();
    // Other moments of the group commit, of the checkpoint and of the sealer each time.
    tokio::time::sleep(Duration::from_millis(100 + number * 37 % 300)).await;
    killed.store(true, Ordering::SeqCst);
    server.kill();
    for client in clients {
        client.await.unwrap();
    }
}

/// What the log says about every call: leaf index and outcome of each id.
fn recorded(log: &Log, from: u64) -> Vec<(String, u64, String)> {
    let sql =
        format!("SELECT id, leaf_index, outcome FROM interactions WHERE leaf_index >= {from} ORDER BY leaf_index");
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let rows = log.query(&sql);
    rows.iter().map(|row| (text(row, "id"), row["leaf_index"].as_u64().unwrap(), text(row, "outcome"))).collect()
}

/// Compares what the clients know of the calls since `from` with the log; gives the next leaf index.
fn check(log: &Log, from: u64, known: &Known, all: &mut HashMap<String, String>) -> u64 {
    let mut next = from;
    for (id, leaf, outcome) in recorded(log, from) {
        next = next.max(leaf + 1);
        let ended = ["completed", "interrupted", "client_disconnected"].contains(&outcome.as_str());
        assert!(ended, "{id} at leaf {leaf}: {outcome}");
        assert_eq!(all.insert(id.clone(), outcome), None, "{id} is on record twice, again at leaf {leaf}");
    }
    for (id, seen) in known.lock().unwrap().drain() {
        let outcome = all.get(&id).unwrap_or_else(|| panic!("{id} is not on record, of which a client saw {seen:?}"));
        assert!(seen == Seen::Begun || outcome == "completed", "{id} was received in full and is {outcome}");
    }
    next
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_that_was_answered() {
    let log = Log::with_config("[lake]\nseal_after = \"1s\"\nquery_rows = 1000000\n");
    let (upstream, known) = (format!("http://{}", quick().await), Known::default());
    let (mut from, mut all) = (0, HashMap::new());
    for number in 0..ROUNDS {
        round(&log, &upstream, number, &known).await;
        from = check(&log, from, &known, &mut all);
    }
    let count = |outcome: &str| all.values().filter(|o| *o == outcome).count();
    eprintln!("{} completed, {} interrupted", count("completed"), count("interrupted"));
    assert!(count("completed") > 100 && count("interrupted") > 10, "the kills did not hit running calls");
    let report = log.verify();
    assert_eq!(report["problems"], json!([]));
    // Nor do two leaves of any kind share an id.
    let sql = "SELECT count(*) AS leaves, count(DISTINCT id) AS ids, max(leaf_index) + 1 AS size FROM records";
    let row = log.query(sql).remove(0);
    assert_eq!((&row["leaves"], &row["leaves"]), (&row["ids"], &row["size"]), "{row}");
}
