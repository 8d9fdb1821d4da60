//! The folder of the indexes: one file for each data file that is indexed. All of it can be removed at any time; then
//! searches are slower until it is there again.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::layout::Covered;
use super::lookup::Conditions;
use super::merge;
use super::read::Index;
use crate::error::Result;
use crate::lake::Awaited;
use crate::storage;
use crate::table::DataFile;

/// The end of the name of an index.
const SUFFIX: &str = ".search";
/// Bytes of the footers that are kept open at most. That of a file of 64 MiB has about 50 KB.
const OPEN_BYTES: usize = 16 << 20;

/// The indexes there are.
#[derive(Debug)]
pub(crate) struct Indexes {
    /// Without one nothing is indexed.
    folder: Option<PathBuf>,
    open: Mutex<Open>,
    /// Whoever has it may index files, and remove what belongs to none. Who puts data files in the place of others adds the
    /// index of the new one without it.
    pub(super) building: tokio::sync::Mutex<()>,
}

/// What was opened, by the path of the data file.
#[derive(Debug, Default)]
struct Open {
    indexes: HashMap<String, Arc<Index>>,
    /// Bytes of their footers. In memory that is some times as much.
    bytes: usize,
    /// Of these data files there are good indexes, open or not.
    good: HashSet<String>,
}

impl Indexes {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, open: Mutex::default(), building: tokio::sync::Mutex::default() }
    }

    /// The place of the index of a data file.
    pub(super) fn place(&self, file: &DataFile) -> Option<PathBuf> {
        self.place_of(file.path.as_ref())
    }

    fn place_of(&self, path: &str) -> Option<PathBuf> {
        let name = path.rsplit('/').next()?;
        Some(self.folder.as_ref()?.join(format!("{name}{SUFFIX}")))
    }

    /// The index of a data file, if there is a good one.
    pub(super) fn get(&self, file: &DataFile) -> Option<Arc<Index>> {
        let mut open = self.lock();
        if let Some(index) = open.indexes.get(file.path.as_ref()).map(Arc::clone) {
            if index.place().exists() {
                return Some(index);
            }
            // Somebody has removed the folder.
            open.forget(file.path.as_ref());
            return None;
        }
        let place = self.place(file)?;
        match Index::open(&place, &Covered::of(file)) {
            Ok(index) => {
                let index = Arc::new(index);
                open.add(file.path.as_ref(), &index);
                Some(index)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                drop(open);
                self.bad(file, &error);
                None
            }
        }
    }

    /// The rows of a data file that may fulfil the conditions, in order, as its index says. `None` if it says nothing.
    pub(crate) fn rows(&self, file: &DataFile, conditions: &Conditions) -> Option<Vec<Range<usize>>> {
        match conditions.rows(&*self.get(file)?) {
            Ok(rows) => rows,
            Err(error) => {
                self.bad(file, &error);
                None
            }
        }
    }

    /// Whether there is a good one.
    pub(super) fn has(&self, file: &DataFile) -> bool {
        let is_known = self.lock().good.contains(file.path.as_ref());
        if is_known && self.place(file).is_some_and(|place| place.exists()) {
            return true;
        }
        self.get(file).is_some()
    }

    /// Reads every byte of the index of each of these files. Gives the files without a good one, with what is wrong with it
    /// if there is one.
    pub(crate) fn check(&self, files: &[Arc<DataFile>]) -> Vec<(String, Option<String>)> {
        let mut bad = Vec::new();
        for file in files {
            let Some(place) = self.place(file) else { continue };
            match Index::open(&place, &Covered::of(file)).and_then(|index| index.check()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => bad.push((file.path.to_string(), None)),
                Err(error) => bad.push((file.path.to_string(), Some(error.to_string()))),
            }
        }
        bad
    }

    /// Removes the indexes that [`check`](Self::check) finds damaged.
    pub(crate) fn remove_damaged(&self, files: &[Arc<DataFile>]) -> Result<()> {
        let damaged = self.check(files).into_iter().filter_map(|(path, damage)| damage.map(|_| path));
        damaged.into_iter().try_for_each(|path| self.remove(&path))
    }

    /// An index that is damaged is no index; it is made again.
    pub(super) fn bad(&self, file: &DataFile, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            // It was removed, or the data file was replaced.
            self.lock().forget(file.path.as_ref());
            return;
        }
        tracing::warn!(file = %file.path, %error, "a search index is damaged; it is built again");
        if let Err(error) = self.remove(file.path.as_ref()) {
            tracing::warn!(%error, "a damaged search index cannot be removed");
        }
    }

    /// Removes the index of the data file at `path`, relative to the table's folder, and what there is of one that is
    /// not complete: nothing of what is erased from the file may stay behind.
    pub(crate) fn remove(&self, path: &str) -> Result<()> {
        self.lock().forget(path);
        let Some(place) = self.place_of(path) else { return Ok(()) };
        let places = [storage::unfinished(&place), place];
        places.iter().try_for_each(|place| remove(place))
    }

    /// Makes the index of a data file of those of the files that it was made of, in their order. False if not all of them
    /// have one.
    pub(crate) fn join(&self, old: &[Arc<DataFile>], new: &DataFile, awaited: &Awaited) -> Result<bool> {
        let Some(place) = self.place(new) else { return Ok(false) };
        let Some(old) = old.iter().map(|file| self.get(file)).collect::<Option<Vec<_>>>() else { return Ok(false) };
        merge::merge(&place, Covered::of(new), &old, awaited)
    }

    /// Removes what is not an index of these files, nor of the data file `coming` that is to take the place of some: of
    /// files that were replaced, and what was being written.
    pub(crate) fn retain(&self, files: &[Arc<DataFile>], coming: Option<&str>) -> Result<()> {
        let Some(folder) = self.folder.as_ref().filter(|folder| folder.exists()) else { return Ok(()) };
        let paths: HashSet<_> = files.iter().map(|file| file.path.as_ref()).collect();
        self.lock().retain(&paths);
        let mut places: HashSet<_> = files.iter().filter_map(|file| self.place(file)).collect();
        if let Some(place) = coming.and_then(|path| self.place_of(path)) {
            places.insert(storage::unfinished(&place));
            places.insert(place);
        }
        for name in storage::files(folder)? {
            let place = folder.join(&name);
            let ours = name.ends_with(SUFFIX) || storage::is_unfinished(&name);
            if ours && !places.contains(&place) {
                remove(&place)?;
            }
        }
        Ok(())
    }

    /// As a new start of the program would.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        *self.lock() = Open::default();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn add(&mut self, path: &str, index: &Arc<Index>) {
        if self.bytes + index.footer_bytes() > OPEN_BYTES {
            self.indexes.clear();
            self.bytes = 0;
        }
        self.bytes += index.footer_bytes();
        self.indexes.insert(path.to_owned(), Arc::clone(index));
        self.good.insert(path.to_owned());
    }

    fn forget(&mut self, path: &str) {
        self.good.remove(path);
        self.bytes -= self.indexes.remove(path).map_or(0, |index| index.footer_bytes());
    }

    fn retain(&mut self, paths: &HashSet<&str>) {
        self.good.retain(|path| paths.contains(path.as_str()));
        self.indexes.retain(|path, _| paths.contains(path.as_str()));
        self.bytes = self.indexes.values().map(|index| index.footer_bytes()).sum();
    }
}

/// Somebody may have been here before.
fn remove(place: &Path) -> Result<()> {
    if !place.exists() {
        return Ok(());
    }
    storage::remove(place).or_else(|error| if place.exists() { Err(error) } else { Ok(()) })
}
