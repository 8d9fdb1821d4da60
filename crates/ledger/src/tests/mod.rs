//! The log as a whole. After each step the whole invariant is checked by [`Harness::check`].

mod faults;
mod flips;
mod forged;
mod keys;
mod life;
mod refused;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use onrecord_proof::merkle::{Frontier, check_inclusion};
use onrecord_proof::{Kind, Record, field};
use uuid::Uuid;

use crate::disk::{Disk, FaultyDisk};
use crate::{Committed, Error, Ledger, Options, Receipt};

/// A log on a disk that fails on demand, and what it has acknowledged.
#[derive(Clone)]
struct Harness {
    disk: FaultyDisk,
    dir: PathBuf,
    /// Records that were acknowledged, with their receipts.
    acknowledged: Vec<(Record, Receipt)>,
    /// Ids of all calls that were begun, acknowledged or not.
    begun: Vec<Uuid>,
    /// What a follower has taken over durably, from leaf 0 on; its cursor is their number.
    sealed: Vec<Committed>,
    next: u128,
}

impl Harness {
    fn new() -> Self {
        let dir = PathBuf::from("/log");
        Self { disk: FaultyDisk::new(), dir, acknowledged: Vec::new(), begun: Vec::new(), sealed: Vec::new(), next: 1 }
    }

    /// Small segments, so that a short workload fills several; checkpoints only on demand, so that steps are counted.
    fn options() -> Options {
        let checkpoint_interval = Duration::from_hours(1);
        Options { segment_size: 4096, checkpoint_interval, origin: Some("test/log".into()), ..Options::default() }
    }

    fn open(&self) -> Result<Ledger, Error> {
        Ledger::open_on(Arc::new(self.disk.clone()), &self.dir, &Self::options())
    }

    fn record(&mut self) -> Record {
        let id = Uuid::from_u128(self.next);
        self.next += 1;
        let mut record = Record::new(id, Kind::Interaction, self.next as i64, [self.next as u8; 32]);
        record.set(&field::INPUT_TEXT, format!("question {} {}", self.next, "x".repeat(self.next as usize * 37 % 400)));
        record
    }

    /// One call from its intent to its record.
    fn call(&mut self, ledger: &Ledger) -> Result<(), Error> {
        let record = self.record();
        self.run(ledger, record)
    }

    /// A call that is larger than a segment.
    fn large_call(&mut self, ledger: &Ledger) -> Result<(), Error> {
        let mut record = self.record();
        record.set(&field::INPUT_TEXT, "y".repeat(6000));
        self.run(ledger, record)
    }

    fn run(&mut self, ledger: &Ledger, mut record: Record) -> Result<(), Error> {
        self.begun.push(record.id);
        ledger.begin(&mut record)?.wait()?;
        record.set(&field::OUTCOME, "completed");
        record.set(&field::OUTPUT_TEXT, "an answer");
        let receipt = ledger.append(&record)?.wait()?;
        self.acknowledged.push((record, receipt));
        Ok(())
    }

    /// The log as the next process finds it when this one is gone without closing anything.
    fn crash(&mut self, seed: u64) {
        self.disk = self.disk.snapshot();
        self.disk.crash(seed);
    }

    /// A follower takes over what is committed, and the log may let go of it.
    fn hand_over(&mut self, ledger: &Ledger) -> Result<(), Error> {
        let (reader, cursor) = (ledger.reader(), self.sealed.len() as u64);
        if cursor < reader.size() {
            self.sealed.extend(reader.read(cursor, reader.size(), usize::MAX)?);
        }
        reader.release(self.sealed.len() as u64);
        ledger.forget(self.sealed.len() as u64).map(drop)
    }

    /// Everything that was committed: what the follower has, then what is in the log.
    fn records(&self, ledger: &Ledger) -> Vec<Committed> {
        let (reader, cursor) = (ledger.reader(), self.sealed.len() as u64);
        assert!(cursor <= reader.size(), "the follower has {cursor} records, the log {}", reader.size());
        assert!(reader.first() <= cursor, "the log begins at {}, the follower needs {cursor}", reader.first());
        let mut records = self.sealed.clone();
        if reader.size() > cursor {
            records.extend(reader.read(cursor, reader.size(), usize::MAX).expect("records"));
        }
        for index in reader.first()..cursor {
            match reader.read(index, index + 1, 0) {
                Ok(again) => assert_eq!(again[0], records[index as usize], "what was handed over has changed"),
                // The segment with the beginning of its call was let go of before that with its end.
                Err(Error::NotHere(_)) => {}
                Err(error) => panic!("record {index}: {error}"),
            }
        }
        records
    }

    /// The whole invariant: every acknowledged record is there once, at its index and unchanged; every index holds one
    /// record; every begun call has at most one leaf, and after a restart exactly one if its intent was durable; the
    /// follower's cursor is within the log; frontier, checkpoint and proofs are those of the records; tree, checkpoints and
    /// segments on the disk agree.
    fn check(&self, ledger: &Ledger) {
        let reader = ledger.reader();
        let published = reader.checkpoint_now().expect("a checkpoint");
        let records = self.records(ledger);
        assert_eq!(published.as_ref().map_or(0, |p| p.checkpoint.size), reader.size());
        assert_eq!(records.iter().map(|r| r.index).collect::<Vec<_>>(), (0..reader.size()).collect::<Vec<_>>());
        for (record, receipt) in &self.acknowledged {
            let found: Vec<_> = records.iter().filter(|r| r.record.id == record.id).collect();
            assert_eq!(found.len(), 1, "record {} is there once", record.id);
            assert_eq!((found[0].index, found[0].committed_at), (receipt.index, receipt.committed_at));
            assert_eq!(found[0].record, *record);
        }
        for id in &self.begun {
            assert!(records.iter().filter(|r| r.record.id == *id).count() <= 1, "call {id} has two leaves");
        }
        let ids = records.iter().map(|record| record.record.id).collect();
        let found = reader.leaves_of_ids(&ids, reader.first(), reader.size()).expect("ids");
        let hot = records.iter().filter(|record| record.index >= reader.first());
        assert_eq!(found, hot.map(|hot| (hot.index, hot.record.id)).collect::<Vec<_>>());
        let mut frontier = Frontier::default();
        for record in &records {
            frontier.push(record.leaf().hash(), |_, _| ());
        }
        let root = published.map_or_else(|| frontier.root(), |published| published.checkpoint.root);
        assert_eq!(root, frontier.root(), "the checkpoint is over the records");
        for record in records.iter().step_by(5) {
            let proof = reader.inclusion_proof(record.index, reader.size()).expect("a proof");
            check_inclusion(&record.leaf().hash(), record.index, reader.size(), &proof, &root)
                .expect("a proof that holds");
        }
        self.check_disk(0);
    }

    fn check_disk(&self, problems: usize) {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let checked = crate::check(&disk, &self.dir, &mut |_, _| ()).expect("a check");
        assert_eq!(checked.problems.len(), problems, "{:?}", checked.problems);
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(&self.dir).join(name)
    }
}
