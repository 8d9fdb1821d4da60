//! The publisher: one thread that signs a checkpoint every so often, and lets go of what the lake has.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use onrecord_proof::Checkpoint;
use onrecord_proof::note::Signer;

use crate::checkpoints::{Checkpoints, Published};
use crate::cosigned::Cosigned;
use crate::disk::Disk;
use crate::keys::Keys;
use crate::tree::Tree;
use crate::wal::Wal;
use crate::{Error, Measures, clock};

/// Signs checkpoints and gives the space of released segments back.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Locked after `last` where both are.
    pub keys: Mutex<Keys>,
    pub disk: Arc<dyn Disk>,
    pub tree: Arc<Tree>,
    pub wal: Arc<Wal>,
    pub checkpoints: Checkpoints,
    pub cosigned: Cosigned,
    /// Also the right to publish: whoever holds it is the only one who stores hashes.
    pub last: Mutex<Option<Published>>,
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
        let published = self.publish(&mut self.lock());
        if let Err(error) = published.and_then(|()| self.trim()) {
            tracing::error!(%error, "no checkpoint was signed; trying again");
        }
    }

    /// Signs a checkpoint if the tree has grown. In this order: the hashes are durable, then the checkpoint over them is.
    /// A crash in between leaves hashes behind the last checkpoint; the next start cuts them off.
    pub(crate) fn publish(&self, last: &mut Option<Published>) -> Result<(), Error> {
        if self.tree.size() == last.as_ref().map_or(0, |last| last.checkpoint.size) {
            return Ok(());
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
        *last = Some(Published { note, checkpoint });
        Ok(())
    }

    /// Gives the log over to the next key, which a record names that is committed.
    pub(crate) fn rotate(&self, to: Signer) -> Result<(), Error> {
        let mut last = self.lock();
        self.publish(&mut last)?;
        let size = last.as_ref().map_or(0, |last| last.checkpoint.size);
        // Which key is in force is not known after an error, so that neither may sign until the next start reads it.
        self.keys().rotate(to, size).inspect_err(|_| self.closed.store(true, Ordering::Release))
    }

    pub(crate) fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes segments whose records are in the lake and whose hashes are in the tree.
    pub(crate) fn trim(&self) -> Result<(), Error> {
        let signed = self.lock().as_ref().map_or(0, |last| last.checkpoint.size);
        let below = self.released.load(Ordering::Acquire).min(signed);
        let released = self.wal.write().take_released(below);
        for segment in released {
            self.disk.remove(&segment.path).map_err(|e| Error::io("remove", &segment.path, &e))?;
        }
        Ok(())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Published>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
