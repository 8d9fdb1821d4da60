//! One flipped bit anywhere in a small log is noticed: the log does not open, or the check names it.

use std::sync::Arc;

use super::Harness;
use crate::disk::Disk;
use crate::{Error, segment};

#[test]
fn every_flipped_bit_is_noticed() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    for call in 0..8 {
        harness.call(&ledger).unwrap();
        if call == 4 {
            ledger.reader().checkpoint_now().unwrap();
        }
    }
    ledger.close().unwrap();
    harness.check_disk(0);
    let disk: Arc<dyn Disk> = Arc::new(harness.disk.clone());
    let mut flips = 0;
    for (path, len) in harness.disk.files() {
        for at in 0..len {
            harness.disk.flip(&path, at);
            let found = crate::check(&disk, &harness.dir, &mut |_, _| ());
            let noticed = found.as_ref().map_or(true, |checked| !checked.problems.is_empty());
            assert!(noticed || harmless(&path, at, len), "byte {at} of {len} in {}", path.display());
            harness.disk.flip(&path, at);
            flips += 1;
        }
    }
    assert!(flips > 3000, "{flips} flips");
    harness.check_disk(0);
}

/// White space at the end of the key files.
fn harmless(path: &std::path::Path, at: usize, len: usize) -> bool {
    at + 1 == len && (path.ends_with("key") || path.ends_with("key.pub"))
}

#[test]
fn a_log_put_back_to_an_older_state_does_not_open() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    harness.call(&ledger).unwrap();
    ledger.close().unwrap();
    let older: Vec<_> = harness.disk.list(&harness.path("segments")).unwrap();
    let ledger = harness.open().unwrap();
    (0..20).for_each(|_| harness.call(&ledger).unwrap());
    ledger.close().unwrap();
    for name in harness.disk.list(&harness.path("segments")).unwrap() {
        if !older.contains(&name) {
            harness.disk.remove(&harness.path("segments").join(name)).unwrap();
        }
    }
    let refused = harness.open().map(drop).unwrap_err();
    assert!(refused.to_string().contains("a checkpoint over 21 leaves"), "{refused}");
}

#[test]
fn a_damaged_head_never_costs_the_segments_before_it() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    (0..20).for_each(|_| harness.call(&ledger).unwrap());
    ledger.close().unwrap();
    // Two segments at the end that hold nothing but their heads.
    harness.open().unwrap().close().unwrap();
    harness.open().unwrap().close().unwrap();
    let segments = |harness: &Harness| harness.disk.list(&harness.path("segments")).unwrap();
    let before = segments(&harness);
    for name in &before[..before.len() - 1] {
        let path = harness.path("segments").join(name);
        harness.disk.flip(&path, 20);
        let refused = harness.open().map(drop).unwrap_err();
        assert!(refused.to_string().contains(name.as_str()), "{refused}");
        assert_eq!(segments(&harness), before, "nothing is removed");
        harness.disk.flip(&path, 20);
    }
    let ledger = harness.open().unwrap();
    harness.check(&ledger);
}

/// Nothing can be read of a segment whose mark is not known. It must not be taken for one that was never used.
#[test]
fn a_damaged_head_of_the_newest_segment_does_not_cost_its_records() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    (0..2).for_each(|_| harness.call(&ledger).unwrap());
    harness.crash(1);
    let [name] = &harness.disk.list(&harness.path("segments")).unwrap()[..] else { panic!("one segment") };
    let path = harness.path("segments").join(name);
    for at in 0..segment::HEAD {
        harness.disk.flip(&path, at);
        let before = harness.disk.read(&path).unwrap();
        let refused = harness.open().map(drop).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "byte {at}: {refused}");
        assert_eq!(harness.disk.read(&path).unwrap(), before, "nothing is changed");
        harness.disk.flip(&path, at);
    }
    harness.check(&harness.open().unwrap());
}

#[test]
fn a_missing_segment_never_costs_the_ones_before_it() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    (0..20).for_each(|_| harness.call(&ledger).unwrap());
    ledger.close().unwrap();
    let names = harness.disk.list(&harness.path("segments")).unwrap();
    harness.disk.remove(&harness.path("segments").join(&names[names.len() / 2])).unwrap();
    let before = harness.disk.list(&harness.path("segments")).unwrap();
    assert!(harness.open().is_err());
    assert_eq!(harness.disk.list(&harness.path("segments")).unwrap(), before);
}
