//! What a crash between two steps of a seal leaves behind, put right when the table is opened. The steps are: the data
//! file, the commit, a checkpoint if one is due, the sidecar; where files take the place of others, then these go.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, Result};
use crate::storage;
use crate::table::{LAST_CHECKPOINT, Sealed, Table, commit_path, files, sidecar};

/// A crash in the middle of a checkpoint, or before the sidecar of its version: the checkpoint goes, since it may be
/// torn, and is not needed. So do the remains of a commit that never got its name.
pub(super) fn before_opening(root: &Path) -> Result<()> {
    let present = storage::files(root)?;
    for path in present.iter().filter(|path| path.starts_with("_delta_log/")) {
        let without_sidecar = checkpoint_version(path).is_some_and(|v| !present.contains(&sidecar::path(v)));
        if without_sidecar || path == LAST_CHECKPOINT || storage::is_unfinished(path) {
            tracing::warn!(%path, "removing a file of the Delta log that was being written when the program stopped");
            storage::remove(&root.join(path))?;
        }
    }
    Ok(())
}

/// Refuses a Delta log in which a file has changed since it was written: from the last checkpoint on, which is what the
/// table is about to be opened from. `check_files` compares the rest.
pub(super) fn compare_log(root: &Path) -> Result<()> {
    let present = storage::files(root)?;
    let checkpoint = present.iter().filter_map(|path| checkpoint_version(path)).max().unwrap_or(0);
    for path in present.iter().filter(|path| **path >= sidecar::path(checkpoint) && path.starts_with(sidecar::FOLDER)) {
        match sidecar::read(&root.join(path)) {
            Ok(listing) => {
                let of_the_log = listing.entries.iter().filter(|entry| entry.path.starts_with("_delta_log/"));
                of_the_log.into_iter().try_for_each(|entry| compare(root, entry))?;
            }
            // The table is not worse for it.
            Err(error) => tracing::error!(%path, %error, "a list of digests is damaged"),
        }
    }
    Ok(())
}

fn compare(root: &Path, entry: &sidecar::Entry) -> Result<()> {
    let place = root.join(&entry.path);
    if storage::digest(&place).map_err(Error::io(&place))? == entry.digest {
        return Ok(());
    }
    Err(Error::corrupt(place.display(), "its bytes are not those that were written"))
}

pub(super) fn checkpoint_version(path: &str) -> Option<u64> {
    let (version, rest) = path.strip_prefix("_delta_log/")?.split_once('.')?;
    rest.starts_with("checkpoint.").then(|| version.parse().ok()).flatten()
}

/// A crash between a commit and its sidecar: the sidecar is made up for from what is on the disk. Only the last version
/// can be in that state; `check_files` names any other.
pub(super) fn sidecar(table: &Table) -> Result<()> {
    let version = table.state.version();
    if table.root.join(sidecar::path(version)).exists() {
        return Ok(());
    }
    let mut entries = table.log_entries(version)?;
    let (added, removed) = data_files_of(&table.root, version)?;
    for path in added {
        entries.push(table.entry(path)?);
    }
    if version > 0 {
        tracing::warn!(version, "the digests of the last version of the table were not written; computed them again");
    }
    // At version 0 the table was created just now, or a moment before the program stopped.
    sidecar::write(&table.root, version, &sidecar::Listing { entries, removed })
}

/// The data files that a commit has added, and those that it has removed.
pub(super) fn data_files_of(root: &Path, version: u64) -> Result<(Vec<String>, Vec<String>)> {
    let place = root.join(commit_path(version));
    let commit = std::fs::read_to_string(&place).map_err(Error::io(&place))?;
    let actions: Vec<serde_json::Value> = commit.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // Data files are named so that there is nothing to escape in their paths.
    let paths = |kind: &str| actions.iter().filter_map(|a| a[kind]["path"].as_str().map(str::to_owned)).collect();
    Ok((paths("add"), paths("remove")))
}

/// A crash between a data file and its commit: the file goes, its rows are still in the log, which the caller has made
/// sure of. Nothing else is touched, least of all files of another writer.
pub(super) fn orphans(root: &Path, sealed: &Sealed) -> Result<()> {
    for path in storage::files(root)? {
        let data = files::first_leaf(&sealed.origin, &path) == Some(sealed.cursor);
        let sidecar = path.starts_with(sidecar::FOLDER) && storage::is_unfinished(&path);
        if data || sidecar {
            tracing::warn!(%path, "removing a file that was being written when the program stopped");
            storage::remove(&root.join(path))?;
        }
    }
    Ok(())
}

/// A crash around the replacement of data files: a new file that no version has goes, and so does an old one that the
/// table does not have any more. Only while every file that the table has is there: if its log is not the newest, what
/// looks like a leftover may hold the only copy of a record.
pub(super) fn leftovers(root: &Path, sealed: &Sealed) -> Result<Vec<String>> {
    let own = sealed.own_files();
    let active: HashSet<&str> = own.iter().map(|file| file.path.as_ref()).collect();
    let is_left = |path: &String| {
        files::first_leaf(&sealed.origin, path).is_some_and(|first| first < sealed.cursor)
            && !active.contains(path.as_str())
    };
    let left: Vec<_> = storage::files(root)?.into_iter().filter(is_left).collect();
    if left.is_empty() {
        return Ok(left);
    }
    if let Some(missing) = own.iter().find(|file| !root.join(file.path.as_ref()).exists()) {
        tracing::error!(path = %missing.path, files = left.len(), "a data file is missing, so files that the table does not have are left alone");
        return Ok(Vec::new());
    }
    Ok(left)
}
