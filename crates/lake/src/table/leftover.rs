//! What a crash can have left in the table's folder without its being listed, told from what came from elsewhere. It is what
//! `heal` puts right, read from names and commits alone, so that a table that does not open can be judged too.

use std::collections::{BTreeMap, BTreeSet};

use super::{LAST_CHECKPOINT, commit_path, files, heal, sidecar};
use crate::storage::{self, Storage};

/// The state that the last crash can have left.
pub(super) struct Crash {
    /// The last version, if its sidecar was never written: the files that came with it.
    last: BTreeSet<String>,
    /// By the prefix of each writer, where its next data file begins.
    next: BTreeMap<String, u64>,
    /// Versions that have a sidecar.
    sidecars: BTreeSet<String>,
}

impl Crash {
    pub(super) async fn new<'p>(
        storage: &dyn Storage,
        known: impl Iterator<Item = &'p String>,
        sidecars: &[String],
        unknown: &[String],
    ) -> Self {
        let sidecars: BTreeSet<_> = sidecars.iter().cloned().collect();
        // Only the version behind the last sidecar can lack one.
        let version = sidecars.len() as u64;
        let before = version.checked_sub(1).is_none_or(|before| sidecars.contains(&sidecar::path(before)));
        let commit = commit_path(version);
        let mut last = BTreeSet::new();
        if before && unknown.contains(&commit) && !unknown.contains(&commit_path(version + 1)) {
            let added = heal::data_files_of(storage, version).await.map(|(added, _)| added);
            last = added.unwrap_or_default().into_iter().chain([commit]).collect();
        }
        let mut next = BTreeMap::<_, u64>::new();
        for (writer, leaves, _) in
            known.filter_map(|path| files::parse(path)).chain(last.iter().filter_map(|path| files::parse(path)))
        {
            let next = next.entry(writer.to_owned()).or_default();
            *next = leaves.end.max(*next);
        }
        Self { last, next, sidecars }
    }

    pub(super) fn can_have_left(&self, path: &str) -> bool {
        let checkpoint = heal::checkpoint_version(path);
        let unlisted = |version| !self.sidecars.contains(&sidecar::path(version));
        storage::is_unfinished(path)
            || path == LAST_CHECKPOINT
            || self.last.contains(path)
            || checkpoint.is_some_and(unlisted)
            || files::parse(path).is_some_and(|(writer, leaves, replaces)| {
                let next = self.next.get(writer).copied().unwrap_or_default();
                // A data file without its commit, or one that was to take the place of others.
                (!replaces && leaves.start == next) || (replaces && leaves.end <= next)
            })
    }
}
