//! A log on the real disk, from its creation to the release of its segments.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onrecord_proof::evidence::{Evidence, Proved};
use onrecord_proof::{Group, Kind, Record, field};
use uuid::Uuid;

use crate::disk::{Disk, RealDisk};
use crate::{Error, Ledger, Needles, Options};

fn record(n: u128) -> Record {
    let mut record = Record::new(Uuid::from_u128(n), Kind::Interaction, 5, [3; 32]);
    record.set(&field::INPUT_TEXT, "z".repeat(1000));
    record
}

fn open(dir: &Path) -> Result<Ledger, Error> {
    Ledger::open(
        dir,
        &Options { segment_size: 1 << 20, checkpoint_interval: Duration::from_millis(20), ..Options::default() },
    )
}

fn call(ledger: &Ledger, n: u128) -> u64 {
    let mut record = record(n);
    ledger.begin(&mut record).unwrap().wait().unwrap();
    record.set(&field::OUTCOME, "completed");
    ledger.append(&record).unwrap().wait().unwrap().index
}

fn calls(ledger: &Ledger, first: u128, count: u128) {
    for n in first..first + count {
        call(ledger, n);
    }
}

#[test]
fn what_does_not_hold_the_needles_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    for n in 0..100 {
        let mut record = record(n);
        record.set(&field::SESSION, format!("session-{}.", n % 10));
        ledger.begin(&mut record).unwrap().wait().unwrap();
        record.set(&field::OUTPUT_TEXT, format!("answer-{}. {}", n % 3, "y".repeat(n as usize * 50)));
        ledger.append(&record).unwrap().wait().unwrap();
    }
    let reader = ledger.reader();
    // One is in the intent, the other in the leaf.
    let needles = Needles::new([vec![b"session-7.".to_vec(), b"session-8.".to_vec()], vec![b"answer-1.".to_vec()]]);
    let expected: Vec<u64> = (0..100).filter(|n| [7, 8].contains(&(n % 10)) && n % 3 == 1).collect();
    let (mut found, mut next) = (Vec::new(), 0);
    while next < reader.size() {
        let (records, after) = reader.read_with(next, reader.size(), 3000, &needles).unwrap();
        assert!(after > next && records.iter().all(|record| (next..after).contains(&record.index)));
        found.extend(records.iter().map(|record| record.index));
        next = after;
    }
    assert_eq!((found, next), (expected, 100));
    let all = reader.read_with(0, 100, usize::MAX, &Needles::default()).unwrap();
    assert_eq!(all, (reader.read(0, 100, usize::MAX).unwrap(), 100));
}

#[test]
fn many_writers_get_one_order_and_proofs() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || calls(ledger, thread * 1000, 200));
        }
    });
    let reader = ledger.reader();
    assert_eq!((reader.size(), reader.open_calls()), (1600, 0));
    let published = reader.checkpoint_now().unwrap().unwrap();
    for index in [0, 1, 255, 256, 1599] {
        let committed = reader.read(index, index + 1, 0).unwrap().remove(0);
        let proof = reader.inclusion_proof(index, published.checkpoint.size).unwrap();
        let proved = Proved { index, committed_at: committed.committed_at, record: &committed.record, proof };
        let evidence = Evidence::new(&published.note, &[proved], [Group::Input].into_iter().collect());
        assert!(evidence.check(&reader.keys()).is_ok());
    }
}

#[test]
fn a_second_process_is_refused_with_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(&refused, Error::InUse { pid, .. } if *pid == std::process::id().to_string()), "{refused}");
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn the_key_is_its_owners_and_the_origin_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let origin = open(dir.path()).unwrap().reader().origin();
    let mode = std::fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(open(dir.path()).unwrap().reader().origin(), origin);
    let other = Options { origin: Some("another/log".into()), ..Options::default() };
    assert!(matches!(Ledger::open(dir.path(), &other), Err(Error::OtherOrigin { .. })));
    RealDisk.remove(&dir.path().join("log.json")).unwrap();
    assert!(matches!(open(dir.path()), Err(Error::Rollback { .. })), "half a copy must not get a new key");
}

#[test]
fn released_segments_go_and_their_space_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    calls(&ledger, 0, 2000);
    let segments = || std::fs::read_dir(dir.path().join("segments")).unwrap().count();
    assert!(segments() > 2);
    ledger.reader().release(2000);
    for _ in 0..200 {
        if segments() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(segments(), 1);
    assert!(matches!(ledger.reader().read(0, 1, 0), Err(Error::NotHere(0))));
    drop(ledger);
    let ledger = open(dir.path()).unwrap();
    assert_eq!(ledger.reader().size(), 2000);
    assert_eq!(call(&ledger, 5000), 2000);
    drop(ledger);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let checked = crate::check(&disk, dir.path(), &mut |_, _| ()).unwrap();
    assert_eq!((checked.problems, checked.committed), (vec![], 2001));
}

#[test]
fn a_record_larger_than_a_segment_gets_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let mut large = record(1);
    large.set(&field::OUTPUT_BODY, vec![7; 3 << 20]);
    let index = ledger.append(&large).unwrap().wait().unwrap().index;
    assert_eq!(ledger.reader().read(index, index + 1, 0).unwrap()[0].record, large);
}

/// A call that began in one segment and ended in a later one: once the lake has it, the first segment may go while the
/// second one is still needed.
#[test]
fn a_released_intent_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let mut long = record(1);
    ledger.begin(&mut long).unwrap().wait().unwrap();
    calls(&ledger, 10, 1500);
    long.set(&field::OUTCOME, "completed");
    let index = ledger.append(&long).unwrap().wait().unwrap().index;
    ledger.reader().checkpoint_now().unwrap();
    ledger.reader().release(index + 1);
    let segments = || std::fs::read_dir(dir.path().join("segments")).unwrap().count();
    for _ in 0..200 {
        if segments() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(segments(), 1);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let check = || crate::check(&disk, dir.path(), &mut |_, _| ()).unwrap();
    assert_eq!(check().problems, vec![]);
    calls(&ledger, 2000, 10);
    drop(ledger);
    assert_eq!(check().problems, vec![]);
    assert_eq!(open(dir.path()).unwrap().reader().size(), index + 11);
}

fn segments(dir: &Path) -> Vec<String> {
    RealDisk.list(&dir.join("segments")).unwrap()
}

#[test]
fn what_is_released_can_be_forgotten_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    calls(&ledger, 0, 20);
    let mut open_call = record(100);
    ledger.begin(&mut open_call).unwrap().wait().unwrap();
    let before = segments(dir.path());
    assert!(!ledger.forget(10).unwrap(), "nothing was released");
    ledger.reader().release(20);
    assert!(!ledger.forget(10).unwrap(), "a call that began among them is under way");
    assert!(segments(dir.path()).contains(&before[0]));
    open_call.set(&field::OUTCOME, "completed");
    assert_eq!(ledger.append(&open_call).unwrap().wait().unwrap().index, 20);
    assert!(!ledger.forget(10).unwrap(), "its record needs its beginning");
    ledger.reader().release(21);
    assert!(ledger.forget(10).unwrap());
    assert!(segments(dir.path()).iter().all(|name| !before.contains(name)), "{before:?}");
    let count = segments(dir.path()).len();
    assert!(ledger.forget(21).unwrap() && segments(dir.path()).len() == count, "nothing is left to forget");
    assert_eq!((ledger.reader().first(), ledger.reader().size()), (21, 21));
    assert_eq!(call(&ledger, 200), 21);
    drop(ledger);
    assert_eq!(open(dir.path()).unwrap().reader().size(), 22);
}
