//! Erasure: gone from every file, and the leaves stay what they were.

use std::path::Path;
use std::time::Duration;

use onrecord_proof::{Group, GroupSet, GroupState};
use uuid::Uuid;

use super::Fixture;
use super::records::{call, calls};
use crate::log::Log;
use crate::seal::Step;
use crate::storage::files;
use crate::{LeafSet, QueryLimits};

const DISPOSAL: Uuid = Uuid::from_u128(77);

fn payload() -> GroupSet {
    [Group::Input, Group::Output].into_iter().collect()
}

/// A lake of three files of 100 rows and 50 hot rows.
async fn fixture() -> Fixture {
    let fixture = Fixture::new(calls(350)).await;
    while fixture.lake.seal().await.unwrap().is_some_and(|seal| seal.until < 300) {}
    fixture
}

/// What the table takes on the disk.
fn bytes(root: &Path) -> u64 {
    files(root).unwrap().iter().map(|path| root.join(path).metadata().unwrap().len()).sum()
}

async fn check(fixture: &Fixture, erased: &LeafSet, when: &str) {
    for row in fixture.all().await {
        let before = call(row.index);
        assert_eq!(row.leaf(), before.leaf(), "{when}");
        if erased.contains(row.index) {
            let gone = |group| {
                row.record.groups().any(|(have, state)| {
                    have == group && matches!(state, GroupState::Erased { disposal, .. } if *disposal == DISPOSAL)
                })
            };
            assert!(gone(Group::Input) && gone(Group::Output), "{when}: leaf {}", row.index);
            assert_eq!(row.record.salts().get(Group::Input), None);
            assert_eq!(row.record.group(Group::Context), before.record.group(Group::Context));
        } else {
            assert_eq!(row, before, "{when}");
        }
    }
    let found = fixture.query("SELECT count(*) FROM records WHERE onrecord_output_text IS NULL").await;
    assert_eq!(found, [erased.len().to_string()], "{when}");
    assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), [], "{when}");
    let stats = fixture.lake.stats();
    let data = files(&fixture.lake.table()).unwrap().iter().filter(|path| path.starts_with("commit_date")).count();
    assert_eq!(data, stats.files, "{when}: no other file is left");
}

#[tokio::test]
async fn what_is_erased_is_gone_from_sealed_and_hot_rows() {
    let mut fixture = fixture().await;
    let selected = fixture
        .lake
        .select("interactions", "session IN ('session-3', 'session-45')", payload(), &LeafSet::default())
        .await
        .unwrap();
    assert_eq!((selected.leaves.to_string().as_str(), selected.ids.len()), ("21-27,315-321", 14));
    assert_eq!(selected.ids[0], call(21).record.id);
    let done = fixture.lake.erase(&selected.leaves, payload(), DISPOSAL).await.unwrap();
    assert_eq!((done.records, done.files), (14, 2));
    assert_eq!(fixture.log.first(), 350, "the segments of what was hot can go");
    check(&fixture, &selected.leaves, "at once").await;
    fixture.reopen().await;
    check(&fixture, &selected.leaves, "after a restart").await;
    let again = fixture.lake.erase(&selected.leaves, payload(), Uuid::nil()).await.unwrap();
    assert_eq!((again.records, again.files), (0, 0), "what is erased stays as it is");
    assert!(
        fixture
            .lake
            .select("records", "leaf_index = 22", payload(), &LeafSet::default())
            .await
            .unwrap()
            .leaves
            .is_empty()
    );
    while fixture.lake.compact().await.unwrap().is_some() {}
    assert_eq!(fixture.lake.stats().files, 1);
    check(&fixture, &selected.leaves, "put together").await;
}

#[tokio::test]
async fn space_is_freed_and_no_file_holds_what_is_gone() {
    let mut records = calls(100);
    for row in &mut records {
        let noise: Vec<u8> = (0..20_000_u64).map(|n| ((n * n * (row.index + 7)) >> 7) as u8).collect();
        row.record.set(&onrecord_proof::field::INPUT_BODY, noise);
    }
    let fixture = Fixture::new(records).await;
    fixture.lake.seal().await.unwrap();
    let before = bytes(&fixture.lake.table());
    let all: LeafSet = (0..100).collect();
    fixture.lake.erase(&all, payload(), DISPOSAL).await.unwrap();
    let after = bytes(&fixture.lake.table());
    // What stays is mostly the table's schema and the footer of a file with this many columns.
    assert!(before > 900_000 && after < 200_000, "{before} bytes before, {after} after");
}

#[tokio::test]
async fn an_erasure_that_was_cut_off_is_done_again() {
    let leaves: LeafSet = (90..230).collect();
    for step in [Step::DataFile, Step::Commit, Step::Sidecar] {
        for reopen in [true, false] {
            let when = format!("{step:?}, {reopen}");
            let mut fixture = fixture().await;
            *fixture.lake.inner.crash_after.lock().unwrap() = Some(step);
            fixture.lake.erase(&leaves, payload(), DISPOSAL).await.unwrap_err();
            *fixture.lake.inner.crash_after.lock().unwrap() = None;
            if reopen {
                fixture.reopen().await;
            }
            fixture.lake.erase(&leaves, payload(), DISPOSAL).await.unwrap();
            check(&fixture, &leaves, &when).await;
            fixture.reopen().await;
            check(&fixture, &leaves, &when).await;
        }
    }
}

#[tokio::test]
async fn an_erasure_waits_for_whoever_reads_the_old_files() {
    let fixture = fixture().await;
    let leaves: LeafSet = (0..100).collect();
    let query = fixture.lake.query("SELECT onrecord_output_text FROM records", QueryLimits::default()).await.unwrap();
    let erase = fixture.lake.erase(&leaves, payload(), DISPOSAL);
    let waited = tokio::time::timeout(Duration::from_millis(300), erase).await;
    assert!(waited.is_err(), "a query still reads what was erased");
    drop(query);
    fixture.lake.erase(&leaves, payload(), DISPOSAL).await.unwrap();
    check(&fixture, &leaves, "afterwards").await;
}

#[tokio::test]
async fn a_condition_is_a_condition_and_nothing_else() {
    let fixture = fixture().await;
    for bad in ["", "true) OR (true", "true; DROP TABLE records", "true UNION SELECT 1", "no_such_column = 1"] {
        let refused = fixture.lake.select("interactions", bad, payload(), &LeafSet::default()).await;
        assert!(matches!(refused, Err(crate::Error::Query(_))), "{bad}: {refused:?}");
    }
    let commented =
        fixture.lake.select("interactions", "leaf_index < 3 -- three", payload(), &LeafSet::default()).await.unwrap();
    assert_eq!(commented.leaves.len(), 3);
    assert!(fixture.lake.select("nothing", "true", payload(), &LeafSet::default()).await.is_err());
}
