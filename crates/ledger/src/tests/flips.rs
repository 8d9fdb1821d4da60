//! One flipped bit anywhere in a small log is noticed: the log does not open, or the check names it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use onrecord_proof::cosignature::Cosigner;

use super::Harness;
use crate::disk::Disk;
use crate::{Error, segment};

/// One bit of each byte, each time another one.
#[test]
fn a_flipped_bit_of_any_byte_is_noticed() {
    flip(|at| at as u32 % 8..at as u32 % 8 + 1);
}

#[test]
#[ignore = "takes minutes"]
fn every_flipped_bit_is_noticed() {
    flip(|_| 0..8);
}

fn flip(bits: impl Fn(usize) -> Range<u32>) {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    for call in 0..8 {
        harness.call(&ledger).unwrap();
        match call {
            2 | 6 => {
                let mut published = ledger.reader().checkpoint_now().unwrap().unwrap();
                published.note.signatures.push(witness().cosign(&published.note.text, 1_800_000_000));
                ledger.reader().keep_cosigned(published).unwrap();
            }
            4 => super::keys::rotate(&mut harness, &ledger).unwrap(),
            _ => {}
        }
    }
    ledger.close().unwrap();
    harness.check_disk(0);
    let disk: Arc<dyn Disk> = Arc::new(harness.disk.clone());
    let (mut flips, mut missed) = (0, Vec::new());
    for (path, len) in harness.disk.files() {
        let bytes = harness.disk.read(&path).unwrap();
        for (at, bit) in (0..len).flat_map(|at| bits(at).map(move |bit| (at, bit))) {
            harness.disk.flip_bit(&path, at, bit);
            let found = crate::check(&disk, &harness.dir, &mut |_, _| ());
            let noticed = found.as_ref().map_or(true, |checked| !checked.problems.is_empty());
            if !noticed && !harmless(&path, &bytes, at) {
                missed.push(format!("bit {bit} of byte {at} of {len} in {}", path.display()));
            }
            harness.disk.flip_bit(&path, at, bit);
            flips += 1;
        }
    }
    assert!(flips > 4000, "{flips} flips");
    assert!(missed.is_empty(), "{} flips were not noticed:\n{}", missed.len(), missed.join("\n"));
    harness.check_disk(0);
}

fn witness() -> Cosigner {
    Cosigner::from_seed("example.org/witness", &[7; 32]).unwrap()
}

/// The newline at the end of the key files may be another white space. The lines of witnesses are looked at by those who
/// know them.
fn harmless(path: &Path, bytes: &[u8], at: usize) -> bool {
    if path.parent().is_some_and(|folder| folder.ends_with("cosigned")) {
        // The sixth line: origin, size, root, an empty line, the log's own signature; then the witness's, and an empty line.
        return bytes[..at].split(|byte| *byte == b'\n').count() % 7 == 6 && bytes[at] != b'\n';
    }
    at + 1 == bytes.len() && (path.ends_with("key") || path.ends_with("key.pub"))
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
