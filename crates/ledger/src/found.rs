//! A log that was read and is not written to yet: the moment to compare it with what others have seen of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use onrecord_proof::merkle::{HashReader, empty_root, root};
use onrecord_proof::note::Note;
use onrecord_proof::{Checkpoint, Hash, KeyHistory};

use crate::disk::Disk;
use crate::ledger::{Options, SEGMENT_MAX};
use crate::lock::Lock;
use crate::recovery::{self, Recovered};
use crate::{Error, Ledger, Published};

/// A log as it was found.
#[derive(Debug)]
pub struct Found {
    pub(crate) recovered: Recovered,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: Options,
    pub(crate) lock: Option<Lock>,
}

impl Found {
    pub(crate) fn read(disk: Arc<dyn Disk>, dir: &Path, options: &Options, lock: Option<Lock>) -> Result<Self, Error> {
        Error::limit("segment size", options.segment_size, SEGMENT_MAX)?;
        let recovered = recovery::open(&disk, dir, options)?;
        Ok(Self { recovered, disk, dir: dir.to_owned(), options: options.clone(), lock })
    }

    /// The public keys of the log.
    pub fn keys(&self) -> &KeyHistory {
        &self.recovered.keys.history
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.recovered.tree.size()
    }

    /// The newest checkpoint that was kept with cosignatures.
    pub fn cosigned(&self) -> Option<Published> {
        self.recovered.cosigned.last()
    }

    /// The last checkpoint, or one over nothing if there is none, to show to those who may have seen more.
    pub fn checkpoint(&self) -> Result<Published, Error> {
        if let Some(published) = &self.recovered.published {
            return Ok(published.clone());
        }
        let origin = self.keys().name().to_owned();
        let checkpoint = Checkpoint { origin, size: 0, root: empty_root() };
        Ok(Published { note: self.recovered.keys.sign(&checkpoint)?, checkpoint })
    }

    /// Refuses the log if a checkpoint of it, kept at `place`, is of more than there is or of something else. Gives its size.
    pub fn must_hold(&self, kept: &Note, place: &str) -> Result<u64, Error> {
        let Checkpoint { size, root: kept, .. } = self.keys().open(kept)?;
        if size > self.size() {
            let problem = format!("the checkpoint in {place} has {size} leaves, the log {}", self.size());
            return Err(Error::Rollback { problem });
        }
        if root(self, size)? != kept {
            let problem =
                format!("the checkpoint in {place} is of another tree than the first {size} leaves of the log");
            return Err(Error::Rollback { problem });
        }
        Ok(size)
    }

    /// Opens the log for writing.
    pub fn start(self) -> Result<Ledger, Error> {
        Ledger::start(self)
    }
}

impl HashReader for Found {
    type Error = Error;

    fn hashes(&self, level: u32, start: u64, count: usize) -> Result<Vec<Hash>, Error> {
        self.recovered.tree.hashes(level, start, count)
    }
}
