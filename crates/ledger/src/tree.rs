//! The Merkle tree on disk: for each tile level one file with its hashes, 32 bytes each, in order. Tile `n` of a level
//! is bytes `n × 8192` to `(n + 1) × 8192` of its file.
//!
//! What the sequencer adds is in memory until the next checkpoint; the segments can replace it until then. It adds leaves
//! and goes on; whoever looks at the tree next hashes them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onrecord_proof::merkle::{Frontier, HashReader};
use onrecord_proof::{Hash, Leaf};

use crate::Error;
use crate::disk::{Disk, DiskFile};

const HASH: usize = 32;
/// Tile levels of the largest tree: 256^8 leaves are more than an index can count.
const LEVELS: u32 = 8;

/// The hashes of one tile level.
#[derive(Debug)]
struct Level {
    path: PathBuf,
    /// `None` until the first hash of the level is stored.
    file: Option<Arc<dyn DiskFile>>,
    /// Hashes that are durable in the file.
    stored: u64,
    /// Hashes behind them.
    pending: Vec<Hash>,
}

#[derive(Debug)]
pub(crate) struct State {
    frontier: Frontier,
    levels: Vec<Level>,
}

/// The tree: hashes on disk and those that are still to be written.
#[derive(Debug)]
pub(crate) struct Tree {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
    /// Leaves behind those of the state, in order. Locked after `state` where both are, and only to add and to take.
    arrived: Mutex<Vec<Leaf>>,
}

/// Stored hashes at tile level `level` in a tree of `size` leaves.
fn stored_at(size: u64, level: u32) -> u64 {
    size.checked_shr(8 * level).unwrap_or(0)
}

impl Tree {
    /// Opens the tree as it was at a checkpoint over `size` leaves; what was written behind it is cut off, the segments
    /// have it.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, size: u64) -> Result<Self, Error> {
        let mut levels = Vec::new();
        for level in 0..LEVELS {
            levels.push(Level::open(&*disk, dir.join(level.to_string()), stored_at(size, level))?);
        }
        let state = State { frontier: Frontier::default(), levels };
        let tree = Self { disk, state: Mutex::new(state), arrived: Mutex::default() };
        let frontier = Frontier::read(&tree, size)?;
        tree.lock().frontier = frontier;
        Ok(tree)
    }

    /// An empty tree whose hashes are written over whatever is in `dir`.
    pub(crate) fn anew(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        let level =
            |level: u32| Level { path: dir.join(level.to_string()), file: None, stored: 0, pending: Vec::new() };
        let levels = (0..LEVELS).map(level).collect();
        let state = Mutex::new(State { frontier: Frontier::default(), levels });
        Self { disk, state, arrived: Mutex::default() }
    }

    /// Cuts off what is in the files behind the hashes that were stored.
    pub(crate) fn cut(&self) -> Result<(), Error> {
        for Level { path, stored, .. } in &self.lock().levels {
            Level::open(&*self.disk, path.clone(), *stored)?;
        }
        Ok(())
    }

    /// Appends leaves in order, and tells how many wait to be hashed.
    pub(crate) fn add(&self, leaves: impl IntoIterator<Item = Leaf>) -> usize {
        let mut arrived = self.arrived();
        arrived.extend(leaves);
        arrived.len()
    }

    /// Appends the hash of a leaf.
    pub(crate) fn push(&self, leaf: Hash) {
        self.hashed().push(leaf);
    }

    /// The state with all leaves in it: hashes those that wait.
    pub(crate) fn hashed(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let arrived = std::mem::take(&mut *self.arrived());
        for leaf in arrived {
            state.push(leaf.hash());
        }
        state
    }

    /// Leaves in the tree.
    pub(crate) fn size(&self) -> u64 {
        self.hashed().frontier.size()
    }

    /// The root over all leaves.
    pub(crate) fn root(&self) -> Hash {
        self.hashed().frontier.root()
    }

    /// Makes every hash durable and gives size and root of the tree that they make.
    pub(crate) fn store(&self) -> Result<(u64, Hash), Error> {
        let (size, root, pending) = {
            let state = self.hashed();
            let pending: Vec<_> = state.levels.iter().map(|level| level.pending.clone()).collect();
            (state.frontier.size(), state.frontier.root(), pending)
        };
        for (level, hashes) in pending.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            self.store_level(level, hashes)?;
        }
        Ok((size, root))
    }

    /// Writes without the lock, so that nobody waits for this sync who reads the tree. Only one thread stores.
    fn store_level(&self, level: usize, hashes: &[Hash]) -> Result<(), Error> {
        let (path, file, stored) = {
            let level = &self.lock().levels[level];
            (level.path.clone(), level.file.clone(), level.stored)
        };
        let io = |op| {
            let path = &path;
            move |e: io::Error| Error::io(op, path, &e)
        };
        let file = match file {
            Some(file) => file,
            None => open_or_create(&*self.disk, &path).map_err(io("create"))?.into(),
        };
        file.write_at(stored * HASH as u64, &hashes.concat()).map_err(io("write"))?;
        file.sync().map_err(io("sync"))?;
        let level = &mut self.lock().levels[level];
        level.file = Some(file);
        level.pending.drain(..hashes.len());
        level.stored += hashes.len() as u64;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self) -> MutexGuard<'_, Vec<Leaf>> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, leaf: Hash) {
        let Self { frontier, levels } = self;
        frontier.push(leaf, |level, hash| levels[level as usize].pending.push(hash));
    }
}

/// Opens a file or, if an earlier attempt did not get so far, creates it.
fn open_or_create(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    match disk.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(path, 0),
        other => other,
    }
}

impl Level {
    fn open(disk: &dyn Disk, path: PathBuf, stored: u64) -> Result<Self, Error> {
        let file: Arc<dyn DiskFile> = match disk.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && stored == 0 => {
                return Ok(Self { path, file: None, stored, pending: Vec::new() });
            }
            other => other.map_err(|e| Error::io("open", &path, &e))?.into(),
        };
        let wanted = stored * HASH as u64;
        let len = file.len().map_err(|e| Error::io("read", &path, &e))?;
        if len < wanted {
            return Err(Error::corrupt(&path, len, format!("{len} bytes, the last checkpoint needs {wanted}")));
        }
        if len > wanted {
            file.set_len(wanted).map_err(|e| Error::io("truncate", &path, &e))?;
        }
        Ok(Self { path, file: Some(file), stored, pending: Vec::new() })
    }
}

impl HashReader for Tree {
    type Error = Error;

    fn hashes(&self, level: u32, start: u64, count: usize) -> Result<Vec<Hash>, Error> {
        let (file, path, on_disk, in_memory) = {
            let state = self.hashed();
            let missing = || Error::NotHere(start << (8 * level.min(7)));
            let level = state.levels.get(level as usize).ok_or_else(missing)?;
            let end = start + count as u64;
            let on_disk = level.stored.clamp(start, end) - start;
            let from = (start + on_disk - level.stored.min(start + on_disk)) as usize;
            let pending = level.pending.get(from..from + count - on_disk as usize).ok_or_else(missing)?;
            (level.file.clone(), level.path.clone(), on_disk as usize, pending.to_vec())
        };
        let mut hashes = match file {
            Some(file) if on_disk > 0 => read_hashes(&*file, &path, start, on_disk)?,
            _ => Vec::new(),
        };
        hashes.extend(in_memory);
        Ok(hashes)
    }
}

/// Reads `count` hashes from index `start` of a level's file.
pub(crate) fn read_hashes(file: &dyn DiskFile, path: &Path, start: u64, count: usize) -> Result<Vec<Hash>, Error> {
    let mut bytes = vec![0; count * HASH];
    let offset = start * HASH as u64;
    let read = file.read_at(offset, &mut bytes).map_err(|e| Error::io("read", path, &e))?;
    if read < bytes.len() {
        return Err(Error::corrupt(path, offset + read as u64, "the file ends before its last hash"));
    }
    Ok(bytes.as_chunks().0.to_vec())
}
