//! The disk is full: the application does not notice, the log says what it lacks, and closing comes to an end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use onrecord_ledger::Ledger;
use onrecord_ledger::disk::FaultyDisk;
use onrecord_proof::field;
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::{Options, Recorder, Written};

/// More than the segment has room for, and more than may wait.
const SPANS: u64 = 5000;

fn recorder(disk: &FaultyDisk) -> Recorder {
    let ledger = onrecord_ledger::Options { segment_size: 16 << 10, ..onrecord_ledger::Options::default() };
    let log = Ledger::open_on(Arc::new(disk.clone()), Path::new("/log"), &ledger).unwrap();
    Recorder::start(log, Options { ledger, queue: 300, ..Options::default() }).unwrap()
}

fn work(recorder: &Recorder) {
    let subscriber = tracing_subscriber::registry().with(recorder.layer());
    tracing::subscriber::with_default(subscriber, || (0..SPANS).for_each(|n| drop(info_span!("step", n))));
}

#[test]
fn a_full_disk_leaves_a_gap_that_the_log_states() {
    let disk = FaultyDisk::new();
    let mut recorder = recorder(&disk);
    disk.set_full(true);
    work(&recorder);
    assert!(recorder.written().unstated > 0, "{:?}", recorder.written());
    disk.set_full(false);
    recorder.stop().unwrap();
    let Written { steps, dropped, unstated, open } = recorder.written();
    assert_eq!((steps + dropped, unstated, open), (SPANS, 0, 0));
    let reader = recorder.ledger().reader();
    let records = reader.read(0, reader.size(), 1 << 24).unwrap();
    let stated: i64 = records.iter().filter_map(|committed| committed.record.int(&field::GAP_CALLS)).sum();
    assert_eq!(stated.unsigned_abs(), dropped);
}

#[test]
fn closing_comes_to_an_end_on_a_disk_that_stays_full() {
    let disk = FaultyDisk::new();
    let mut recorder = recorder(&disk);
    recorder.patience = Duration::from_millis(100);
    disk.set_full(true);
    work(&recorder);
    // Whether a last checkpoint finds room is up to the disk.
    drop(recorder.stop());
    let Written { steps, dropped, unstated, .. } = recorder.written();
    assert_eq!(steps + dropped + unstated, SPANS);
    assert!(unstated > 0);
}
