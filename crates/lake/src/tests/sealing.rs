//! Sealing, and reading back what is sealed or hot.

use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use futures::TryStreamExt;

use super::Fixture;
use super::records::{NOON, call, calls};
use crate::{Seal, SealPolicy, Sealer};

#[tokio::test]
async fn what_is_sealed_comes_back_in_order_with_what_is_hot() {
    let mut fixture = Fixture::new(calls(250)).await;
    for (from, until, version) in [(0, 100, 1), (100, 200, 2)] {
        let seal = fixture.lake.seal().await.unwrap().unwrap();
        assert_eq!(seal, Seal { from, until, bytes: seal.bytes, version });
    }
    assert_eq!(fixture.all().await, calls(250));
    fixture.reopen().await;
    assert_eq!(fixture.all().await, calls(250));
    let stats = fixture.lake.stats();
    assert_eq!((stats.files, stats.rows, stats.cursor, stats.hot_rows, stats.version), (2, 200, 200, 50, 2));
    assert!(fixture.lake.seal().await.unwrap().is_some());
    assert!(fixture.lake.seal().await.unwrap().is_none());
}

#[tokio::test]
async fn any_part_of_the_log_can_be_read() {
    let fixture = Fixture::new(calls(230)).await;
    while fixture.lake.seal().await.unwrap().is_some_and(|seal| seal.until < 200) {}
    for (from, until) in [(0, 1), (99, 101), (50, 205), (199, 201), (210, 500), (5, 5), (230, 231)] {
        let found: Vec<_> = fixture.lake.records(from..until).try_collect().await.unwrap();
        assert_eq!(found, calls(230.min(until)).split_off(from as usize), "{from}..{until}");
    }
    for index in [0, 99, 100, 199, 200, 229] {
        let record = call(index);
        assert_eq!(fixture.lake.get(index).await.unwrap().as_ref(), Some(&record));
        assert_eq!(fixture.lake.find(record.record.id).await.unwrap(), Some(record));
    }
    assert_eq!(fixture.lake.get(230).await.unwrap(), None);
    assert_eq!(fixture.lake.find(call(230).record.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_data_file_is_of_one_day() {
    let mut records = calls(30);
    records[10].committed_at = NOON + 86_400_000_000;
    let fixture = Fixture::new(records.clone()).await;
    let mut ends = Vec::new();
    while let Some(seal) = fixture.lake.seal().await.unwrap() {
        ends.push(seal.until);
    }
    assert_eq!(ends, [10, 11, 30]);
    assert_eq!(fixture.all().await, records);
    let days = fixture.query("SELECT commit_date, count(*) FROM records GROUP BY 1 ORDER BY 1").await;
    assert_eq!(days, ["2025-11-23|29", "2025-11-24|1"]);
}

#[tokio::test]
async fn a_running_walk_goes_on_where_rows_are_sealed_under_it() {
    let fixture = Fixture::new(calls(300)).await;
    let mut walk = fixture.lake.records(0..300);
    let mut found = vec![walk.try_next().await.unwrap().unwrap()];
    while fixture.lake.seal().await.unwrap().is_some() {}
    found.extend(walk.try_collect::<Vec<_>>().await.unwrap());
    assert_eq!(found, calls(300));
}

#[tokio::test]
async fn the_log_keeps_what_a_running_query_reads() {
    let fixture = Fixture::new(calls(300)).await;
    let limits = crate::QueryLimits::default();
    let query = fixture.lake.query("SELECT leaf_index FROM records", limits).await.unwrap();
    while fixture.lake.seal().await.unwrap().is_some() {}
    assert_eq!(crate::log::Log::first(&fixture.log), 0);
    let batches: Vec<_> = query.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 300);
    fixture.lake.seal().await.unwrap();
    assert_eq!(crate::log::Log::first(&fixture.log), 300);
}

#[tokio::test]
async fn the_sealer_seals_what_is_due() {
    let fixture = Fixture::new(calls(120)).await;
    let every = Duration::from_millis(5);
    let policy = SealPolicy { rows: 100, bytes: u64::MAX, age: Duration::MAX, every };
    let sealer = Sealer::start(fixture.lake.clone(), policy).unwrap();
    while fixture.lake.stats().cursor < 100 {
        tokio::time::sleep(every).await;
    }
    sealer.stop();
    assert_eq!(fixture.lake.stats().hot_rows, 20, "too few and too young");
    let old = Sealer::start(fixture.lake.clone(), SealPolicy { age: Duration::from_secs(1), ..policy }).unwrap();
    while fixture.lake.stats().hot_rows > 0 {
        tokio::time::sleep(every).await;
    }
    drop(old);
    assert_eq!(fixture.all().await, calls(120));
}

#[tokio::test]
async fn a_sealer_that_is_told_to_stop_between_two_files_stops() {
    let fixture = Fixture::new(calls(350)).await;
    let policy = SealPolicy { rows: 1, every: Duration::from_millis(1), ..SealPolicy::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stopping = async {
        while fixture.lake.stats().cursor == 0 {
            tokio::task::yield_now().await;
        }
        drop(stop);
    };
    tokio::join!(crate::sealer::work(&fixture.lake, policy, stopped), stopping);
    assert!(fixture.lake.stats().cursor < 350);
}

#[tokio::test]
async fn records_are_looked_at_in_order() {
    // Several parts of leaves, sealed and hot.
    let fixture = Fixture::with_files_of(calls(100), 30).await;
    loop {
        for leaves in [0..100, 7..63, 16..48, 99..100, 50..50] {
            let seen = fixture.lake.look_at(leaves.clone(), |committed| (committed.index, committed.record.id));
            let expected: Vec<_> = leaves.map(|leaf| (leaf, call(leaf).record.id)).collect();
            assert_eq!(seen.try_collect::<Vec<_>>().await.unwrap(), expected);
        }
        if fixture.lake.seal().await.unwrap().is_none() {
            break;
        }
    }
}
