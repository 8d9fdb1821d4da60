//! The files of the search indexes: built, put together, damaged, removed, and gone with what is erased.

use std::time::Duration;

use onrecord_ledger::Committed;
use onrecord_proof::{Group, GroupSet, field};
use uuid::Uuid;

use super::Fixture;
use super::records::{call, calls};
use super::search::{hits, indexed};
use crate::Indexer;
use crate::seal::Step;

/// The files of the indexes, in order.
pub(super) fn index_files(fixture: &Fixture) -> Vec<std::path::PathBuf> {
    let folder = std::fs::read_dir(fixture.folder.path().join("index")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_changed_index_is_found_out_and_built_again() {
    let fixture = indexed(calls(20)).await;
    let expected = hits(&fixture, "question AND 1* -\"answer 7\"").await;
    let [place] = &index_files(&fixture)[..] else { panic!("one index") };
    let good = std::fs::read(place).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 4;
        std::fs::write(place, &bad).unwrap();
        fixture.lake.inner.indexes.forget();
        assert_eq!(hits(&fixture, "question AND 1* -\"answer 7\"").await, expected, "byte {at}");
        assert_eq!(fixture.lake.find(call(7).record.id).await.unwrap(), Some(call(7)), "byte {at}");
    }
    for length in [0, 10, good.len() / 2, good.len() - 1] {
        std::fs::write(place, &good[..length]).unwrap();
        fixture.lake.inner.indexes.forget();
        assert_eq!(hits(&fixture, "question AND 1* -\"answer 7\"").await, expected, "{length} bytes");
        assert!(!place.exists(), "a torn index goes");
    }
    assert_eq!(fixture.lake.index().await.unwrap(), 1);
    assert!(std::fs::metadata(place).unwrap().len() > 0);
}

#[tokio::test]
async fn an_index_of_another_version_is_none_and_is_built_again() {
    let mut fixture = indexed(calls(250)).await;
    let expected = hits(&fixture, "\"question 3\"").await;
    let good: Vec<_> = index_files(&fixture).into_iter().map(|place| (std::fs::read(&place).unwrap(), place)).collect();
    for (bytes, place) in &good {
        let mut older = bytes.clone();
        older.splice(bytes.len() - 2.., *b"01");
        std::fs::write(place, older).unwrap();
    }
    fixture.reopen().await;
    let missing = fixture.lake.check_indexes().await.unwrap();
    assert!(missing.len() == 3 && missing.iter().all(|(_, damage)| damage.is_none()), "{missing:?}");
    assert_eq!(hits(&fixture, "\"question 3\"").await, expected);
    assert_eq!(fixture.lake.index().await.unwrap(), 3);
    assert!(good.iter().all(|(bytes, place)| std::fs::read(place).unwrap() == *bytes));
}

#[tokio::test]
async fn the_folder_can_be_removed_at_any_time() {
    let fixture = indexed(calls(250)).await;
    let expected = hits(&fixture, "\"question 3\"").await;
    assert!(expected.len() > 50);
    assert_eq!(index_files(&fixture).len(), 3);
    std::fs::remove_dir_all(fixture.folder.path().join("index")).unwrap();
    assert_eq!(hits(&fixture, "\"question 3\"").await, expected);
    assert_eq!(fixture.lake.index().await.unwrap(), 3);
    assert_eq!(hits(&fixture, "\"question 3\"").await, expected);
    assert_eq!(fixture.lake.check_files(|_| ()).await.unwrap(), []);
}

#[tokio::test]
async fn a_file_of_the_index_can_be_removed_and_what_is_of_no_data_file_goes() {
    let fixture = indexed(calls(250)).await;
    std::fs::remove_file(&index_files(&fixture)[0]).unwrap();
    for stray in ["of-a-file-that-was-replaced.parquet.search", "half-written.parquet.search.tmp"] {
        std::fs::write(fixture.folder.path().join("index").join(stray), "x").unwrap();
    }
    assert_eq!(fixture.lake.index().await.unwrap(), 1);
    assert_eq!(index_files(&fixture).len(), 3);
}

#[tokio::test]
async fn the_indexes_of_compacted_files_are_put_together() {
    let fixture = indexed(calls(400)).await;
    let queries = ["\"question 3\" -answer", "request:request-117 OR 399", "4* question"];
    let mut expected = Vec::new();
    for query in queries {
        expected.push(hits(&fixture, query).await);
    }
    let old = index_files(&fixture);
    fixture.lake.compact().await.unwrap().unwrap();
    let new = index_files(&fixture);
    assert!(new.len() == 1 && !old.contains(&new[0]), "{old:?} {new:?}");
    assert_eq!(fixture.lake.check_indexes().await.unwrap(), []);
    // As it is, then made of the rows.
    for round in 0..2 {
        assert_eq!(fixture.lake.index().await.unwrap(), round);
        for (query, expected) in queries.iter().zip(&expected) {
            assert_eq!(&hits(&fixture, query).await, expected, "{query}, {round}");
        }
        std::fs::remove_file(&new[0]).unwrap();
        fixture.lake.inner.indexes.forget();
    }
}

#[tokio::test]
async fn a_file_made_of_files_without_good_indexes_is_indexed_anew() {
    for damage in [false, true] {
        let fixture = indexed(calls(400)).await;
        let expected = hits(&fixture, "\"question 3\"").await;
        let one = &index_files(&fixture)[1];
        if damage {
            let mut bytes = std::fs::read(one).unwrap();
            bytes[200] ^= 4;
            std::fs::write(one, bytes).unwrap();
        } else {
            std::fs::remove_file(one).unwrap();
        }
        fixture.lake.inner.indexes.forget();
        fixture.lake.compact().await.unwrap().unwrap();
        assert_eq!(hits(&fixture, "\"question 3\"").await, expected);
        assert_eq!(fixture.lake.index().await.unwrap(), 1, "{damage}");
        assert_eq!(index_files(&fixture).len(), 1);
        assert_eq!(hits(&fixture, "\"question 3\"").await, expected);
    }
}

/// Calls of which one has a secret in question and answer, and one shares its question.
fn calls_with_a_secret() -> Vec<Committed> {
    let mut records = calls(250);
    for index in [33, 34] {
        records[index].record.set(&field::INPUT_TEXT, "the zyxwsecret of alice");
    }
    records[33].record.set(&field::OUTPUT_TEXT, "qkjsecret");
    records
}

/// Whether one of the files of the index has the bytes of the secret. Words are whole in the dictionary where the one
/// before begins with another letter.
fn indexes_hold_the_secret(fixture: &Fixture) -> bool {
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    let files = index_files(fixture).into_iter().map(|file| std::fs::read(file).unwrap());
    files.into_iter().any(|bytes| has(&bytes, "kjsecret"))
}

fn input_and_output() -> GroupSet {
    [Group::Input, Group::Output].into_iter().collect()
}

#[tokio::test]
async fn what_is_erased_is_in_no_index() {
    let fixture = indexed(calls_with_a_secret()).await;
    assert!(indexes_hold_the_secret(&fixture));
    assert_eq!(hits(&fixture, "zyxwsecret").await.len(), 2);
    let others = hits(&fixture, "\"question 3\" -zyxwsecret").await;
    let done = fixture.lake.erase(&(33..34).collect(), input_and_output(), Uuid::from_u128(1)).await.unwrap();
    assert_eq!(done.records, 1);
    assert_eq!(index_files(&fixture).len(), 2, "that of the file goes, the others stay");
    for when in ["at once", "indexed anew"] {
        assert!(!indexes_hold_the_secret(&fixture), "{when}");
        assert!(hits(&fixture, "qkjsecret").await.is_empty(), "{when}");
        let left: Vec<_> = hits(&fixture, "zyxwsecret").await.into_iter().map(|(leaf, _)| leaf).collect();
        assert_eq!(left, [34], "{when}");
        assert_eq!(hits(&fixture, "\"question 3\" -zyxwsecret").await, others, "{when}");
        assert_eq!(hits(&fixture, "request:request-33").await.len(), 1, "{when}: what was not erased is found");
        fixture.lake.index().await.unwrap();
    }
    assert_eq!(index_files(&fixture).len(), 3);
}

#[tokio::test]
async fn an_index_that_is_being_built_does_not_outlive_an_erasure() {
    let fixture = Fixture::new(calls_with_a_secret()).await;
    while fixture.lake.seal().await.unwrap().is_some() {}
    let path = fixture.lake.snapshot().sealed.files[0].path.to_string();
    let half = fixture.folder.path().join("index").join(format!("{}.search.tmp", path.rsplit('/').next().unwrap()));
    std::fs::create_dir_all(half.parent().unwrap()).unwrap();
    std::fs::write(&half, "qkjsecret").unwrap();
    fixture.lake.erase(&(33..34).collect(), input_and_output(), Uuid::from_u128(1)).await.unwrap();
    assert!(!half.exists(), "what a stopped indexer has left");

    // Both at the same time, the erasure at any moment of the indexing.
    for delay in (0..12).step_by(2) {
        let fixture = Fixture::with_files_of(calls_with_a_secret(), 250).await;
        while fixture.lake.seal().await.unwrap().is_some() {}
        let erasing = async {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            fixture.lake.erase(&(33..34).collect(), input_and_output(), Uuid::from_u128(1)).await.unwrap();
            assert!(!indexes_hold_the_secret(&fixture), "after {delay} ms");
        };
        let (indexed, ()) = tokio::join!(fixture.lake.index(), erasing);
        indexed.unwrap();
        fixture.lake.index().await.unwrap();
        assert!(index_files(&fixture).len() == 1 && !indexes_hold_the_secret(&fixture), "after {delay} ms");
    }
}

#[tokio::test]
async fn an_erasure_that_was_cut_off_leaves_no_index_behind() {
    for step in [Step::DataFile, Step::Commit, Step::Sidecar] {
        for reopen in [true, false] {
            let when = format!("{step:?}, {reopen}");
            let mut fixture = indexed(calls_with_a_secret()).await;
            *fixture.lake.inner.crash_after.lock().unwrap() = Some(step);
            let erase = async |fixture: &Fixture| {
                fixture.lake.erase(&(33..34).collect(), input_and_output(), Uuid::from_u128(1)).await
            };
            erase(&fixture).await.unwrap_err();
            *fixture.lake.inner.crash_after.lock().unwrap() = None;
            if reopen {
                fixture.reopen().await;
            }
            erase(&fixture).await.unwrap();
            assert!(!indexes_hold_the_secret(&fixture), "{when}");
            assert_eq!(hits(&fixture, "zyxwsecret OR qkjsecret").await.len(), 1, "{when}");
        }
    }
}

#[tokio::test]
async fn a_compaction_that_was_cut_off_leaves_no_index_behind() {
    for step in [Step::DataFile, Step::Commit, Step::Sidecar] {
        for reopen in [true, false] {
            let mut fixture = indexed(calls_with_a_secret()).await;
            *fixture.lake.inner.crash_after.lock().unwrap() = Some(step);
            fixture.lake.compact().await.unwrap_err();
            assert!(index_files(&fixture).len() > 3, "that of the new file is there, {step:?}");
            *fixture.lake.inner.crash_after.lock().unwrap() = None;
            if reopen {
                fixture.reopen().await;
            }
            fixture.lake.erase(&(33..34).collect(), input_and_output(), Uuid::from_u128(1)).await.unwrap();
            assert!(!indexes_hold_the_secret(&fixture), "{step:?}, {reopen}");
            assert_eq!(hits(&fixture, "zyxwsecret OR qkjsecret").await.len(), 1, "{step:?}, {reopen}");
        }
    }
}

#[tokio::test]
async fn the_indexer_indexes_what_is_sealed() {
    let fixture = Fixture::new(calls(120)).await;
    fixture.lake.seal().await.unwrap();
    let every = Duration::from_millis(5);
    let indexer = Indexer::start(fixture.lake.clone(), every).unwrap();
    while !fixture.folder.path().join("index").exists()
        || index_files(&fixture).iter().all(|file| file.extension().is_none_or(|e| e != "search"))
    {
        tokio::time::sleep(every).await;
    }
    indexer.stop();
    assert_eq!(hits(&fixture, "id:\"00000000-0000-0000-0000-000000000000\" OR request:request-77").await.len(), 1);
}
