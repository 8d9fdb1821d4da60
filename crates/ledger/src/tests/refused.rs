//! What the log does not take, so that everything it took can be read back.

use onrecord_proof::{Group, Kind, REFS_MAX, Record, Ref, Rel, Value, field};
use uuid::Uuid;

use super::Harness;
use crate::disk::Disk;
use crate::frame::{self, FrameKind, Mark};
use crate::segment::{self, LeafHead, Place, SegmentHead};
use crate::{Error, Ledger, Options, Receipt};

fn append(ledger: &Ledger, record: &Record) -> Result<Receipt, Error> {
    ledger.append(record)?.wait()
}

fn begin(ledger: &Ledger, record: &mut Record) -> Result<(), Error> {
    ledger.begin(record)?.wait()
}

/// Another call of the same id.
fn namesake(of: &Record) -> Record {
    let mut record = Record::new(of.id, Kind::Interaction, 7, [0x77; 32]);
    record.set(&field::SESSION, "another");
    record.set(&field::INPUT_TEXT, "another question");
    record
}

#[test]
fn an_intent_that_could_not_be_completed_is_refused() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    let mut many_refs = harness.record();
    many_refs.refs = vec![Ref { rel: Rel::Source, id: Uuid::nil() }; REFS_MAX + 1];
    let mut deep = harness.record();
    let value = (0..33).fold(Value::Null, |inside, _| Value::Array(vec![inside]));
    deep.set_named(Group::Context, "x", value);
    for mut record in [many_refs, deep] {
        let refused = ledger.begin(&mut record).map(drop).unwrap_err();
        assert!(matches!(refused, Error::Malformed(_)), "{refused}");
        let refused = ledger.append(&record).map(drop).unwrap_err();
        assert!(matches!(refused, Error::Malformed(_)), "{refused}");
    }
    assert_eq!((ledger.reader().size(), ledger.reader().open_calls()), (0, 0));
    drop(ledger);
    harness.check(&harness.open().unwrap());
}

#[test]
fn a_call_is_begun_once() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    let mut record = harness.record();
    begin(&ledger, &mut record).unwrap();
    let refused = begin(&ledger, &mut record).unwrap_err();
    assert!(matches!(refused, Error::Begun(id) if id == record.id), "{refused}");
    let mut other = namesake(&record);
    assert!(matches!(begin(&ledger, &mut other), Err(Error::Begun(_))));
    let refused = append(&ledger, &other).unwrap_err();
    assert!(refused.to_string().contains("the beginning of the call is not on record"), "{refused}");
    assert_eq!(ledger.reader().open_calls(), 1);
    record.set(&field::OUTCOME, "completed");
    let receipt = append(&ledger, &record).unwrap();
    harness.acknowledged.push((record, receipt));
    assert_eq!(ledger.reader().open_calls(), 0);
    harness.check(&ledger);
    drop(ledger);
    let ledger = harness.open().unwrap();
    assert_eq!((ledger.interrupted(), ledger.reader().size()), (0, 1));
    harness.check(&ledger);
}

#[test]
fn a_whole_record_ends_a_call_without_what_its_intent_holds() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    let mut begun = harness.record();
    begin(&ledger, &mut begun).unwrap();
    let mut other = Record::new(begun.id, Kind::Interaction, 7, [0x77; 32]);
    other.set(&field::OUTCOME, "completed");
    let receipt = append(&ledger, &other).unwrap();
    harness.acknowledged.push((other, receipt));
    assert_eq!(ledger.reader().open_calls(), 0);
    harness.check(&ledger);
    begun.set(&field::OUTCOME, "completed");
    assert!(append(&ledger, &begun).is_err(), "its call was ended");
    drop(ledger);
    let ledger = harness.open().unwrap();
    assert_eq!((ledger.interrupted(), ledger.reader().size(), ledger.reader().open_calls()), (0, 1, 0));
    harness.check(&ledger);
}

/// Without waiting for answers, so that many of the operations are in one batch.
#[test]
fn calls_of_one_id_in_one_batch_are_told_apart() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    let mut open = harness.record();
    begin(&ledger, &mut open).unwrap();
    for _ in 0..50 {
        let mut record = harness.record();
        let mut other = namesake(&record);
        let first = ledger.begin(&mut record).unwrap();
        let second = ledger.begin(&mut other).unwrap();
        record.set(&field::OUTCOME, "completed");
        let (theirs, ours, again) =
            (ledger.append(&other).unwrap(), ledger.append(&record).unwrap(), ledger.append(&record).unwrap());
        first.wait().unwrap();
        assert!(second.wait().is_err() && theirs.wait().is_err());
        harness.acknowledged.push((record, ours.wait().unwrap()));
        assert!(again.wait().is_err());
    }
    assert_eq!(ledger.reader().open_calls(), 1);
    harness.check(&ledger);
    drop(ledger);
    let ledger = harness.open().unwrap();
    assert_eq!((ledger.interrupted(), ledger.reader().open_calls()), (1, 0));
    harness.check(&ledger);
}

#[test]
fn a_record_that_was_erased_after_its_intent_stands_alone() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    let mut record = harness.record();
    record.set(&field::SESSION, "s");
    begin(&ledger, &mut record).unwrap();
    assert!(record.erase(Group::Input, Uuid::nil()));
    let receipt = append(&ledger, &record).unwrap();
    harness.acknowledged.push((record, receipt));
    harness.check(&ledger);
    drop(ledger);
    harness.check(&harness.open().unwrap());
}

/// A segment behind those of `harness` with an intent of `begun` and, referring to it, the completion `later`.
fn forge(harness: &Harness, begun: &Record, later: &Record) {
    let dir = harness.path("segments");
    let previous = harness.disk.list(&dir).unwrap().pop().unwrap();
    let previous_end = harness.disk.read(&dir.join(&previous)).unwrap().len() as u64;
    let previous = segment::number(&previous).unwrap();
    let number = previous + 1;
    let (origin, mark) = (segment::origin_hash("test/log"), Mark::from_bytes(*b"the mark"));
    let head = SegmentHead { number, previous, previous_end, first_index: 0, origin, mark };
    let mut bytes = head.to_frame();
    let offset = bytes.len() as u32;
    frame::write(&mut bytes, mark, offset, FrameKind::Intent, [&begun.to_bytes(), &[]]);
    let head = LeafHead { index: 0, committed_at: 5, intent: Some(Place { segment: number, offset }) }.to_bytes();
    let batch = bytes.len() as u32;
    frame::write(&mut bytes, mark, batch, FrameKind::Leaf, [&head, &later.to_bytes()]);
    harness.disk.replace(&dir.join(segment::name(number)), &bytes, 0o600).unwrap();
}

#[test]
fn a_completion_with_the_intent_of_another_record_is_damage() {
    let mut harness = Harness::new();
    harness.open().unwrap().close().unwrap();
    let record = harness.record();
    let mut other_id = record.clone();
    other_id.id = Uuid::from_u128(99);
    for other in [namesake(&record), other_id] {
        let harness = Harness { disk: harness.disk.snapshot(), ..Harness::new() };
        forge(&harness, &record, &other);
        harness.check_disk(1);
        let refused = harness.open().map(drop).unwrap_err();
        assert!(refused.to_string().contains("another record"), "{refused}");
    }
    forge(&harness, &record, &record);
    harness.check_disk(0);
    assert_eq!(harness.open().unwrap().reader().size(), 1);
}

#[test]
fn offsets_stay_within_32_bits() {
    let mut harness = Harness::new();
    let options = Options { segment_size: (2 << 30) + 1, ..Harness::options() };
    let refused = Ledger::open_on(std::sync::Arc::new(harness.disk.clone()), &harness.dir, &options).map(drop);
    assert_eq!(refused.unwrap_err().to_string(), "segment size: 2147483649 bytes, the limit is 2147483648");
    assert!(harness.disk.files().is_empty());
    let ledger = harness.open().unwrap();
    harness.call(&ledger).unwrap();
}

#[test]
fn a_closed_log_takes_nothing_and_can_be_read() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    harness.call(&ledger).unwrap();
    let mut open = harness.record();
    begin(&ledger, &mut open).unwrap();
    let reader = ledger.reader();
    ledger.close().unwrap();
    ledger.close().unwrap();
    assert!(matches!(append(&ledger, &open), Err(Error::Closed)));
    assert!(matches!(begin(&ledger, &mut harness.record()), Err(Error::Closed)));
    harness.check(&ledger);
    drop(ledger);
    let records = reader.read(0, 1, usize::MAX).unwrap();
    assert_eq!(records[0].record, harness.acknowledged[0].0);
    assert_eq!(reader.checkpoint_now().unwrap().unwrap().checkpoint.size, 1);
    assert_eq!(harness.open().unwrap().interrupted(), 1);
}

/// Another process may have the log by then.
#[test]
fn a_reader_that_outlives_its_log_signs_nothing() {
    let mut harness = Harness::new();
    let ledger = harness.open().unwrap();
    harness.call(&ledger).unwrap();
    let reader = ledger.reader();
    harness.disk.set_full(true);
    assert!(ledger.close().is_err());
    drop(ledger);
    harness.disk.set_full(false);
    let ledger = harness.open().unwrap();
    harness.call(&ledger).unwrap();
    harness.check(&ledger);
    assert!(matches!(reader.checkpoint_now(), Err(Error::Closed)));
    assert_eq!(reader.read(0, 1, usize::MAX).unwrap()[0].record, harness.acknowledged[0].0);
    harness.check(&ledger);
}
