//! Crashes between the steps of a seal, and lakes that do not fit their log.

use onrecord_proof::field;

use super::log::TestLog;
use super::records::calls;
use super::{Fixture, open};
use crate::Error;
use crate::log::Log;
use crate::seal::Step;
use crate::wide::Wide;

fn crash(fixture: &Fixture, step: Option<Step>) {
    *fixture.lake.inner.crash_after.lock().unwrap() = step;
}

#[tokio::test]
async fn every_record_is_there_once_whatever_step_a_seal_came_to() {
    for step in [Step::DataFile, Step::Commit, Step::Sidecar] {
        for reopen in [true, false] {
            let mut fixture = Fixture::new(calls(250)).await;
            fixture.lake.seal().await.unwrap();
            crash(&fixture, Some(step));
            fixture.lake.seal().await.unwrap_err();
            assert_eq!(fixture.log.first(), 100, "{step:?}: nothing is released that may not be sealed");
            crash(&fixture, None);
            if reopen {
                fixture.reopen().await;
                let sealed = if step == Step::DataFile { 100 } else { 200 };
                assert_eq!(fixture.lake.stats().cursor, sealed, "{step:?}");
            }
            assert_eq!(fixture.all().await, calls(250), "{step:?}");
            while fixture.lake.seal().await.unwrap().is_some() {}
            assert_eq!(fixture.all().await, calls(250), "{step:?}");
            assert_eq!(fixture.query("SELECT count(*), count(DISTINCT leaf_index) FROM records").await, ["250|250"]);
            assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), [], "{step:?}");
            assert_eq!(fixture.log.first(), 250);
        }
    }
}

#[tokio::test]
async fn a_torn_checkpoint_and_unfinished_files_are_removed() {
    let mut fixture = Fixture::new(calls(100)).await;
    fixture.lake.seal().await.unwrap();
    let table = fixture.lake.table();
    for name in ["00000000000000000007.checkpoint.parquet", "00000000000000000002.json.tmp", "_last_checkpoint"] {
        std::fs::write(table.join("_delta_log").join(name), "torn").unwrap();
    }
    std::fs::write(table.join("_onrecord/00000000000000000002.sha256.tmp"), "torn").unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), []);
}

#[tokio::test]
async fn a_checkpoint_is_written_and_listed_and_read() {
    let mut fixture = Fixture::new(Vec::new()).await;
    let mut records = calls(66);
    records[3].record.set(&field::INPUT_BODY, vec![b'x'; 5000]);
    for record in &records {
        fixture.log.append([record.clone()]);
        fixture.lake.seal().await.unwrap().unwrap();
    }
    let wide = |fixture: &Fixture| fixture.lake.inner.versions.current().files[3].wide.clone();
    let noted = wide(&fixture);
    assert_ne!(noted, Wide::default());
    let checkpoint = fixture.lake.table().join("_delta_log/00000000000000000064.checkpoint.parquet");
    assert!(checkpoint.exists());
    assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), []);
    std::fs::remove_file(fixture.lake.table().join("_delta_log/00000000000000000003.json")).unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.all().await, records);
    assert_eq!(wide(&fixture), noted);
    assert_eq!(fixture.query("SELECT count(*) FROM records WHERE leaf_index IN (3, 65)").await, ["2"]);
}

#[tokio::test]
async fn a_log_that_was_rolled_back_is_refused() {
    let fixture = Fixture::new(calls(100)).await;
    fixture.lake.seal().await.unwrap();
    fixture.log.truncate(60);
    let refused = open(&fixture.folder, &fixture.log).await.unwrap_err();
    assert!(matches!(refused, Error::Rollback { cursor: 100, size: 60, .. }), "{refused}");
}

#[tokio::test]
async fn a_lake_that_was_rolled_back_is_refused_and_left_alone() {
    let fixture = Fixture::new(calls(150)).await;
    fixture.lake.seal().await.unwrap();
    let log = TestLog::new(calls(150));
    log.release(120);
    let refused = open(&fixture.folder, &log).await.unwrap_err();
    assert!(matches!(refused, Error::Hole { cursor: 100, first: 120, .. }), "{refused}");
    let data = crate::storage::files(&fixture.lake.table()).unwrap();
    assert_eq!(data.iter().filter(|path| path.ends_with(".parquet")).count(), 1);
}
