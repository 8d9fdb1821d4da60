//! What is committed, to be read.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use onrecord_proof::merkle::{HashReader, inclusion_proof};
use onrecord_proof::note::Verifier;
use onrecord_proof::{Hash, KeyHistory};
use uuid::Uuid;

use crate::Error;
use crate::checkpoints::Published;
use crate::committed::Committed;
use crate::needles::Needles;
use crate::publisher::Publisher;
use crate::tree::Tree;
use crate::wal::Wal;

/// Reads what is committed. Clones share the log.
#[derive(Debug, Clone)]
pub struct Reader {
    pub(crate) wal: Arc<Wal>,
    pub(crate) tree: Arc<Tree>,
    pub(crate) publisher: Arc<Publisher>,
}

impl Reader {
    /// The name of the log.
    pub fn origin(&self) -> String {
        self.publisher.keys().history.name().to_owned()
    }

    /// The public key of the log.
    pub fn verifier(&self) -> Verifier {
        self.publisher.keys().history.current().clone()
    }

    /// The public keys that the log has had.
    pub fn keys(&self) -> KeyHistory {
        self.publisher.keys().history.clone()
    }

    /// How many leaves are committed.
    pub fn size(&self) -> u64 {
        self.wal.read().size()
    }

    /// The first leaf that is still in segments.
    pub fn first(&self) -> u64 {
        self.wal.read().first
    }

    /// Calls that have begun and have no leaf yet.
    pub fn open_calls(&self) -> usize {
        self.wal.read().segments.values().map(|segment| segment.open).sum()
    }

    /// Bytes of the segments that hold leaf `from` and those after it.
    pub fn bytes_from(&self, from: u64) -> u64 {
        self.wal.read().bytes_from(from)
    }

    /// Records `from..until` in order, as many as hold about `max_bytes` bytes, at least one.
    pub fn read(&self, from: u64, until: u64, max_bytes: usize) -> Result<Vec<Committed>, Error> {
        self.read_with(from, until, max_bytes, &Needles::default()).map(|(records, _)| records)
    }

    /// Those of records `from..until` that hold the needles, as [`read`](Self::read) gives them, and the leaf after the last
    /// one that was looked at.
    pub fn read_with(
        &self,
        from: u64,
        until: u64,
        max_bytes: usize,
        needles: &Needles,
    ) -> Result<(Vec<Committed>, u64), Error> {
        self.wal.records(from, until, max_bytes, needles)
    }

    /// Those of the records with these ids that are leaves `from..until`, in order, without reading them.
    pub fn leaves_of_ids(&self, ids: &HashSet<Uuid>, from: u64, until: u64) -> Result<Vec<(u64, Uuid)>, Error> {
        self.wal.leaves_of_ids(ids, from, until)
    }

    /// Says that every leaf below `below` is durable in the lake. Segments that hold nothing else go with the next
    /// checkpoint.
    pub fn release(&self, below: u64) {
        self.publisher.released.fetch_max(below, Ordering::AcqRel);
    }

    /// The last signed checkpoint, if there is one.
    pub fn checkpoint(&self) -> Option<Published> {
        self.publisher.last()
    }

    /// A checkpoint over everything that is committed now, signed for the purpose if need be. `None` if the log is empty.
    pub fn checkpoint_now(&self) -> Result<Option<Published>, Error> {
        self.publisher.publish()
    }

    /// Does something while no segment is removed, so that the files can be [checked](crate::check) beside the log that
    /// writes to them.
    pub fn with_segments_kept<T>(&self, work: impl FnOnce() -> T) -> T {
        let _kept = self.publisher.kept.read().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// The newest checkpoint that was kept with cosignatures.
    pub fn cosigned(&self) -> Option<Published> {
        self.publisher.cosigned.last()
    }

    /// Keeps a checkpoint of this log with the cosignatures of its witnesses, durably, unless a newer one is kept.
    pub fn keep_cosigned(&self, cosigned: Published) -> Result<(), Error> {
        if self.publisher.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        self.publisher.cosigned.keep(cosigned)
    }

    /// The inclusion proof of leaf `index` in the tree of `size` leaves (RFC 9162 §2.1.3).
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
        inclusion_proof(&*self.tree, index, size)
    }
}

impl HashReader for Reader {
    type Error = Error;

    fn hashes(&self, level: u32, start: u64, count: usize) -> Result<Vec<Hash>, Error> {
        self.tree.hashes(level, start, count)
    }
}
