//! The files of the tree, written anew from leaf hashes that are known to lead to the last checkpoint.

use std::path::Path;
use std::sync::Arc;

use onrecord_proof::Hash;

use crate::Error;
use crate::disk::Disk;
use crate::tree::Tree;

/// Hashes in memory between two writes: 2 MiB.
const CHUNK: u64 = 65_536;

/// Writes the hashes of a log's tree over what is there. It can be done again after a crash in the middle of it.
#[derive(Debug)]
pub struct Rebuild(Tree);

impl Rebuild {
    /// Begins with an empty tree in the folder of a log.
    pub fn begin(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, Error> {
        let dir = dir.join("tree");
        disk.create_dir(&dir).map_err(|e| Error::io("create", &dir, &e))?;
        Ok(Self(Tree::anew(disk, &dir)))
    }

    /// Adds the next leaf.
    pub fn push(&mut self, leaf: Hash) -> Result<(), Error> {
        self.0.push(leaf);
        if self.0.size().is_multiple_of(CHUNK) { self.0.store().map(drop) } else { Ok(()) }
    }

    /// Makes everything durable and cuts off what was behind it. Gives size and root.
    pub fn finish(self) -> Result<(u64, Hash), Error> {
        let done = self.0.store()?;
        self.0.cut()?;
        Ok(done)
    }
}
