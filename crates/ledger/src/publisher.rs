//! The publisher: one thread that signs a checkpoint every so often, and lets go of what the lake has.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use onrecord_proof::Checkpoint;
use onrecord_proof::note::Signer;

use crate::checkpoints::{Checkpoints, Published};
use crate::cosigned::Cosigned;
use crate::disk::Disk;
use crate::keys::Keys;
use crate::tree::Tree;
use crate::wal::Wal;
use crate::{Error, Measures, clock, segment};

/// Signs checkpoints and gives the space of released segments back.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// The right to publish: whoever has it is the only one who stores hashes and signs. Taken before the other locks.
    pub turn: Mutex<()>,
    /// Whoever signs reads it, which may take as long as a command that signs, and nobody who only looks waits for that.
    pub keys: RwLock<Keys>,
    pub disk: Arc<dyn Disk>,
    /// The folder of the segments.
    pub segments: PathBuf,
    /// Read as long as no segment may go, because somebody checks them.
    pub kept: RwLock<()>,
    pub tree: Arc<Tree>,
    pub wal: Arc<Wal>,
    pub checkpoints: Checkpoints,
    pub cosigned: Cosigned,
    /// The newest checkpoint.
    pub last: RwLock<Option<Published>>,
    /// Every leaf below this is durable in the lake.
    pub released: AtomicU64,
    /// The log was closed: a reader that is still there must not write to what may be another process's by now.
    pub closed: AtomicBool,
    pub measures: Arc<Measures>,
}

impl Publisher {
    /// Publishes every `interval`, and hashes leaves when it is woken, until nobody is left who could wake it.
    pub(crate) fn run(&self, woken: &Receiver<()>, interval: Duration) {
        let mut next = Instant::now() + interval;
        loop {
            match woken.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(()) => drop(self.tree.hashed()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= next {
                self.tick();
                next = Instant::now() + interval;
            }
        }
    }

    fn tick(&self) {
        if let Err(error) = self.publish().and_then(|_| self.trim()) {
            tracing::error!(%error, "no checkpoint was signed; trying again");
        }
    }

    /// Signs a checkpoint if the tree has grown. In this order: the hashes are durable, then the checkpoint over them is.
    /// A crash in between leaves hashes behind the last checkpoint; the next start cuts them off. Gives the newest one.
    pub(crate) fn publish(&self) -> Result<Option<Published>, Error> {
        self.publish_in(&self.turn())
    }

    fn publish_in(&self, _turn: &MutexGuard<'_, ()>) -> Result<Option<Published>, Error> {
        let last = self.last();
        if self.tree.size() == last.as_ref().map_or(0, |last| last.checkpoint.size) {
            return Ok(last);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let (size, root) = self.tree.store()?;
        let keys = self.keys();
        let checkpoint = Checkpoint { origin: keys.history.name().to_owned(), size, root };
        let note = keys.sign(&checkpoint)?;
        let now = clock::now();
        self.checkpoints.append(&note, now)?;
        self.measures.signed(now);
        let published = Some(Published { note, checkpoint });
        self.last.write().unwrap_or_else(PoisonError::into_inner).clone_from(&published);
        Ok(published)
    }

    /// Gives the log over to the next key, which a record names that is committed.
    pub(crate) fn rotate(&self, to: Signer) -> Result<(), Error> {
        let turn = self.turn();
        let size = self.publish_in(&turn)?.map_or(0, |last| last.checkpoint.size);
        // Which key is in force is not known after an error, so that neither may sign until the next start reads it.
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.rotate(to, size).inspect_err(|_| self.closed.store(true, Ordering::Release))
    }

    pub(crate) fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest checkpoint.
    pub(crate) fn last(&self) -> Option<Published> {
        self.last.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes segments whose records are in the lake and whose hashes are in the tree, the oldest first, and what could not
    /// be removed when it should have been: a start refuses a log in whose segments there is a gap. Nothing goes while the
    /// segments are [kept](Self::kept).
    pub(crate) fn trim(&self) -> Result<(), Error> {
        let Ok(_going) = self.kept.try_write() else { return Ok(()) };
        let signed = self.last().map_or(0, |last| last.checkpoint.size);
        let below = self.released.load(Ordering::Acquire).min(signed);
        let oldest = self.wal.write().release(below);
        let names = self.disk.list(&self.segments).map_err(|e| Error::io("list", &self.segments, &e))?;
        let mut gone: Vec<_> = names.iter().filter_map(|name| segment::number(name)).collect();
        gone.retain(|number| *number < oldest);
        gone.sort_unstable();
        for number in gone {
            let path = self.segments.join(segment::name(number));
            self.disk.remove(&path).map_err(|e| Error::io("remove", &path, &e))?;
        }
        Ok(())
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
