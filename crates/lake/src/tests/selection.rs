//! Which records a condition means: what a join would say, without what a join keeps in memory.

use std::sync::Arc;

use onrecord_ledger::Committed;
use onrecord_proof::{Group, GroupSet, Kind, Record, field};
use uuid::Uuid;

use super::records::call;
use super::{Fixture, LakeOptions};
use crate::{Error, Lake, LeafSet, QueryLimits};

const KEPT: &str = "kind IN ('disposal', 'system', 'gap', 'heartbeat')";
const COPY: &str = "(kind = 'alert' OR (kind = 'step' AND onrecord_source = 'probe'))";

/// Calls, and records about those and others before them.
fn row(index: u64) -> Committed {
    let call = call(index);
    let of = |kind, subject: u64, source: &str| {
        let mut record = Record::new(call.record.id, kind, call.record.captured_at, [7; 32]);
        record.set(&field::SOURCE, source);
        record.set(&field::SUBJECT, super::records::call(subject).record.id.to_string());
        record.set(&field::OUTPUT_TEXT, "what was said, once more");
        Committed { record, ..call.clone() }
    };
    match index % 10 {
        4 => of(Kind::Step, index - 4, "probe"),
        5 => of(Kind::Step, index - 4, "otlp"),
        6 => of(Kind::Alert, index - 4, "alerts"),
        // About the step of the probe.
        7 => of(Kind::Alert, index - 3, "alerts"),
        8 => of(Kind::System, index - 8, "system"),
        // About what is never erased.
        9 => of(Kind::Alert, index - 1, "alerts"),
        _ => call,
    }
}

/// Sealed rows, of which some were erased, and hot ones.
async fn fixture() -> Fixture {
    let fixture = Fixture::with_files_of((0..3000).map(row).collect(), 700).await;
    while fixture.lake.seal().await.unwrap().is_some_and(|seal| seal.until < 2800) {}
    fixture.lake.erase(&(100..300).collect(), output(), Uuid::nil()).await.unwrap();
    fixture
}

fn output() -> GroupSet {
    [Group::Output].into_iter().collect()
}

/// What is `wanted` of what a condition means, as one statement says it.
fn joins(table: &str, condition: &str, wanted: &str) -> String {
    let meant = match table {
        "records" => format!("({condition})"),
        view => format!("id IN (SELECT id FROM {view} WHERE {condition})"),
    };
    let of = |rows: &str| {
        format!("({COPY} AND {wanted} AND onrecord_subject IN (SELECT id FROM records WHERE NOT {KEPT} AND {rows}))")
    };
    let (copies, their_copies) = (of(&meant), of(&of(&meant)));
    format!("SELECT leaf_index FROM records WHERE {wanted} AND ({meant} OR {copies} OR {their_copies})")
}

async fn by_joins(fixture: &Fixture, table: &str, condition: &str, wanted: &str) -> LeafSet {
    let leaves = fixture.query(&joins(table, condition, wanted)).await;
    leaves.iter().map(|leaf| leaf.parse::<u64>().unwrap()).collect()
}

#[tokio::test]
async fn a_selection_is_what_joins_would_say() {
    let fixture = fixture().await;
    let open = format!("(NOT {KEPT} AND output_extra IS NOT NULL)");
    let except: LeafSet = (1000..1100).collect();
    for (table, condition) in [
        ("interactions", "session = 'session-31'"),
        ("interactions", "leaf_index % 20 = 0"),
        ("interactions", "session IN (SELECT session FROM sessions WHERE calls = 4)"),
        ("steps", "source = 'probe' AND leaf_index > 200"),
        ("alerts", "true"),
        ("events", "true"),
        ("records", "kind = 'system'"),
        ("records", "leaf_index < 150 OR leaf_index >= 2990"),
        ("records", "true"),
    ] {
        let any = by_joins(&fixture, table, condition, "true").await;
        assert_eq!(fixture.lake.select_any(table, condition).await.unwrap(), any, "{table}: {condition}");
        let all = by_joins(&fixture, table, condition, &open).await;
        let selection = fixture.lake.select(table, condition, output(), &except).await.unwrap();
        assert_eq!(selection.leaves, all.without(&except), "{table}: {condition}");
        assert_eq!(selection.excepted, all.and(&except).len(), "{table}: {condition}");
        assert_eq!(selection.ids.len() as u64, selection.leaves.len().min(64), "{table}: {condition}");
    }
}

#[tokio::test]
async fn what_is_on_record_of_a_record_goes_with_it() {
    let fixture = fixture().await;
    for (call, with_it) in [(500, "500,504,507"), (501, "501"), (502, "502,506"), (2902, "2902,2906")] {
        let condition = format!("id = '{}'", super::records::call(call).record.id);
        let selection = fixture.lake.select("interactions", &condition, output(), &LeafSet::default()).await.unwrap();
        assert_eq!(selection.leaves.to_string(), with_it);
        let ids: Vec<_> = selection.leaves.ranges().iter().cloned().flatten().map(|leaf| row(leaf).record.id).collect();
        assert_eq!(selection.ids, ids);
        assert_eq!(fixture.lake.select_any("interactions", &condition).await.unwrap(), selection.leaves);
    }
}

#[tokio::test]
async fn a_selection_takes_less_memory_than_joins() {
    let mut fixture = fixture().await;
    let (index, query_memory) = (Some(fixture.folder.path().join("index")), 400_000);
    let options = LakeOptions { threads: 2, index, query_memory, ..LakeOptions::default() };
    let log = Arc::new(fixture.log.clone());
    fixture.lake = Lake::open(&fixture.folder.path().join("lake"), log, options).await.unwrap();
    let selection = fixture.lake.select("interactions", "true", output(), &LeafSet::default()).await.unwrap();
    assert!(selection.leaves.len() > 1000, "{}", selection.leaves);
    let limits = QueryLimits { memory_bytes: query_memory, ..QueryLimits::default() };
    let joined = fixture.try_query(&joins("interactions", "true", "true"), limits).await;
    assert!(matches!(joined, Err(Error::QueryMemory { .. })), "{joined:?}");
    // What the condition itself takes is limited.
    let heavy = fixture.lake.select_any("interactions", "input IN (SELECT input FROM interactions)").await;
    assert!(matches!(heavy, Err(Error::QueryMemory { .. })), "{heavy:?}");
}

#[tokio::test]
async fn what_has_rows_of_many_records_is_not_selected_from() {
    let fixture = fixture().await;
    for view in ["sessions", "tokens", "nothing"] {
        let refused = fixture.lake.select(view, "true", output(), &LeafSet::default()).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Query(text) if text.contains("there are records, interactions")),
            "{refused}"
        );
    }
}
