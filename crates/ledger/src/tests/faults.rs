//! The fault table: each file operation in turn fails in each way, then the machine crashes, then recovery runs, itself
//! with a fault or without. After that every acknowledged record must be there.
//!
//! A case that fails prints itself; `ONRECORD_FAULT` set to what it prints runs that case alone. `ONRECORD_SEED` set to a
//! number has the crashes keep other writes.

use std::fmt;

use super::Harness;
use crate::disk::Fault;
use crate::{Error, Ledger};

const FAULTS: [Fault; 4] = [Fault::NotDone, Fault::Done, Fault::Half, Fault::Full];

/// Opening, calls over several segments, checkpoints, what a follower has taken over let go of with its segments, closing.
/// Errors are what the fault brought; what was acknowledged before and after it counts. Calls that need a segment of
/// their own come between small ones, so that after a failed attempt to create one there still is room for the next calls
/// in the one before.
fn workload(harness: &mut Harness) -> Result<(), Error> {
    let ledger = harness.open()?;
    for call in 0..12 {
        drop(if call % 3 == 1 { harness.large_call(&ledger) } else { harness.call(&ledger) });
        if call % 5 == 4 {
            drop(ledger.reader().checkpoint_now());
        }
        if call % 4 == 3 {
            drop(harness.hand_over(&ledger));
        }
    }
    ledger.close()
}

fn recover(harness: &Harness) -> Ledger {
    harness.open().unwrap_or_else(|e| panic!("no recovery: {e}"))
}

/// Segments that could not be removed go the next time, the oldest first, so that a start never finds a gap.
#[test]
fn a_segment_that_cannot_be_removed_leaves_no_gap() {
    for (step, fault) in [(0, Fault::NotDone), (0, Fault::Done), (1, Fault::NotDone), (2, Fault::Done)] {
        let mut harness = Harness::new();
        let ledger = harness.open().unwrap();
        (0..6).for_each(|_| harness.large_call(&ledger).unwrap());
        let reader = ledger.reader();
        harness.sealed = reader.read(0, reader.size(), usize::MAX).unwrap();
        reader.release(reader.size());
        reader.checkpoint_now().unwrap();
        harness.disk.arm(step, fault);
        assert!(reader.publisher.trim().is_err(), "{step} {fault:?}");
        harness.check(&ledger);
        let mut crashed = harness.clone();
        crashed.crash(1);
        crashed.check(&recover(&crashed));
        (0..3).for_each(|_| harness.large_call(&ledger).unwrap());
        harness.hand_over(&ledger).unwrap();
        harness.check(&ledger);
        let names = crate::disk::Disk::list(&harness.disk, &harness.path("segments")).unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        harness.crash(1);
        harness.check(&recover(&harness));
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
struct Case {
    first: (u64, Fault),
    /// What fails in the recovery.
    second: Option<(u64, Fault)>,
    seed: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (step, fault) = self.first;
        write!(f, "{step}:{fault:?}:{}", self.seed)?;
        self.second.map_or(Ok(()), |(step, fault)| write!(f, ":{step}:{fault:?}"))
    }
}

impl Case {
    fn new(first: (u64, Fault), second: Option<(u64, Fault)>) -> Self {
        let varied = std::env::var("ONRECORD_SEED").ok().and_then(|seed| seed.parse::<u64>().ok()).unwrap_or(7919);
        Self { first, second, seed: varied.wrapping_mul(first.0 * 1000 + second.map_or(0, |(step, _)| step) + 1) }
    }

    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<_> = text.split(':').collect();
        if !matches!(parts.len(), 3 | 5) {
            return None;
        }
        let at = |step: &str, fault: &str| {
            Some((step.parse().ok()?, FAULTS.into_iter().find(|known| format!("{known:?}") == fault)?))
        };
        let second = if parts.len() == 5 { Some(at(parts[3], parts[4])?) } else { None };
        Some(Self { first: at(parts[0], parts[1])?, second, seed: parts.get(2)?.parse().ok()? })
    }

    /// Runs the workload with the fault, the crash and the recovery. False when the workload has fewer steps.
    fn run(self) -> bool {
        let _told = Told(self);
        let mut harness = Harness::new();
        harness.disk.seed(self.seed);
        harness.disk.arm(self.first.0, self.first.1);
        drop(workload(&mut harness));
        let reached = !harness.disk.is_armed();
        harness.disk.crash(self.seed);
        if let Some((step, fault)) = self.second {
            harness.disk.arm(step, fault);
            drop(harness.open());
            harness.disk.crash(self.seed.wrapping_mul(31));
        }
        let ledger = recover(&harness);
        harness.check(&ledger);
        harness.call(&ledger).expect("a healthy log takes calls");
        harness.check(&ledger);
        harness.hand_over(&ledger).expect("a healthy log lets go of what was taken over");
        harness.check(&ledger);
        drop(ledger);
        let ledger = recover(&harness);
        assert_eq!(ledger.interrupted(), 0, "the last run closed every call");
        harness.check(&ledger);
        reached
    }
}

/// Says which case it was that failed.
struct Told(Case);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case that failed: ONRECORD_FAULT={}", self.0);
        }
    }
}

#[test]
fn every_operation_fails_in_every_way() {
    if let Ok(case) = std::env::var("ONRECORD_FAULT") {
        Case::parse(&case).expect("STEP:FAULT:SEED[:STEP:FAULT]").run();
        return;
    }
    for fault in FAULTS {
        let steps = (0..10_000).take_while(|step| Case::new((*step, fault), None).run()).count();
        assert!(steps > 90, "{fault:?}: {steps} steps");
    }
}

#[test]
fn recovery_fails_too() {
    let mut cases = 0;
    for (at, step) in (0..110).step_by(3).enumerate() {
        for second in 0..24 {
            // Each fault meets each other one, at some of the steps.
            let (first, fault) = (FAULTS[at % 4], FAULTS[(at / 4 + second as usize) % 4]);
            Case::new((step, first), Some((second, fault))).run();
            cases += 1;
        }
    }
    eprintln!("{cases} cases");
}

#[test]
fn a_case_is_run_again_by_its_name() {
    let case = Case::new((7, Fault::Half), Some((3, Fault::Full)));
    let again = Case::parse(&case.to_string()).unwrap();
    assert_eq!(case.to_string(), again.to_string());
    assert!(Case::parse("7").is_none());
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
    // A full disk refuses the calls that follow.
    for fault in [Fault::NotDone, Fault::Done, Fault::Half] {
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
