//! What the lake needs of the log: the committed records that are not sealed yet, and what the tree says of all.

use std::collections::HashSet;

use onrecord_ledger::{Committed, Needles, Offline, Reader};
use onrecord_proof::Hash;
use onrecord_proof::merkle::HashReader as _;
use uuid::Uuid;

/// Why the log could not be read.
pub type LogError = Box<dyn std::error::Error + Send + Sync>;

/// The committed records of one origin, as far as the log still holds them.
///
/// The ledger's reader is the one that counts; tests have one in memory.
pub trait Log: Send + Sync + 'static {
    /// The name of the log, the same for all its life.
    fn origin(&self) -> String;

    /// Number of committed records: one more than the last leaf index.
    fn size(&self) -> u64;

    /// First leaf index that [`read`](Self::read) can still give.
    fn first(&self) -> u64;

    /// Bytes of payload, roughly, from `index` on. A hint for when to seal.
    fn bytes_from(&self, index: u64) -> u64;

    /// The records `from..until` in order, stopping early after about `max_bytes` of payload, with one at least.
    /// Blocks on the disk.
    fn read(&self, from: u64, until: u64, max_bytes: usize) -> Result<Vec<Committed>, LogError> {
        self.read_with(from, until, max_bytes, &Needles::default()).map(|(records, _)| records)
    }

    /// Those of the records `from..until` that hold the needles, in the same way, and the leaf after the last one that was
    /// looked at. Blocks on the disk.
    fn read_with(
        &self,
        from: u64,
        until: u64,
        max_bytes: usize,
        needles: &Needles,
    ) -> Result<(Vec<Committed>, u64), LogError>;

    /// Those of the records with these ids that are leaves `from..until`, in order.
    fn leaves_of_ids(&self, ids: &HashSet<Uuid>, from: u64, until: u64) -> Result<Vec<(u64, Uuid)>, LogError>;

    /// Everything below `index` is durable in the lake.
    fn release(&self, below: u64);

    /// The leaf hashes `from..from + count` of the tree: of every leaf there ever was, released or not.
    fn leaf_hashes(&self, from: u64, count: usize) -> Result<Vec<Hash>, LogError>;

    /// Calls that are under way, to which work that can wait gives way.
    fn calls_under_way(&self) -> usize;
}

impl Log for Reader {
    fn origin(&self) -> String {
        self.origin()
    }

    fn size(&self) -> u64 {
        self.size()
    }

    fn first(&self) -> u64 {
        self.first()
    }

    fn bytes_from(&self, index: u64) -> u64 {
        self.bytes_from(index)
    }

    fn read_with(
        &self,
        from: u64,
        until: u64,
        max_bytes: usize,
        needles: &Needles,
    ) -> Result<(Vec<Committed>, u64), LogError> {
        Ok(self.read_with(from, until, max_bytes, needles)?)
    }

    fn leaves_of_ids(&self, ids: &HashSet<Uuid>, from: u64, until: u64) -> Result<Vec<(u64, Uuid)>, LogError> {
        Ok(self.leaves_of_ids(ids, from, until)?)
    }

    fn release(&self, below: u64) {
        self.release(below);
    }

    fn leaf_hashes(&self, from: u64, count: usize) -> Result<Vec<Hash>, LogError> {
        Ok(self.hashes(0, from, count)?)
    }

    fn calls_under_way(&self) -> usize {
        self.open_calls()
    }
}

/// A log that nobody writes: nothing is released, and no call is under way.
impl Log for Offline {
    fn origin(&self) -> String {
        self.origin().to_owned()
    }

    fn size(&self) -> u64 {
        self.size()
    }

    fn first(&self) -> u64 {
        self.first()
    }

    fn bytes_from(&self, _index: u64) -> u64 {
        0
    }

    fn read_with(
        &self,
        from: u64,
        until: u64,
        max_bytes: usize,
        needles: &Needles,
    ) -> Result<(Vec<Committed>, u64), LogError> {
        Ok(self.read_with(from, until, max_bytes, needles)?)
    }

    fn leaves_of_ids(&self, ids: &HashSet<Uuid>, from: u64, until: u64) -> Result<Vec<(u64, Uuid)>, LogError> {
        Ok(self.leaves_of_ids(ids, from, until)?)
    }

    fn release(&self, _below: u64) {}

    fn leaf_hashes(&self, from: u64, count: usize) -> Result<Vec<Hash>, LogError> {
        Ok(self.leaf_hashes(from, count)?)
    }

    fn calls_under_way(&self) -> usize {
        0
    }
}
