//! The lake: opened, asked, told to seal.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, Weak};
use std::time::SystemTime;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::sync::Mutex;
use url::Url;

use crate::error::{Error, Result};
use crate::log::Log;
use crate::search::{self, Indexes};
use crate::snapshot::{Snapshot, Versions};
use crate::sql::Engine;
use crate::storage::{self, Disk, Home, StorageRef};
use crate::table::check::{CheckProgress, FileProblem, Plan};
use crate::table::{Sealed, Table};

/// How a lake works.
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// Threads that run queries. They have a lower priority than the rest of the program.
    pub threads: usize,
    /// Where a query may put what does not fit into its memory; without a folder it fails instead.
    pub spill: Option<PathBuf>,
    /// The most that all queries together may put there, in bytes.
    pub spill_bytes: u64,
    /// Memory of the statements that say what is erased, kept or held, in bytes. Other queries bring a limit of their own.
    pub query_memory: usize,
    /// Rows of a data file at most.
    pub file_rows: u64,
    /// A data file is finished when it holds about so many bytes of payload, before compression.
    pub file_bytes: usize,
    /// Data files of at least so many bytes are large enough; smaller ones are put together.
    pub compact_from: u64,
    /// Data files are put together into files of at most about so many bytes.
    pub compact_to: u64,
    /// Where the search indexes of data files are; without a folder there are none, and searches read every row.
    pub index: Option<PathBuf>,
    /// Memory for what is written at once of an index, in bytes.
    pub index_part_bytes: usize,
    /// The bucket and prefix of the table, `s3://`, `gs://` or `az://`; without it, the table is where it was, or in the
    /// lake's folder.
    pub store: Option<Url>,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            spill: None,
            spill_bytes: 4 << 30,
            query_memory: 256 << 20,
            file_rows: 65_536,
            file_bytes: 64 << 20,
            compact_from: 128 << 20,
            compact_to: 256 << 20,
            index: None,
            index_part_bytes: search::DEFAULT_PART_BYTES,
            store: None,
        }
    }
}

/// What the lake holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LakeStats {
    /// Data files, of all writers.
    pub files: usize,
    /// Rows in them.
    pub rows: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// First leaf index that is not sealed.
    pub cursor: u64,
    /// Committed records that wait to be sealed.
    pub hot_rows: u64,
    /// Version of the Delta table.
    pub version: u64,
}

/// Sealing has failed and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standstill {
    /// When it first failed.
    pub since: SystemTime,
    /// Why it failed the last time.
    pub why: String,
}

/// The records of a log: sealed ones in a Delta table, hot ones in the log itself, and SQL over both. Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Where the table's files are.
    pub(crate) storage: StorageRef,
    pub(crate) origin: String,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) options: LakeOptions,
    pub(crate) versions: Arc<Versions>,
    pub(crate) engine: Engine,
    pub(crate) indexes: Indexes,
    /// Whoever has it may write to the table's folder. Empty after a seal that failed: what it left behind is put right
    /// by opening the table again.
    pub(crate) table: Mutex<Option<Table>>,
    /// Whoever has it may put data files in the place of others. Taken before `table`, which is free while the new ones
    /// are written.
    pub(crate) rewriting: Mutex<()>,
    /// Whoever has it removes the files that were replaced; when it is free, none is half-way gone.
    pub(crate) removing: Mutex<()>,
    /// The file that is written to take the place of others; or was, if that failed.
    pub(crate) unfinished: std::sync::Mutex<Option<String>>,
    /// Why nothing is sealed, if that is so.
    pub(crate) standstill: std::sync::Mutex<Option<Standstill>>,
    #[cfg(test)]
    pub(crate) crash_after: std::sync::Mutex<Option<crate::seal::Step>>,
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lake").field("storage", &self.inner.storage).finish_non_exhaustive()
    }
}

impl Lake {
    /// Opens the lake in the folder `dir`, which is created if it is not there, for the log of that name. One process at
    /// a time may do so, which the log's own lock makes sure of. Its table is in that folder or in a bucket
    /// ([`LakeOptions::store`]).
    ///
    /// Puts right what a crash in the middle of a seal has left behind. Refuses if the lake knows records that the log
    /// does not, if records are in neither, or if the Delta log has changed since it was written.
    pub async fn open(dir: &Path, log: Arc<dyn Log>, options: LakeOptions) -> Result<Self> {
        let origin = log.origin();
        storage::create_folder(dir)?;
        let home = Home::find(dir, options.store.as_ref())?;
        let storage = home.storage()?;
        let table = Table::open(Arc::clone(&storage), &origin).await?;
        let sealed = table.sealed().await?;
        compare(&sealed, log.as_ref())?;
        home.belongs_to(&sealed)?;
        home.note()?;
        home.remove_drafts()?;
        table.remove_orphans().await?;
        table.remove_leftovers().await?;
        if storage.keeps_what_is_removed() {
            tracing::warn!(store = %storage.place(""), "the bucket keeps old versions: what is erased is there until a lifecycle rule of the bucket removes them");
        }
        let lake = Self::over(storage, log, options, table.store(), sealed).await?;
        let Inner { indexes, versions, log, .. } = &*lake.inner;
        indexes.retain(&versions.current().files, None)?;
        log.release(versions.current().cursor);
        *lake.inner.table.lock().await = Some(table);
        Ok(lake)
    }

    /// Opens the lake in the folder `dir` as it is, to be read and nothing else: what a crash has left stays. A lake that is
    /// not there is one without sealed rows.
    pub async fn look(dir: &Path, log: Arc<dyn Log>, options: LakeOptions) -> Result<Self> {
        let storage = Home::find(dir, options.store.as_ref())?.storage()?;
        let (store, sealed): (Arc<dyn ObjectStore>, _) = if storage.is_there() {
            let (store, sealed) = Table::look(Arc::clone(&storage), &log.origin()).await?;
            compare(&sealed, log.as_ref())?;
            (store, sealed)
        } else {
            (Arc::new(InMemory::new()), Sealed::none(log.origin()))
        };
        Self::over(storage, log, options, store, sealed).await
    }

    /// The lake of a log alone, for one whose table cannot be read.
    pub async fn without_table(dir: &Path, log: Arc<dyn Log>, options: LakeOptions) -> Result<Self> {
        let sealed = Sealed::none(log.origin());
        let storage = Arc::new(Disk::new(dir.to_owned()));
        Self::over(storage, log, options, Arc::new(InMemory::new()), sealed).await
    }

    async fn over(
        storage: StorageRef,
        log: Arc<dyn Log>,
        options: LakeOptions,
        store: Arc<dyn ObjectStore>,
        sealed: Sealed,
    ) -> Result<Self> {
        let inner = Inner {
            storage,
            engine: Engine::new(&options, store).await?,
            indexes: Indexes::new(options.index.clone()),
            origin: log.origin(),
            log,
            options,
            versions: Versions::new(sealed),
            table: Mutex::new(None),
            rewriting: Mutex::new(()),
            removing: Mutex::new(()),
            unfinished: std::sync::Mutex::default(),
            standstill: std::sync::Mutex::default(),
            #[cfg(test)]
            crash_after: std::sync::Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where to go on reading when leaf `index` cannot be read: behind the data file that it is in.
    pub fn after_damage(&self, index: u64) -> u64 {
        let sealed = self.inner.versions.current();
        let file = sealed.file_from(index).filter(|file| file.leaves.contains(&index));
        file.map_or(index + 1, |file| file.leaves.end)
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// Where the Delta table is: a folder, or a bucket and a prefix.
    pub fn table_place(&self) -> String {
        self.inner.storage.place("")
    }

    /// Whether what is removed from the table can still be had from its bucket, as an older version.
    pub fn keeps_what_is_removed(&self) -> bool {
        self.inner.storage.keeps_what_is_removed()
    }

    /// Why nothing is sealed, and since when, if that is so. Records stay in the log meanwhile.
    pub fn standstill(&self) -> Option<Standstill> {
        self.inner.standstill.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a try to seal has ended.
    pub(crate) fn note_seal(&self, done: &Result<()>) {
        let mut standstill = self.inner.standstill.lock().unwrap_or_else(PoisonError::into_inner);
        *standstill = done.as_ref().err().map(|error| Standstill {
            since: standstill.as_ref().map_or_else(SystemTime::now, |standstill| standstill.since),
            why: error.to_string(),
        });
    }

    #[cfg(test)]
    pub(crate) fn table(&self) -> PathBuf {
        PathBuf::from(self.table_place().trim_start_matches("file://"))
    }

    /// What the lake holds.
    pub fn stats(&self) -> LakeStats {
        let snapshot = self.snapshot();
        let Sealed { version, cursor, files, .. } = &*snapshot.sealed;
        LakeStats {
            files: files.len(),
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.size).sum(),
            cursor: *cursor,
            hot_rows: snapshot.size - cursor,
            version: *version,
        }
    }

    /// Reads the index of each data file, and gives those whose index is not there or damaged, with what is wrong with it.
    pub async fn check_indexes(&self) -> Result<Vec<(String, Option<String>)>> {
        let lake = self.clone();
        blocking(move || Ok(lake.inner.indexes.check(&lake.inner.versions.current().files))).await
    }

    /// Compares every file of the table with the digest that was written with it, as
    /// [`check_files`](crate::check_files) does. Sealing goes on meanwhile. Reads every byte of the lake, on threads for
    /// blocking work.
    pub async fn check_files(&self, progress: impl FnMut(CheckProgress) + Send + 'static) -> Result<Vec<FileProblem>> {
        let storage = Arc::clone(&self.inner.storage);
        // A change of the table that failed half-way is put right first, as the next seal would.
        let (mut sealing, table) = self.inner.take_table().await?;
        *sealing = Some(table);
        // The version keeps its files from being removed while they are compared.
        let version = self.inner.versions.current();
        let unfinished = self.inner.unfinished.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let plan = Plan::new(storage.as_ref(), unfinished.as_deref()).await?;
        drop(sealing);
        let mut problems = plan.compare(storage.as_ref(), progress).await;
        drop(version);
        // What a crash has left is gone since the table was opened.
        problems.iter_mut().for_each(FileProblem::finished);
        Ok(problems)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.inner.versions.snapshot(self.inner.log.as_ref())
    }
}

/// Refuses a table and a log that do not belong together.
pub(crate) fn compare(sealed: &Sealed, log: &dyn Log) -> Result<()> {
    let Sealed { origin, cursor, .. } = sealed;
    let (size, first) = (log.size(), log.first());
    if *cursor > size {
        return Err(Error::Rollback { origin: origin.clone(), cursor: *cursor, size });
    }
    if *cursor < first {
        return Err(Error::Hole { origin: origin.clone(), cursor: *cursor, first });
    }
    Ok(())
}

/// Tells work on a thread whether anybody still waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Awaited(Weak<()>);

impl Awaited {
    /// Nobody waits any more: who asked has gone, or the time is over.
    pub(crate) fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The same for work that looks now and then whether it is still wanted.
pub(crate) async fn blocking_while_awaited<T: Send + 'static>(
    work: impl FnOnce(&Awaited) -> Result<T> + Send + 'static,
) -> Result<T> {
    let waiting = Arc::new(());
    let awaited = Awaited(Arc::downgrade(&waiting));
    let done = blocking(move || work(&awaited)).await;
    drop(waiting);
    done
}

/// Runs what blocks where it may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|stopped| Err(Error::stopped(&stopped)))
}
