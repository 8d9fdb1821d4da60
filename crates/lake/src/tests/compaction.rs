//! Small data files become large ones, and nothing is lost whatever happens on the way.

use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use futures::TryStreamExt;
use onrecord_proof::field;

use super::Fixture;
use super::records::calls;
use crate::seal::Step;
use crate::storage::files;
use crate::{CompactPolicy, Compactor, QueryLimits};

/// A lake of four data files of 100 rows, and 30 hot rows.
async fn four_files() -> Fixture {
    let fixture = Fixture::new(calls(430)).await;
    while fixture.lake.seal().await.unwrap().is_some_and(|seal| seal.until < 400) {}
    fixture
}

fn data_files(fixture: &Fixture) -> Vec<String> {
    let all = files(&fixture.lake.table()).unwrap();
    all.into_iter().filter(|path| path.contains(".parquet") && path.starts_with("commit_date")).collect()
}

/// Everything is there once, in order, and every file is as it was written.
async fn check(fixture: &Fixture, when: &str) {
    assert_eq!(fixture.all().await, calls(430), "{when}");
    let counted = fixture.query("SELECT count(*), count(DISTINCT id), sum(leaf_index) FROM records").await;
    assert_eq!(counted, [format!("430|430|{}", 429 * 430 / 2)], "{when}");
    assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), [], "{when}");
}

#[tokio::test]
async fn small_files_become_one_and_the_old_ones_go() {
    let mut fixture = four_files().await;
    let before = fixture.lake.stats();
    let done = fixture.lake.compact().await.unwrap().unwrap();
    assert_eq!((done.files, done.from, done.until, done.bytes_before), (4, 0, 400, before.bytes));
    let stats = fixture.lake.stats();
    assert_eq!((stats.files, stats.rows, stats.bytes, stats.cursor), (1, 400, done.bytes, 400));
    assert_eq!(data_files(&fixture).len(), 1, "{:?}", data_files(&fixture));
    assert_eq!(fixture.lake.compact().await.unwrap(), None);
    check(&fixture, "after").await;
    fixture.reopen().await;
    check(&fixture, "after a restart").await;
    fixture.lake.seal().await.unwrap().unwrap();
    fixture.lake.compact().await.unwrap().unwrap();
    assert_eq!(data_files(&fixture).len(), 1, "a large file is put together with what came after it");
    check(&fixture, "at the end").await;
}

#[tokio::test]
async fn nothing_is_lost_whatever_step_a_compaction_came_to() {
    for step in [Step::DataFile, Step::Commit, Step::Sidecar] {
        for reopen in [true, false] {
            let when = format!("{step:?}, {reopen}");
            let mut fixture = four_files().await;
            *fixture.lake.inner.crash_after.lock().unwrap() = Some(step);
            fixture.lake.compact().await.unwrap_err();
            *fixture.lake.inner.crash_after.lock().unwrap() = None;
            if reopen {
                fixture.reopen().await;
                let left = if step == Step::DataFile { 4 } else { 1 };
                assert_eq!(data_files(&fixture).len(), left, "{when}");
            }
            check(&fixture, &when).await;
            fixture.lake.compact().await.unwrap();
            fixture.lake.seal().await.unwrap().unwrap();
            check(&fixture, &when).await;
            fixture.reopen().await;
            check(&fixture, &when).await;
            assert_eq!(data_files(&fixture).len(), fixture.lake.stats().files, "{when}");
        }
    }
}

#[tokio::test]
async fn what_a_failed_attempt_left_is_not_the_file_of_the_next_one() {
    let fixture = Fixture::new(calls(430)).await;
    fixture.lake.seal().await.unwrap().unwrap();
    let reader = fixture.lake.inner.versions.current();
    while fixture.lake.seal().await.unwrap().is_some_and(|seal| seal.until < 400) {}
    *fixture.lake.inner.crash_after.lock().unwrap() = Some(Step::DataFile);
    fixture.lake.compact().await.unwrap_err();
    *fixture.lake.inner.crash_after.lock().unwrap() = None;
    fixture.lake.compact().await.unwrap().unwrap();
    assert_eq!(data_files(&fixture).len(), 6, "the reader keeps all that was there");
    drop(reader);
    assert_eq!(fixture.lake.remove_unread().await.unwrap(), 0);
    assert_eq!(data_files(&fixture).len(), 1);
    check(&fixture, "after").await;
}

#[tokio::test]
async fn rows_that_are_not_what_the_tree_says_are_not_written_again() {
    let mut fixture = four_files().await;
    let before = data_files(&fixture);
    fixture.log.change(250, |row| row.record.set(&field::OUTPUT_TEXT, "another answer"));
    let refused = fixture.lake.compact().await.unwrap_err().to_string();
    assert!(refused.contains("leaf 250 is not what the tree says"), "{refused}");
    assert_eq!(data_files(&fixture), before);
    fixture.reopen().await;
    assert_eq!(fixture.all().await, calls(430));
    assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), []);
}

#[tokio::test]
async fn whoever_reads_keeps_the_old_files() {
    let fixture = four_files().await;
    let mut walk = fixture.lake.records(0..430);
    let mut found = vec![walk.try_next().await.unwrap().unwrap()];
    let query = fixture.lake.query("SELECT leaf_index FROM records WHERE leaf_index < 400", QueryLimits::default());
    let query = query.await.unwrap();
    fixture.lake.compact().await.unwrap().unwrap();
    assert_eq!(data_files(&fixture).len(), 5, "four are read");
    check(&fixture, "while others read").await;
    found.extend(walk.try_collect::<Vec<_>>().await.unwrap());
    assert_eq!(found, calls(430));
    let rows: usize = query.try_collect::<Vec<_>>().await.unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 400);
    // The query's task ends a moment after its last row.
    while fixture.lake.remove_unread().await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(data_files(&fixture).len(), 1);
    check(&fixture, "at the end").await;
}

#[tokio::test]
async fn files_are_left_alone_while_one_of_the_table_is_missing() {
    let mut fixture = four_files().await;
    *fixture.lake.inner.crash_after.lock().unwrap() = Some(Step::DataFile);
    fixture.lake.compact().await.unwrap_err();
    let whole = data_files(&fixture);
    assert_eq!(whole.len(), 5);
    let lost = whole.iter().find(|path| path.ends_with("0100-00000000000000000200.parquet")).unwrap();
    std::fs::remove_file(fixture.lake.table().join(lost)).unwrap();
    fixture.reopen().await;
    assert_eq!(data_files(&fixture).len(), 4, "the new file may hold what the missing one had");
}

#[tokio::test]
async fn the_compactor_gives_way_to_calls_and_goes_on() {
    let fixture = four_files().await;
    fixture.log.set_under_way(3);
    let compactor = Compactor::start(fixture.lake.clone(), CompactPolicy { every: Duration::from_millis(5) }).unwrap();
    while fixture.lake.stats().files > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    compactor.stop();
    check(&fixture, "in the background").await;
}
