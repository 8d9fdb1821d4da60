//! The table in a bucket: a folder that is read and written as an object store here. What holds of a real one, over HTTP
//! and with its failures, is tested with the program.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use url::Url;

use super::log::TestLog;
use super::records::calls;
use super::{Fixture, LakeOptions};
use crate::log::Log;
use crate::seal::Step;
use crate::storage::files;
use crate::{Error, Lake, LeafSet};
use onrecord_proof::{Group, GroupSet};
use uuid::Uuid;

async fn open(folder: &Path, store: Option<&str>, log: &TestLog) -> Result<Lake, Error> {
    let store = store.map(|store| Url::parse(store).unwrap());
    let index = Some(folder.join("index"));
    let options = LakeOptions { threads: 2, file_rows: 100, index, store, ..LakeOptions::default() };
    Lake::open(&folder.join("lake"), Arc::new(log.clone()), options).await
}

fn url(folder: &TempDir) -> String {
    format!("file://{}/bucket/audit/log", folder.path().display())
}

async fn fixture(records: Vec<onrecord_ledger::Committed>) -> Fixture {
    let (folder, log) = (tempfile::tempdir().unwrap(), TestLog::new(records));
    let lake = open(folder.path(), Some(&url(&folder)), &log).await.unwrap();
    Fixture { folder, log, lake }
}

#[tokio::test]
async fn every_record_is_there_once_whatever_step_came_last() {
    for step in [Step::DataFile, Step::Commit, Step::Sidecar] {
        for reopen in [true, false] {
            let mut fixture = fixture(calls(250)).await;
            fixture.lake.seal().await.unwrap();
            *fixture.lake.inner.crash_after.lock().unwrap() = Some(step);
            fixture.lake.seal().await.unwrap_err();
            assert_eq!(fixture.log.first(), 100, "{step:?}: nothing is released that may not be sealed");
            *fixture.lake.inner.crash_after.lock().unwrap() = None;
            if reopen {
                // The note in the folder says where the table is.
                fixture.lake = open(fixture.folder.path(), None, &fixture.log).await.unwrap();
            }
            assert_eq!(fixture.all().await, calls(250), "{step:?}");
            while fixture.lake.seal().await.unwrap().is_some() {}
            assert_eq!(fixture.all().await, calls(250), "{step:?}");
            assert_eq!(fixture.query("SELECT count(*), count(DISTINCT leaf_index) FROM records").await, ["250|250"]);
            assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), [], "{step:?}");
            assert_eq!(fixture.check_folder().await, [], "{step:?}");
            assert_eq!(fixture.log.first(), 250);
            let local = files(&fixture.folder.path().join("lake")).unwrap();
            assert_eq!(local, ["store"], "nothing but the note is in the folder");
        }
    }
}

#[tokio::test]
async fn a_seal_that_fails_leaves_no_draft() {
    let fixture = fixture(calls(100)).await;
    fixture.log.change(90, |row| row.index = 7);
    let failed = fixture.lake.seal().await.unwrap_err().to_string();
    assert!(failed.contains("are not in order"), "{failed}");
    assert_eq!(files(&fixture.folder.path().join("lake")).unwrap(), ["store"]);
}

#[tokio::test]
async fn a_checkpoint_is_written_and_read_and_listed() {
    let mut fixture = fixture(Vec::new()).await;
    for index in 0..66 {
        fixture.log.append([super::records::call(index)]);
        fixture.lake.seal().await.unwrap().unwrap();
    }
    let log = files(&fixture.lake.table().join("_delta_log")).unwrap();
    assert!(log.contains(&"00000000000000000064.checkpoint.parquet".to_owned()), "{log:?}");
    assert!(!log.contains(&"_last_checkpoint".to_owned()), "{log:?}");
    fixture.lake = open(fixture.folder.path(), None, &fixture.log).await.unwrap();
    assert_eq!(fixture.all().await, calls(66));
    assert_eq!(fixture.check_folder().await, []);
}

#[tokio::test]
async fn compaction_and_erasure_remove_what_they_replace() {
    let fixture = fixture(calls(250)).await;
    while fixture.lake.seal().await.unwrap().is_some() {}
    let data = || files(&fixture.lake.table()).unwrap().iter().filter(|path| path.ends_with(".parquet")).count();
    assert_eq!(data(), 3);
    let leaves: LeafSet = [3].into_iter().collect();
    let groups: GroupSet = [Group::Input].into_iter().collect();
    fixture.lake.erase(&leaves, groups, Uuid::nil()).await.unwrap();
    assert_eq!(data(), 3);
    assert_eq!(fixture.check_folder().await, []);
}

#[tokio::test]
async fn one_flipped_bit_in_the_bucket_is_named() {
    let fixture = fixture(calls(100)).await;
    fixture.lake.seal().await.unwrap();
    let table = fixture.lake.table();
    for path in files(&table).unwrap() {
        let place = table.join(&path);
        let bytes = std::fs::read(&place).unwrap();
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 4;
        std::fs::write(&place, &changed).unwrap();
        let problems = fixture.check_folder().await;
        assert!(problems.iter().any(|problem| problem.path == path), "{path}: {problems:?}");
        std::fs::write(&place, &bytes).unwrap();
    }
}

#[tokio::test]
async fn a_log_has_its_records_in_one_place() {
    let fixture = fixture(calls(100)).await;
    fixture.lake.seal().await.unwrap();
    let folder = fixture.folder.path();
    let refused = open(folder, Some("file:///elsewhere"), &fixture.log).await.unwrap_err().to_string();
    assert!(refused.contains("are in file:///") && refused.contains("not in file:///elsewhere"), "{refused}");
    open(folder, Some(&format!("{}/", url(&fixture.folder))), &fixture.log).await.unwrap();

    let local = tempfile::tempdir().unwrap();
    drop(open(local.path(), None, &fixture.log).await);
    let refused = open(local.path(), Some("file:///elsewhere"), &fixture.log).await.unwrap_err().to_string();
    assert!(refused.contains("are in this folder, not in file:///elsewhere"), "{refused}");

    // Another log, whose records would stand among those that are there.
    let other = tempfile::tempdir().unwrap();
    let rolled_back = open(other.path(), Some(&url(&fixture.folder)), &TestLog::new(calls(50))).await.unwrap_err();
    assert!(matches!(rolled_back, Error::Rollback { .. }), "{rolled_back}");
    assert!(!other.path().join("lake/store").exists());
}

/// Two programs with the same log, of which each believes that it is the only one: a data folder that was copied.
#[tokio::test]
async fn of_two_writers_one_commits() {
    let fixture = fixture(calls(100)).await;
    let folder = tempfile::tempdir().unwrap();
    let log = TestLog::new(calls(100));
    let other = open(folder.path(), Some(&url(&fixture.folder)), &log).await.unwrap();
    fixture.lake.seal().await.unwrap().unwrap();
    let refused = other.seal().await.unwrap_err();
    assert_eq!(log.first(), 0, "{refused}: it keeps its segments");
    assert_eq!(other.seal().await.unwrap(), None, "it has seen since that they are sealed");
    assert_eq!(fixture.query("SELECT count(*), count(DISTINCT leaf_index) FROM records").await, ["100|100"]);
    assert_eq!(fixture.check_folder().await, []);
}
