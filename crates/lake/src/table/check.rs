//! Compares every file of the table with the digest that was written with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures::{StreamExt, stream};

use crate::error::{Error, Result};
use crate::storage::{Home, Sha, Storage};
use crate::table::leftover::Crash;
use crate::table::sidecar::{self, Entry, Listing};

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
    pub(crate) async fn new(storage: &dyn Storage, unfinished: Option<&str>) -> Result<Self> {
        let mut plan = Self::default();
        let present = storage.files("").await?;
        let (sidecars, others): (Vec<_>, Vec<_>) = present.iter().cloned().partition(|path| is_sidecar(path));
        let reading: Vec<_> = sidecars.iter().map(|path| sidecar::read(storage, path)).collect();
        let mut listings = stream::iter(reading).buffered(storage.at_once());
        for path in &sidecars {
            let Some(listing) = listings.next().await else { break };
            plan.add_sidecar(path, listing)?;
        }
        drop(listings);
        let is_known =
            |path: &String| plan.digests.contains_key(path) || unfinished.is_some_and(|u| path.starts_with(u));
        let unknown: Vec<_> = others.into_iter().filter(|path| !is_known(path)).collect();
        let crash = Crash::new(storage, plan.digests.keys(), &sidecars, &unknown).await;
        for path in unknown {
            let is_left = crash.can_have_left(&path);
            plan.report(path, if is_left { FileProblemKind::Unfinished } else { FileProblemKind::Unlisted });
        }
        plan.look_for_gaps(&sidecars);
        // Those that are still there are compared like all others.
        let is_gone = |path: &&String| present.binary_search(path).is_err();
        let gone: Vec<_> = plan.removed.iter().filter(is_gone).cloned().collect();
        for path in gone {
            plan.digests.remove(&path);
        }
        Ok(plan)
    }

    fn add_sidecar(&mut self, path: &str, listing: Result<Listing>) -> Result<()> {
        match listing {
            Ok(listing) => {
                self.digests.extend(listing.entries.into_iter().map(|Entry { digest, path }| (path, digest)));
                self.removed.extend(listing.removed);
            }
            Err(Error::Corrupt { problem, .. }) => self.report(path.to_owned(), FileProblemKind::Unreadable(problem)),
            Err(error @ Error::Io { .. }) => self.report(path.to_owned(), FileProblemKind::Unreadable(why(&error))),
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
    pub(crate) async fn compare(
        mut self,
        storage: &dyn Storage,
        mut progress: impl FnMut(CheckProgress),
    ) -> Vec<FileProblem> {
        let mut done = CheckProgress { files: 0, of_files: self.digests.len() as u64, bytes: 0 };
        let digests = std::mem::take(&mut self.digests);
        let read = async |path: String, digest| {
            let found = storage.digest(&path).await;
            (path, digest, found)
        };
        let reading: Vec<_> = digests.into_iter().map(|(path, digest)| read(path, digest)).collect();
        let mut read = stream::iter(reading).buffered(storage.at_once());
        while let Some((path, digest, found)) = read.next().await {
            done.files += 1;
            match found {
                Ok(Some((size, found))) => {
                    done.bytes += size;
                    if found != digest {
                        self.report(path, FileProblemKind::Changed);
                    }
                }
                // What was taken out of the table may go at any time.
                Ok(None) if self.removed.contains(&path) => {}
                Ok(None) => self.report(path, FileProblemKind::Missing),
                Err(error) => self.report(path, FileProblemKind::Unreadable(why(&error))),
            }
            progress(done);
        }
        self.problems.into_iter().collect()
    }
}

fn is_sidecar(path: &str) -> bool {
    path.strip_prefix(sidecar::FOLDER).is_some_and(|name| name.ends_with(".sha256"))
}

/// Without the path, which the problem names.
fn why(error: &Error) -> String {
    match error {
        Error::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// Where the table of the lake in the folder `dir` is: a folder, or a bucket and a prefix.
pub fn table_place(dir: &Path) -> Result<String> {
    Ok(Home::find(dir, None)?.place())
}

/// Compares every file of the lake in the folder `dir`, wherever its table is, with the digest that was written with it,
/// and reports each that has changed, is missing, or is there without having been written by the lake. `progress` is
/// called after each file. For a lake that is open use [`Lake::check_files`](crate::Lake::check_files).
pub async fn check_files(dir: &Path, progress: impl FnMut(CheckProgress)) -> Result<Vec<FileProblem>> {
    let storage = Home::find(dir, None)?.storage()?;
    if !storage.is_there() {
        return Ok(Vec::new());
    }
    Ok(Plan::new(storage.as_ref(), None).await?.compare(storage.as_ref(), progress).await)
}
