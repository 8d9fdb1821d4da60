//! Versions of the lake as readers see them: what is sealed, and how far the log went on from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::log::Log;
use crate::table::Sealed;

/// The version that is current, and those that somebody still reads.
#[derive(Debug)]
pub(crate) struct Versions(Mutex<State>);

#[derive(Debug)]
struct State {
    current: Arc<Sealed>,
    /// How many readers have hot rows from that leaf index on.
    readers: BTreeMap<u64, usize>,
}

/// Everything that was committed at one moment. The log keeps the hot part while this is held.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) sealed: Arc<Sealed>,
    /// Number of committed records; those from the cursor on are hot.
    pub(crate) size: u64,
    versions: Arc<Versions>,
}

impl Versions {
    pub(crate) fn new(current: Sealed) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { current: Arc::new(current), readers: BTreeMap::new() })))
    }

    /// What is sealed now.
    pub(crate) fn current(&self) -> Arc<Sealed> {
        Arc::clone(&self.lock().current)
    }

    /// Makes a new version current.
    pub(crate) fn publish(&self, sealed: Sealed) {
        self.lock().current = Arc::new(sealed);
    }

    /// A snapshot of now. What is sealed is looked at before the size of the log, so that nothing falls in between; what
    /// is committed or sealed a moment later is read from the log.
    pub(crate) fn snapshot(self: &Arc<Self>, log: &dyn Log) -> Snapshot {
        let mut state = self.lock();
        let sealed = Arc::clone(&state.current);
        *state.readers.entry(sealed.cursor).or_default() += 1;
        Snapshot { size: log.size().max(sealed.cursor), sealed, versions: Arc::clone(self) }
    }

    /// Everything below is sealed and read from the log by nobody.
    pub(crate) fn releasable(&self) -> u64 {
        let state = self.lock();
        state.readers.keys().next().map_or(state.current.cursor, |oldest| state.current.cursor.min(*oldest))
    }

    /// True if somebody reads a snapshot.
    #[cfg(test)]
    pub(crate) fn has_readers(&self) -> bool {
        !self.lock().readers.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut state = self.versions.lock();
        if let Some(readers) = state.readers.get_mut(&self.sealed.cursor) {
            *readers -= 1;
            if *readers == 0 {
                state.readers.remove(&self.sealed.cursor);
            }
        }
    }
}
