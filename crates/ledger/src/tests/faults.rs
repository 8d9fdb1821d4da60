//! The fault table: each file operation in turn fails in each way, then the machine crashes, then recovery runs, itself
//! with a fault or without. After that every acknowledged record must be there.

use super::Harness;
use crate::disk::Fault;
use crate::{Error, Ledger};

const FAULTS: [Fault; 3] = [Fault::NotDone, Fault::Done, Fault::Half];

/// Opening, calls over several segments, checkpoints, closing. Errors are what the fault brought; what was acknowledged
/// before and after it counts. Calls that need a segment of their own come between small ones, so that after a failed
/// attempt to create one there still is room for the next calls in the one before.
fn workload(harness: &mut Harness) -> Result<(), Error> {
    let ledger = harness.open()?;
    for call in 0..12 {
        drop(if call % 3 == 1 { harness.large_call(&ledger) } else { harness.call(&ledger) });
        if call % 5 == 4 {
            drop(ledger.reader().checkpoint_now());
        }
    }
    ledger.close()
}

fn recover(harness: &Harness) -> Ledger {
    harness.open().unwrap_or_else(|e| panic!("no recovery: {e}"))
}

/// Runs the workload with the fault at `step`. False when the workload has fewer steps.
fn one(step: u64, fault: Fault, second: Option<(u64, Fault)>, seed: u64) -> bool {
    let mut harness = Harness::new();
    harness.disk.arm(step, fault);
    drop(workload(&mut harness));
    let reached = !harness.disk.is_armed();
    harness.disk.crash(seed);
    if let Some((step, fault)) = second {
        harness.disk.arm(step, fault);
        drop(harness.open());
        harness.disk.crash(seed.wrapping_mul(31));
    }
    let ledger = recover(&harness);
    harness.check(&ledger);
    harness.call(&ledger).expect("a healthy log takes calls");
    harness.check(&ledger);
    drop(ledger);
    let ledger = recover(&harness);
    assert_eq!(ledger.interrupted(), 0, "the last run closed every call");
    harness.check(&ledger);
    reached
}

#[test]
fn every_operation_fails_in_every_way() {
    for fault in FAULTS {
        let steps = (0..10_000).take_while(|step| one(*step, fault, None, step.wrapping_mul(7919))).count();
        assert!(steps > 40, "{fault:?}: {steps} steps");
    }
}

#[test]
fn recovery_fails_too() {
    for fault in FAULTS {
        for step in (3..60).step_by(7) {
            for second in 0..12 {
                one(step, fault, Some((second, fault)), step * 1000 + second);
            }
        }
    }
}

#[test]
fn a_crash_at_any_moment_loses_nothing_acknowledged() {
    for seed in 0..200 {
        let mut harness = Harness::new();
        let ledger = harness.open().unwrap();
        for _ in 0..seed % 17 {
            harness.call(&ledger).unwrap();
        }
        let mut open = harness.record();
        harness.begun.push(open.id);
        ledger.begin(&mut open).unwrap().wait().unwrap();
        harness.crash(seed);
        let ledger = recover(&harness);
        assert_eq!(ledger.interrupted(), 1);
        harness.check(&ledger);
    }
}

/// A head that reached the disk although its write failed cuts off what is written behind it in the segment before.
#[test]
fn nothing_is_written_to_a_segment_after_a_failed_attempt_to_leave_it() {
    for fault in FAULTS {
        for step in 0..6 {
            let mut harness = Harness::new();
            let ledger = harness.open().unwrap();
            harness.call(&ledger).unwrap();
            harness.disk.arm(step, fault);
            drop(harness.large_call(&ledger));
            harness.call(&ledger).unwrap();
            harness.call(&ledger).unwrap();
            harness.crash(step);
            harness.check(&recover(&harness));
        }
    }
}

#[test]
fn a_full_disk_refuses_calls_and_resumes_without_a_restart() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    harness.call(&ledger).unwrap();
    harness.disk.set_full(true);
    let refused = (0..40).map(|_| harness.call(&ledger)).find_map(Result::err);
    assert!(matches!(refused, Some(Error::Unavailable(_))), "{refused:?}");
    harness.disk.set_full(false);
    harness.call(&ledger).unwrap();
    harness.check(&ledger);
}

/// Nothing but what is sent comes, so nothing else finds out that there is space again.
#[test]
fn a_full_disk_refuses_what_is_sent_and_takes_it_once_there_is_space() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    harness.disk.set_full(true);
    let mut add = || {
        let record = harness.record();
        let receipt = ledger.add(&record)?.wait()?;
        harness.acknowledged.push((record, receipt));
        Ok(())
    };
    let refused: Option<Error> = (0..200).map(|_| add()).find_map(Result::err);
    assert!(matches!(refused, Some(Error::Unavailable(_))) && !ledger.is_healthy(), "{refused:?}");
    assert!(matches!(add(), Err(Error::Unavailable(_))));
    harness.disk.set_full(false);
    // The first that succeeds is answered before the log is known to be healthy.
    for _ in 0..2 {
        let record = harness.record();
        let receipt = ledger.add(&record).unwrap().wait().unwrap();
        harness.acknowledged.push((record, receipt));
    }
    assert!(ledger.is_healthy());
    harness.check(&ledger);
}

#[test]
fn a_record_whose_write_failed_waits_for_the_next_segment() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    let mut record = harness.record();
    ledger.begin(&mut record).unwrap().wait().unwrap();
    harness.disk.set_full(true);
    harness.disk.arm(0, Fault::Half);
    let pending = ledger.append(&record).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    harness.disk.set_full(false);
    let receipt = pending.wait().unwrap();
    harness.acknowledged.push((record, receipt));
    harness.check(&ledger);
}
