//! The thread that indexes sealed files in the background, at the lowest priority.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;

use super::layout::Covered;
use super::write::{IndexWriter, PART_BYTES};
use crate::background::Background;
use crate::error::Result;
use crate::lake::Lake;
use crate::table::DataFile;

/// While calls are under way, indexing rests so long after each few hundred rows, some ten milliseconds of work.
const REST: Duration = Duration::from_millis(20);
/// After a failure the next try waits for so long.
const PAUSE: Duration = Duration::from_secs(10);

/// The indexing thread of a lake. Stops when it is dropped.
#[derive(Debug)]
pub struct Indexer(Background);

impl Indexer {
    /// Starts the thread, which looks for files without an index every so often.
    pub fn start(lake: Lake, every: Duration) -> Result<Self> {
        let work = move |stopped| async move {
            tokio::select! {
                biased;
                _ = stopped => {}
                () = work(&lake, every) => {}
            }
        };
        Background::start("lake-indexer", work).map(Self)
    }

    /// Stops the thread in the middle of what it does; what it was writing goes at the next start.
    pub fn stop(self) {
        drop(self.0);
    }
}

async fn work(lake: &Lake, every: Duration) {
    let mut pause = every;
    loop {
        tokio::time::sleep(pause).await;
        pause = match lake.index().await {
            Ok(_) => every,
            Err(error) => {
                tracing::error!(%error, "a search index could not be built, trying again; searches are slower meanwhile");
                PAUSE.max(every)
            }
        };
    }
}

impl Lake {
    /// Removes damaged indexes and builds all that are not there. Gives the number of files that were indexed.
    pub async fn mend_indexes(&self) -> Result<usize> {
        self.inner.indexes.remove_damaged(&self.inner.versions.current().files)?;
        self.index().await
    }

    /// Indexes every sealed file that has no index, the newest first. Gives the number of files that were indexed.
    pub async fn index(&self) -> Result<usize> {
        let _only_one = self.inner.indexes.building.lock().await;
        let coming = self.unfinished().clone();
        self.inner.indexes.retain(&self.inner.versions.current().files, coming.as_deref())?;
        let (mut done, mut tried) = (0, HashSet::new());
        loop {
            // Held so that the file stays there while it is read; and that what is written of a file that is replaced
            // meanwhile is there before the file is removed, with which it goes.
            let sealed = self.inner.versions.current();
            let mut missing = sealed.files.iter().rev().filter(|file| self.lacks_index(file));
            let Some(file) = missing.find(|file| tried.insert(file.path.clone())) else { return Ok(done) };
            done += usize::from(self.index_file(file, sealed.version).await?);
        }
    }

    fn lacks_index(&self, file: &DataFile) -> bool {
        self.inner.indexes.place(file).is_some() && !self.inner.indexes.has(file)
    }

    /// False if the file was replaced meanwhile, or does not have the rows that it should.
    async fn index_file(&self, file: &DataFile, version: u64) -> Result<bool> {
        let Some(place) = self.inner.indexes.place(file) else { return Ok(false) };
        let folder = place.parent().unwrap_or(Path::new("."));
        crate::storage::create_folder(folder)?;
        let mut writer = IndexWriter::create(&place, Covered::of(file), self.inner.options.index_part_bytes)?;
        let mut rows = self.read_file(file, 0, u64::MAX).await?;
        while let Some(rows) = rows.try_next().await? {
            if self.is_replaced(file, version) {
                // Whoever erases from it waits for us.
                return Ok(false);
            }
            writer.add(&rows, &place)?;
            if self.inner.log.calls_under_way() > 0 {
                tokio::time::sleep(REST).await;
            }
        }
        let whole = writer.finish(&place)?;
        if whole {
            tracing::debug!(file = %file.path, "indexed");
        } else {
            tracing::error!(file = %file.path, "a data file does not have the rows that the table says; it is not indexed");
        }
        Ok(whole)
    }

    /// Whether a file of that version is one no more.
    fn is_replaced(&self, file: &DataFile, version: u64) -> bool {
        let sealed = self.inner.versions.current();
        sealed.version != version && sealed.files.iter().all(|current| current.path != file.path)
    }
}

/// The memory for a part of an index, as the lake is opened with if it is not told otherwise.
pub(crate) const DEFAULT_PART_BYTES: usize = PART_BYTES;
