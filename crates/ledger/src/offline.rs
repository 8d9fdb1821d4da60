//! A log as it is on disk, read without opening it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use onrecord_proof::Hash;
use uuid::Uuid;

use crate::committed::Committed;
use crate::disk::Disk;
use crate::needles::Needles;
use crate::tree::read_hashes;
use crate::wal::{Index, Wal};
use crate::{Error, recovery};

/// A log that nobody has open: what is readable of its segments, and the leaf hashes of its tree.
#[derive(Debug)]
pub struct Offline {
    origin: String,
    wal: Wal,
    disk: Arc<dyn Disk>,
    /// The file of the tree's leaf hashes, which holds those of the last checkpoint.
    leaves: PathBuf,
    signed: u64,
    /// Hashes of the leaves behind that, computed from the segments. A running log signs every second, so they are few.
    behind: Vec<Hash>,
}

impl Offline {
    pub(crate) fn new(
        origin: String,
        index: Index,
        disk: Arc<dyn Disk>,
        leaves: PathBuf,
        signed: u64,
        behind: Vec<Hash>,
    ) -> Self {
        Self { origin, wal: Wal::new(index), disk, leaves, signed, behind }
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many leaves are committed. Less than the last checkpoint covers if the end of the segments is gone.
    pub fn size(&self) -> u64 {
        self.wal.read().size().max(self.signed)
    }

    /// The first leaf that is still in segments.
    pub fn first(&self) -> u64 {
        self.wal.read().first
    }

    /// Those of records `from..until` that hold the needles, as [`Reader::read_with`](crate::Reader::read_with) gives them.
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

    /// The hashes of leaves `from..from + count` as the tree has them.
    pub fn leaf_hashes(&self, from: u64, count: usize) -> Result<Vec<Hash>, Error> {
        let until = from + count as u64;
        let stored = self.signed.clamp(from, until) - from;
        let mut hashes = Vec::new();
        if stored > 0 {
            let file = self.disk.open(&self.leaves).map_err(|e| Error::io("open", &self.leaves, &e))?;
            hashes = read_hashes(&*file, &self.leaves, from, stored as usize)?;
        }
        let behind = (from + stored - self.signed.min(from + stored)) as usize;
        let rest = self.behind.get(behind..behind + count - stored as usize);
        hashes.extend_from_slice(rest.ok_or(Error::NotHere(until - 1))?);
        Ok(hashes)
    }
}

/// Cuts off and removes what a crash has left unfinished in the log in `dir`, as the next start would.
pub fn tidy(disk: &Arc<dyn Disk>, dir: &std::path::Path) -> Result<(), Error> {
    recovery::tidy(disk, dir)
}
