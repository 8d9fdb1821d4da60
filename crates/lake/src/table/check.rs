//! Compares every file of the table with the digest that was written with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::storage;
use crate::table::leftover::Crash;
use crate::table::sidecar::{self, Entry, Sha};

/// How far [`check_files`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// Files that were compared.
    pub files: u64,
    /// Files that there are to compare.
    pub of_files: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// A file of the lake that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    /// The file, relative to the table's folder.
    pub path: String,
    /// What is wrong with it.
    pub kind: FileProblemKind,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileProblemKind {
    /// Its bytes are not those that were written.
    Changed,
    /// It is gone.
    Missing,
    /// The lake has not written it, or what was known of it is gone.
    Unlisted,
    /// The program stopped while it was being written, or before it was listed. The next start puts that right; the rows
    /// are in the log, or in the files whose place it was to take.
    Unfinished,
    /// It cannot be read, or it lists digests and is damaged itself.
    Unreadable(String),
}

impl std::fmt::Display for FileProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, kind } = self;
        match kind {
            FileProblemKind::Changed => write!(f, "{path} has changed: its bytes are not those that were written"),
            FileProblemKind::Missing => write!(f, "{path} is missing"),
            FileProblemKind::Unlisted => {
                write!(f, "{path} is not a file that the lake has written, or its digest is gone")
            }
            FileProblemKind::Unfinished => write!(f, "{path} was being written when the program stopped"),
            FileProblemKind::Unreadable(why) => write!(f, "{path} cannot be read: {why}"),
        }
    }
}

impl FileProblem {
    /// In a table that was put right when it was opened, nothing is unfinished.
    pub(crate) fn finished(&mut self) {
        if self.kind == FileProblemKind::Unfinished {
            self.kind = FileProblemKind::Unlisted;
        }
    }
}

/// What there was to compare at one moment: later changes of the table do not disturb the comparison.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    digests: BTreeMap<String, Sha>,
    /// Files that a later version took out of the table.
    removed: BTreeSet<String>,
    problems: BTreeSet<FileProblem>,
}

impl Plan {
    /// Reads the sidecars and lists the files. Nothing may be sealed meanwhile; `unfinished` may be written.
    pub(crate) fn new(root: &Path, unfinished: Option<&str>) -> Result<Self> {
        let mut plan = Self::default();
        let present = storage::files(root)?;
        let (sidecars, others): (Vec<_>, Vec<_>) = present.into_iter().partition(|path| is_sidecar(path));
        for path in &sidecars {
            plan.add_sidecar(root, path)?;
        }
        let is_known =
            |path: &String| plan.digests.contains_key(path) || unfinished.is_some_and(|u| path.starts_with(u));
        let unknown: Vec<_> = others.into_iter().filter(|path| !is_known(path)).collect();
        let crash = Crash::new(root, plan.digests.keys(), &sidecars, &unknown);
        for path in unknown {
            let is_left = crash.can_have_left(&path);
            plan.report(path, if is_left { FileProblemKind::Unfinished } else { FileProblemKind::Unlisted });
        }
        plan.look_for_gaps(&sidecars);
        // Those that are still there are compared like all others.
        let gone: Vec<_> = plan.removed.iter().filter(|path| !root.join(path).exists()).cloned().collect();
        for path in gone {
            plan.digests.remove(&path);
        }
        Ok(plan)
    }

    fn add_sidecar(&mut self, root: &Path, path: &str) -> Result<()> {
        match sidecar::read(&root.join(path)) {
            Ok(listing) => {
                self.digests.extend(listing.entries.into_iter().map(|Entry { digest, path }| (path, digest)));
                self.removed.extend(listing.removed);
            }
            Err(Error::Corrupt { problem, .. }) => self.report(path.to_owned(), FileProblemKind::Unreadable(problem)),
            Err(Error::Io { source, .. }) => {
                self.report(path.to_owned(), FileProblemKind::Unreadable(source.to_string()));
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    /// Versions are numbered without gaps, and so are their sidecars.
    fn look_for_gaps(&mut self, sidecars: &[String]) {
        for version in 0..sidecars.len() as u64 {
            let path = sidecar::path(version);
            if sidecars.binary_search(&path).is_err() {
                self.report(path, FileProblemKind::Missing);
            }
        }
    }

    fn report(&mut self, path: String, kind: FileProblemKind) {
        self.problems.insert(FileProblem { path, kind });
    }

    /// Reads every file. Says how far it is after each.
    pub(crate) fn compare(mut self, root: &Path, mut progress: impl FnMut(CheckProgress)) -> Vec<FileProblem> {
        let mut done = CheckProgress { files: 0, of_files: self.digests.len() as u64, bytes: 0 };
        for (path, digest) in std::mem::take(&mut self.digests) {
            let place = root.join(&path);
            done.files += 1;
            done.bytes += place.metadata().map_or(0, |metadata| metadata.len());
            match storage::digest(&place) {
                Ok(found) if found == digest => {}
                Ok(_) => self.report(path, FileProblemKind::Changed),
                // What was taken out of the table may go at any time.
                Err(e) if e.kind() == io::ErrorKind::NotFound && self.removed.contains(&path) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => self.report(path, FileProblemKind::Missing),
                Err(e) => self.report(path, FileProblemKind::Unreadable(e.to_string())),
            }
            progress(done);
        }
        self.problems.into_iter().collect()
    }
}

fn is_sidecar(path: &str) -> bool {
    path.strip_prefix(sidecar::FOLDER).is_some_and(|name| name.ends_with(".sha256"))
}

/// Compares every file of the table in the folder `table` with the digest that was written with it, and reports each
/// that has changed, is missing, or is there without having been written by the lake. `progress` is called after each
/// file. Blocks; for a lake that is open use [`Lake::check_files`](crate::Lake::check_files).
pub fn check_files(table: &Path, progress: impl FnMut(CheckProgress)) -> Result<Vec<FileProblem>> {
    Ok(Plan::new(table, None)?.compare(table, progress))
}
