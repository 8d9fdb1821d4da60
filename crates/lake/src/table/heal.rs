//! What a crash between two steps of a seal leaves behind, put right when the table is opened. The steps are: the data
//! file, the commit, a checkpoint if one is due, the sidecar.

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
            Ok(entries) => {
                entries.iter().filter(|e| e.path.starts_with("_delta_log/")).try_for_each(|e| compare(root, e))?;
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

fn checkpoint_version(path: &str) -> Option<u64> {
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
    for path in added_by(table, version)? {
        entries.push(table.entry(path)?);
    }
    if version == 0 {
        // The table was created just now, or a moment before the program stopped.
        return sidecar::write(&table.root, version, &entries);
    }
    tracing::warn!(version, "the digests of the last version of the table were not written; computed them again");
    sidecar::write(&table.root, version, &entries)
}

/// The data files that a commit has added.
fn added_by(table: &Table, version: u64) -> Result<Vec<String>> {
    let place = table.root.join(commit_path(version));
    let commit = std::fs::read_to_string(&place).map_err(Error::io(&place))?;
    let actions = commit.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let paths = actions.filter_map(|action| action["add"]["path"].as_str().map(str::to_owned));
    // Data files are named so that there is nothing to escape in their paths.
    Ok(paths.collect())
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
