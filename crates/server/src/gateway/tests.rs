//! Calls on a log whose disk fails: what becomes of their records, whoever is there to see it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use onrecord_capture::{Dialect, Limits};
use onrecord_ledger::disk::{Fault, FaultyDisk};
use onrecord_ledger::{Error, Ledger, Options};
use onrecord_proof::{Record, field};

use super::call::{Call, Failure, Outcome};
use super::{Gateway, OnLogFailure, Routes, Settings, Upstream, UpstreamSettings};
use crate::auth::Tokens;
use crate::config::ServerKind;

const BODY: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"Hello?"}]}"#;

/// A gateway on a log on `disk`, which is not written to unless there is a record.
fn gateway(disk: &FaultyDisk, max_queued_bytes: usize) -> Arc<Gateway> {
    let hour = Duration::from_hours(1);
    let options = Options { checkpoint_interval: hour, max_queued_bytes, ..Options::default() };
    let ledger = Ledger::open_on(Arc::new(disk.clone()), Path::new("/log"), &options).unwrap();
    let settings = Settings {
        limits: Limits { body: 1 << 20, keep_raw_stream: false },
        max_request_body: 1 << 20,
        max_header_size: 8192,
        max_in_flight: 1,
        response_timeout: hour,
        client_timeout: hour,
        shutdown_grace: hour,
        on_log_failure: OnLogFailure::Refuse,
        wait_for_commit: true,
    };
    let upstream = UpstreamSettings {
        name: "m".into(),
        url: "http://127.0.0.1:1".parse().unwrap(),
        key: None,
        kind: ServerKind::Auto,
        decisions: 0,
        models: Vec::new(),
        path_prefix: None,
    };
    let routes = Routes::new(vec![Upstream::new(0, upstream, hour).unwrap()]).unwrap();
    let tokens = Tokens::load(Path::new("/nowhere")).unwrap();
    Arc::new(Gateway::new(Arc::new(ledger), Arc::default(), Arc::new(tokens), settings, routes, Arc::default()))
}

/// A call whose request has come as far as `body`.
fn call(gateway: &Arc<Gateway>, body: &[u8]) -> Call {
    let mut call = Call::new(Arc::clone(gateway), Dialect::of("POST", "/v1/chat/completions"));
    call.reads(&HeaderMap::new());
    call.read(body);
    call
}

/// Whatever is written next fails, and so does everything that needs space.
fn fail(disk: &FaultyDisk) {
    disk.arm(0, Fault::NotDone);
    disk.set_full(true);
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited).await.expect("it never is so");
}

/// The only record of the log.
fn recorded(gateway: &Gateway) -> Record {
    let reader = gateway.ledger.reader();
    assert_eq!(reader.size(), 1);
    reader.read(0, 1, usize::MAX).unwrap().remove(0).record
}

#[track_caller]
fn has_its_body(record: &Record) {
    assert_eq!(record.text(&field::REQUEST_MODEL), Some("m"));
    assert_eq!(record.get(&field::INPUT_BODY).and_then(|body| body.as_bytes()), Some(BODY));
}

#[tokio::test]
async fn a_call_whose_beginning_was_refused_is_on_record_whole_once_the_log_recovers() {
    for is_known in [true, false] {
        let disk = FaultyDisk::new();
        let gateway = gateway(&disk, 1 << 20);
        let mut call = call(&gateway, BODY);
        call.requested();
        fail(&disk);
        call.begin().unwrap();
        if is_known {
            assert!(call.begun().await.unwrap().is_err());
        } else {
            until(|| !gateway.ledger.is_healthy()).await;
        }
        disk.set_full(false);
        let pending = call.end(&Outcome::Completed).unwrap().unwrap();
        call.committed(pending).await.unwrap();
        has_its_body(&recorded(&gateway));
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_is_on_record_whole_or_counted() {
    for recovers in [true, false] {
        let disk = FaultyDisk::new();
        let gateway = gateway(&disk, 1 << 20);
        let mut call = call(&gateway, BODY);
        call.requested();
        fail(&disk);
        call.begin().unwrap();
        until(|| !gateway.ledger.is_healthy()).await;
        disk.set_full(!recovers);
        drop(call);
        if recovers {
            until(|| gateway.ledger.reader().size() == 1).await;
            has_its_body(&recorded(&gateway));
        } else {
            until(|| gateway.counters.unrecorded_calls() == 1).await;
            disk.set_full(false);
            gateway.close_gap();
            until(|| gateway.ledger.reader().size() == 1).await;
            assert_eq!(recorded(&gateway).int(&field::GAP_CALLS), Some(1));
            gateway.close_gap();
        }
    }
}

#[tokio::test]
async fn a_call_without_a_beginning_finds_no_room_where_a_call_under_way_does() {
    let gateway = gateway(&FaultyDisk::new(), 0);
    let refused = Outcome::Rejected(Failure::new("unauthorized", "client", "no token"));
    let full = call(&gateway, b"").end(&refused).map(drop);
    assert!(matches!(full, Err(Error::Busy)), "{full:?}");
    let mut refused_by_the_log = call(&gateway, BODY);
    assert!(matches!(refused_by_the_log.begin(), Err(Error::Busy)));
    assert!(matches!(refused_by_the_log.end(&refused).map(drop), Err(Error::Busy)));
}

#[tokio::test]
async fn a_call_that_is_cut_off_was_not_left_by_its_client() {
    for (is_cut_off, outcome, kind) in
        [(false, "client_disconnected", "client_disconnected"), (true, "interrupted", "interrupted")]
    {
        let gateway = gateway(&FaultyDisk::new(), 1 << 20);
        if is_cut_off {
            gateway.cut_off();
        }
        drop(call(&gateway, BODY));
        until(|| gateway.ledger.reader().size() == 1).await;
        let record = recorded(&gateway);
        assert_eq!((record.text(&field::OUTCOME), record.text(&field::ERROR_TYPE)), (Some(outcome), Some(kind)));
    }
}

#[tokio::test]
async fn a_body_that_flows_up_is_on_record_as_far_as_it_came() {
    let gateway = gateway(&FaultyDisk::new(), 1 << 20);
    let (front, back) = BODY.split_at(20);
    let mut call = call(&gateway, front);
    let shared = call.share();
    shared.push(back);
    drop(call);
    shared.push(b"nobody records this any more");
    until(|| gateway.ledger.reader().size() == 1).await;
    has_its_body(&recorded(&gateway));
}
