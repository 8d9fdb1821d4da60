//! Versions of the lake as readers see them: what is sealed, and how far the log went on from there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

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
    /// Versions before the current one, as long as somebody reads them.
    older: Vec<Weak<Sealed>>,
    /// Data files that a version does not have any more.
    replaced: Vec<Replaced>,
}

/// A data file that others have taken the place of.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// The first version without it.
    pub(crate) since: u64,
    /// Relative to the table's folder.
    pub(crate) path: String,
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
        Arc::new(Self(Mutex::new(State {
            current: Arc::new(current),
            readers: BTreeMap::new(),
            older: Vec::new(),
            replaced: Vec::new(),
        })))
    }

    /// What is sealed now.
    pub(crate) fn current(&self) -> Arc<Sealed> {
        Arc::clone(&self.lock().current)
    }

    /// Makes a new version current.
    pub(crate) fn publish(&self, sealed: Sealed) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.current, Arc::new(sealed));
        state.older.retain(|version| version.strong_count() > 0);
        state.older.push(Arc::downgrade(&before));
    }

    /// The current version has these files no more.
    pub(crate) fn replaced(&self, paths: impl IntoIterator<Item = String>) {
        let mut state = self.lock();
        let since = state.current.version;
        for path in paths {
            if state.replaced.iter().all(|known| known.path != path) {
                state.replaced.push(Replaced { since, path });
            }
        }
    }

    /// Takes out the replaced files that no reader has any more.
    pub(crate) fn take_unread(&self) -> Vec<Replaced> {
        let mut state = self.lock();
        let read = state.older.iter().filter_map(Weak::upgrade).map(|version| version.version).min();
        let (unread, kept) = std::mem::take(&mut state.replaced)
            .into_iter()
            .partition(|file| read.is_none_or(|version| file.since <= version));
        state.replaced = kept;
        unread
    }

    /// Puts back what could not be removed.
    pub(crate) fn put_back(&self, files: Vec<Replaced>) {
        self.lock().replaced.extend(files);
    }

    /// How many replaced files are still there.
    pub(crate) fn still_there(&self) -> usize {
        self.lock().replaced.len()
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
