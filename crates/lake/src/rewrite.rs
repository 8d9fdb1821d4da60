//! Puts a data file in the place of others that hold the same leaves: compaction makes large files of small ones,
//! erasure leaves parts of rows out. The new file is proved against the tree before the table knows of it, and the old
//! ones go only after that, when nobody reads them any more.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use onrecord_ledger::Committed;

use crate::data_file::{DataFileWriter, Written};
use crate::error::{Error, Result};
use crate::lake::{Lake, blocking_while_awaited};
use crate::row::date_of_text;
use crate::seal::{Step, now_ms};
use crate::snapshot::{Replaced, Versions};
use crate::table::DataFile;
use crate::table::files::{self, Attempt};

/// What becomes of rows on their way into another file.
pub(crate) trait Change: Send {
    /// Changes a row so that its leaf stays the same.
    fn change(&mut self, row: &mut Committed);

    /// True if something is lost on purpose, which readers of the table's changes must look at.
    fn erases(&self) -> bool;

    /// Called after some rows: work that can wait gives way here.
    fn pause(&self) -> Option<Duration> {
        None
    }
}

/// What a replacement has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// Size of the new file in bytes.
    pub(crate) bytes: u64,
    /// The version of the table that it came with.
    pub(crate) version: u64,
}

impl Lake {
    /// Puts one file in the place of `old`: files of this writer and of one day, each beginning where the one before it
    /// ends. Whoever calls this holds `rewriting`.
    ///
    /// In this order: the new file is durable; every leaf hash of what can be read back from it is that of the tree; its
    /// search index is there, if the old files have theirs ([`Step::DataFile`]); the version with it and without the old
    /// ones is durable ([`Step::Commit`]); so are its digests ([`Step::Sidecar`]); the old files go. Until the commit the
    /// old files are the table's, from then on the new one is, and whatever a crash leaves of the other goes at the next
    /// start.
    pub(crate) async fn rewrite(&self, old: &[Arc<DataFile>], change: &mut dyn Change) -> Result<Rewritten> {
        let inner = &*self.inner;
        if self.unfinished().is_some() {
            self.clear_leftovers().await?;
        }
        let written = self.write_anew(old, change).await?;
        if let Err(error) = self.prove(&written).await {
            inner.storage.remove(&written.entry.path).await?;
            *self.unfinished() = None;
            return Err(error);
        }
        let bytes = written.bytes;
        if !change.erases() {
            self.join_indexes(old, &written).await;
        }
        inner.crash_after(Step::DataFile)?;
        let (mut slot, mut table) = inner.take_table().await?;
        let removed: Vec<String> = old.iter().map(|file| file.path.to_string()).collect();
        let added = written.entry.path.clone();
        let version = table.replace(old, written.add, change.erases()).await?;
        inner.crash_after(Step::Commit)?;
        table.conclude(&[written.entry], removed.clone()).await?;
        inner.crash_after(Step::Sidecar)?;
        inner.versions.publish(table.sealed().await?);
        // Only now: whoever removes stray indexes must know the new file by one of the two.
        *self.unfinished() = None;
        *slot = Some(table);
        drop(slot);
        tracing::debug!(removed = removed.len(), added, "data files were replaced");
        inner.versions.replaced(removed);
        // They are the table's no more, so nothing but their space waits for the next try.
        if let Err(error) = self.remove_unread().await {
            tracing::warn!(%error, "data files that were replaced are still there; trying again");
        }
        Ok(Rewritten { bytes, version })
    }

    async fn write_anew(&self, old: &[Arc<DataFile>], change: &mut dyn Change) -> Result<Written> {
        let inner = &*self.inner;
        let attempt = Attempt::from(inner.versions.current().version);
        let (Some(first), Some(last)) = (old.first(), old.last()) else {
            return Err(Error::corrupt("a replacement", "of no file"));
        };
        let leaves = first.leaves.start..last.leaves.end;
        let noon = i64::from(date_of_text(&first.commit_date)?) * 86_400_000_000;
        *self.unfinished() = Some(files::path(&inner.origin, &first.commit_date, &leaves, Some(attempt)));
        let mut file = DataFileWriter::create(&inner.storage, &inner.origin, leaves.clone(), noon, Some(attempt))?;
        for from in old {
            let mut batches = self.read_file(from, from.leaves.start, from.leaves.end).await?;
            while let Some(mut rows) = batches.try_next().await? {
                for row in &mut rows {
                    change.change(row);
                }
                let in_order = rows.iter().zip(file.end()..).all(|(row, index)| row.index == index);
                if !in_order || file.add(&rows)? < rows.len() {
                    return Err(Error::corrupt(&from.path, format!("the rows after leaf {} do not fit", file.end())));
                }
                if let Some(pause) = change.pause() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
        if file.end() != leaves.end {
            return Err(Error::corrupt(&last.path, format!("it ends at leaf {}, not {}", file.end(), leaves.end)));
        }
        file.finish(now_ms()).await
    }

    /// Sees to it that what a replacement that failed has left goes, once nobody reads it. Whoever calls this holds
    /// `rewriting`.
    pub(crate) async fn clear_leftovers(&self) -> Result<()> {
        let inner = &*self.inner;
        // What a failed commit has come to is known when the table was opened again.
        let (mut slot, table) = inner.take_table().await?;
        let left = table.leftovers().await;
        *slot = Some(table);
        inner.versions.replaced(left?);
        *self.unfinished() = None;
        drop(slot);
        self.remove_unread().await.map(|_| ())
    }

    /// Puts the indexes of the old files together for the new one. Where that cannot be, the new file is indexed once the
    /// table knows of it.
    async fn join_indexes(&self, old: &[Arc<DataFile>], written: &Written) {
        let (lake, old, new) = (self.clone(), old.to_vec(), DataFile::of(&written.add, written.leaves.clone()));
        let joined = blocking_while_awaited(move |awaited| lake.inner.indexes.join(&old, &new?, awaited)).await;
        if let Err(error) = joined {
            tracing::warn!(%error, "search indexes cannot be put together; the new data file is indexed anew");
        }
    }

    pub(crate) fn unfinished(&self) -> MutexGuard<'_, Option<String>> {
        self.inner.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the new file back and compares every leaf hash with the tree.
    async fn prove(&self, written: &Written) -> Result<()> {
        let file = DataFile::of(&written.add, written.leaves.clone())?;
        let (mut next, until) = (file.leaves.start, file.leaves.end);
        let mut batches = self.read_file(&file, next, until).await?;
        while let Some(rows) = batches.try_next().await? {
            let hashes = self.inner.log.leaf_hashes(next, rows.len()).map_err(Error::Log)?;
            for (row, hash) in rows.iter().zip(&hashes) {
                if row.index != next || row.leaf().hash() != *hash {
                    let problem = format!("leaf {next} is not what the tree says; the files that it is made of stay");
                    return Err(Error::corrupt(&file.path, problem));
                }
                next += 1;
            }
        }
        if next == until { Ok(()) } else { Err(Error::corrupt(&file.path, format!("it ends before leaf {next}"))) }
    }

    /// Removes the replaced files that nobody reads any more, with the index of each. Gives how many are still there.
    pub async fn remove_unread(&self) -> Result<usize> {
        let _one = self.inner.removing.lock().await;
        let mut files = Unread { versions: &self.inner.versions, files: self.inner.versions.take_unread() };
        while let Some(file) = files.files.last() {
            // The index first: without its data file nothing would remind of it.
            self.inner.indexes.remove(&file.path)?;
            self.inner.storage.remove(&file.path).await?;
            files.files.pop();
        }
        drop(files);
        Ok(self.inner.versions.still_there())
    }
}

/// Files that are being removed. What is left of them goes back when the work fails, or is dropped in the middle of it.
struct Unread<'v> {
    versions: &'v Versions,
    files: Vec<Replaced>,
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        self.versions.put_back(std::mem::take(&mut self.files));
    }
}
