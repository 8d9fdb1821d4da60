//! Key rotation, and what a failure in the middle of it leaves.

use std::sync::Arc;

use onrecord_proof::note::Signer;
use onrecord_proof::{Kind, Record};
use uuid::Uuid;

use super::Harness;
use crate::disk::{Disk, Fault};
use crate::{Error, Ledger, Options};

pub(super) fn rotate(harness: &mut Harness, ledger: &Ledger) -> Result<(), Error> {
    let id = Uuid::from_u128(harness.next);
    harness.next += 1;
    ledger.rotate_key(|_| Record::new(id, Kind::System, 1, [1; 32])).map(drop)
}

#[test]
fn a_log_goes_on_under_its_new_key_and_the_old_one_still_counts() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    harness.call(&ledger).unwrap();
    let old = ledger.reader().checkpoint_now().unwrap().unwrap();
    for rotations in 1..=2 {
        rotate(&mut harness, &ledger).unwrap();
        harness.call(&ledger).unwrap();
        harness.check(&ledger);
        assert_eq!(ledger.reader().keys().rotations().len(), rotations);
    }
    let keys = ledger.reader().keys();
    assert_eq!(keys.open(&old.note).unwrap(), old.checkpoint);
    ledger.close().unwrap();
    assert_eq!(keys.rotations()[0].size(), 2, "the old key signs the record that names the new one");
    let again = harness.open().unwrap();
    assert_eq!(again.reader().keys(), keys);
    harness.call(&again).unwrap();
    harness.check(&again);
}

#[test]
fn a_public_key_that_is_gone_or_damaged_is_made_again_from_what_signs() {
    let mut harness = Harness::new();
    let disk: Arc<dyn Disk> = Arc::new(harness.disk.clone());
    let ledger = harness.open().unwrap();
    harness.call(&ledger).unwrap();
    let (public, secret) = (harness.path("key.pub"), harness.path("key"));
    let restore = |harness: &Harness| crate::restore_public_key(&disk, &harness.dir);
    for rotations in 0..2 {
        if rotations > 0 {
            rotate(&mut harness, &ledger).unwrap();
        }
        ledger.reader().checkpoint_now().unwrap();
        let good = disk.read(&public).unwrap();
        assert!(!restore(&harness).unwrap(), "it is good");
        harness.disk.flip(&public, 20);
        assert!(restore(&harness).unwrap());
        assert_eq!(disk.read(&public).unwrap(), good);
        disk.remove(&public).unwrap();
        assert!(restore(&harness).unwrap());
        assert_eq!(disk.read(&public).unwrap(), good);
        harness.check(&ledger);
    }
    // A key that has not signed the log is not its key.
    disk.remove(&harness.path("key.history")).unwrap();
    disk.remove(&public).unwrap();
    let stranger = Signer::from_seed("test/log", &[9; 32]).unwrap();
    disk.replace(&secret, stranger.to_secret_text().as_bytes(), 0o600).unwrap();
    assert!(restore(&harness).is_err());
    assert!(disk.read(&public).is_err());
}

#[test]
fn a_rotation_that_fails_anywhere_leaves_one_key_or_the_other_and_can_be_made_again() {
    for fault in [Fault::NotDone, Fault::Done, Fault::Half] {
        for step in 0.. {
            let mut harness = Harness::new();
            let ledger = harness.open().unwrap();
            harness.call(&ledger).unwrap();
            harness.disk.arm(step, fault);
            let rotated = rotate(&mut harness, &ledger);
            let met = !harness.disk.is_armed();
            // Whatever it came to, calls go on being recorded.
            harness.call(&ledger).unwrap();
            std::mem::forget(ledger);
            harness.crash(step);
            let ledger = harness.open().unwrap_or_else(|e| panic!("{fault:?} at {step}: {e}"));
            let rotations = ledger.reader().keys().rotations().len();
            assert!(rotations == 1 || (rotations == 0 && rotated.is_err()), "{fault:?} at {step}");
            harness.call(&ledger).unwrap();
            harness.check(&ledger);
            rotate(&mut harness, &ledger).unwrap();
            harness.check(&ledger);
            ledger.close().unwrap();
            let names: Vec<_> = harness.disk.files().into_iter().map(|(path, _)| path).collect();
            assert!(!names.contains(&harness.path("key.next")), "{fault:?} at {step}");
            if !met {
                break;
            }
        }
    }
}

#[test]
fn a_key_that_is_held_elsewhere_signs_and_must_be_the_logs() {
    let harness = Harness::new();
    let disk = || -> Arc<dyn Disk> { Arc::new(harness.disk.clone()) };
    let with = |seed: u8, name: &str| {
        let key = Signer::from_seed(name, &[seed; 32]).unwrap();
        Options { origin: None, key: Some(Arc::new(key)), ..Harness::options() }
    };
    let ledger = Ledger::open_on(disk(), &harness.dir, &with(7, "held/log")).unwrap();
    assert_eq!(ledger.reader().origin(), "held/log");
    ledger.append(&Record::new(Uuid::nil(), Kind::Step, 1, [1; 32])).unwrap().wait().unwrap();
    assert!(ledger.rotate_key(|_| unreachable!()).unwrap_err().to_string().contains("held elsewhere"));
    ledger.close().unwrap();
    assert!(!harness.disk.files().iter().any(|(path, _)| *path == harness.path("key")));
    harness.check_disk(0);
    for other in [with(8, "held/log"), with(7, "other/log")] {
        let refused = Ledger::open_on(disk(), &harness.dir, &other).unwrap_err();
        assert!(matches!(refused, Error::OtherKey { .. }), "{refused}");
    }
    drop(Ledger::open_on(disk(), &harness.dir, &with(7, "held/log")).unwrap());
}
