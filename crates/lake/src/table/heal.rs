//! What a crash between two steps of a seal leaves behind, put right when the table is opened. The steps are: the data
//! file, the commit, a checkpoint if one is due, the sidecar; where files take the place of others, then these go.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, Result};
use crate::storage::{self, Storage};
use crate::table::{LAST_CHECKPOINT, Sealed, Table, commit_path, files, sidecar};

/// A crash in the middle of a checkpoint, or before the sidecar of its version: the checkpoint goes, since it may be
/// torn, and is not needed. So do the remains of a commit that never got its name.
pub(super) async fn before_opening(storage: &dyn Storage) -> Result<()> {
    let present = storage.files("").await?;
    for path in present.iter().filter(|path| path.starts_with("_delta_log/")) {
        let without_sidecar = checkpoint_version(path).is_some_and(|v| !present.contains(&sidecar::path(v)));
        if without_sidecar || path == LAST_CHECKPOINT || storage::is_unfinished(path) {
            tracing::warn!(%path, "removing a file of the Delta log that was being written when the program stopped");
            clear(storage, path).await?;
        }
    }
    Ok(())
}

/// Refuses a Delta log in which a file has changed since it was written: from the last checkpoint on, which is what the
/// table is about to be opened from. `check_files` compares the rest.
pub(super) async fn compare_log(storage: &dyn Storage) -> Result<()> {
    let present = storage.files("").await?;
    let checkpoint = present.iter().filter_map(|path| checkpoint_version(path)).max().unwrap_or(0);
    let from = sidecar::path(checkpoint);
    let sidecars = present.iter().filter(|path| **path >= from && path.starts_with(sidecar::FOLDER));
    let comparing: Vec<_> = sidecars.map(|path| compare_listed(storage, path)).collect();
    stream::iter(comparing).buffered(storage.at_once()).try_collect().await
}

/// The files of the Delta log that a sidecar lists.
async fn compare_listed(storage: &dyn Storage, path: &str) -> Result<()> {
    let listing = match sidecar::read(storage, path).await {
        Ok(listing) => listing,
        Err(away) if away.is_away() => return Err(away),
        // The table is not worse for it.
        Err(error) => {
            tracing::error!(%path, %error, "a list of digests is damaged");
            return Ok(());
        }
    };
    for entry in listing.entries.iter().filter(|entry| entry.path.starts_with("_delta_log/")) {
        let problem = match storage.digest(&entry.path).await? {
            Some((_, digest)) if digest == entry.digest => continue,
            Some(_) => "its bytes are not those that were written",
            None => "it is missing",
        };
        return Err(Error::corrupt(storage.place(&entry.path), problem));
    }
    Ok(())
}

/// Removes what is not needed. Where that is refused, by a bucket that keeps everything for a time say, it stays: the table
/// is not worse for it.
pub(super) async fn clear(storage: &dyn Storage, path: &str) -> Result<()> {
    match storage.remove(path).await {
        Err(error) if error.is_refused() => {
            tracing::error!(%error, "a file that is not needed any more cannot be removed");
            Ok(())
        }
        done => done,
    }
}

pub(super) fn checkpoint_version(path: &str) -> Option<u64> {
    let (version, rest) = path.strip_prefix("_delta_log/")?.split_once('.')?;
    rest.starts_with("checkpoint.").then(|| version.parse().ok()).flatten()
}

/// A crash between a commit and its sidecar: the sidecar is made up for from what is on the disk. Only the last version
/// can be in that state; `check_files` names any other.
pub(super) async fn sidecar(table: &Table) -> Result<()> {
    let version = table.state.version();
    let storage = table.storage.as_ref();
    if !storage.files(&sidecar::path(version)).await?.is_empty() {
        return Ok(());
    }
    let mut entries = table.log_entries(version).await?;
    let (added, removed) = data_files_of(storage, version).await?;
    for path in added {
        entries.push(table.entry(path).await?);
    }
    if version > 0 {
        tracing::warn!(version, "the digests of the last version of the table were not written; computed them again");
    }
    // At version 0 the table was created just now, or a moment before the program stopped.
    sidecar::write(storage, version, &sidecar::Listing { entries, removed }).await
}

/// The data files that a commit has added, and those that it has removed.
pub(super) async fn data_files_of(storage: &dyn Storage, version: u64) -> Result<(Vec<String>, Vec<String>)> {
    let path = commit_path(version);
    let commit = storage.read(&path).await?.ok_or_else(|| Error::corrupt(storage.place(&path), "it is missing"))?;
    let commit = String::from_utf8_lossy(&commit);
    let actions: Vec<serde_json::Value> = commit.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // Data files are named so that there is nothing to escape in their paths.
    let paths = |kind: &str| actions.iter().filter_map(|a| a[kind]["path"].as_str().map(str::to_owned)).collect();
    Ok((paths("add"), paths("remove")))
}

/// A crash between a data file and its commit: the file goes, its rows are still in the log, which the caller has made
/// sure of. Nothing else is touched, least of all files of another writer.
pub(super) async fn orphans(storage: &dyn Storage, sealed: &Sealed) -> Result<()> {
    for path in storage.files("").await? {
        let data = files::first_leaf(&sealed.origin, &path) == Some(sealed.cursor);
        let sidecar = path.starts_with(sidecar::FOLDER) && storage::is_unfinished(&path);
        if data || sidecar {
            tracing::warn!(%path, "removing a file that was being written when the program stopped");
            clear(storage, &path).await?;
        }
    }
    Ok(())
}

/// A crash around the replacement of data files: a new file that no version has goes, and so does an old one that the
/// table does not have any more. Only while every file that the table has is there: if its log is not the newest, what
/// looks like a leftover may hold the only copy of a record.
pub(super) async fn leftovers(storage: &dyn Storage, sealed: &Sealed) -> Result<Vec<String>> {
    let own = sealed.own_files();
    let active: HashSet<&str> = own.iter().map(|file| file.path.as_ref()).collect();
    let is_left = |path: &str| {
        files::first_leaf(&sealed.origin, path).is_some_and(|first| first < sealed.cursor) && !active.contains(path)
    };
    let present: HashSet<String> = storage.files("").await?.into_iter().collect();
    let mut left: Vec<_> = present.iter().filter(|path| is_left(path)).cloned().collect();
    left.sort();
    if left.is_empty() {
        return Ok(left);
    }
    if let Some(missing) = own.iter().find(|file| !present.contains(file.path.as_ref())) {
        tracing::error!(path = %missing.path, files = left.len(), "a data file is missing, so files that the table does not have are left alone");
        return Ok(Vec::new());
    }
    Ok(left)
}
