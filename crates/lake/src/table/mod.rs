//! The Delta table `records`: which files it has, and what becomes a version of it.

pub(crate) mod check;
mod columns;
pub(crate) mod files;
mod heal;
mod leftover;
pub(crate) mod sidecar;

use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;
use deltalake_core::TableProperty;
use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, StructType, Transaction};
use deltalake_core::logstore::{LogStoreRef, commit_uri_from_version};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::table::state::DeltaTableState;
use deltalake_core::{DeltaTable, DeltaTableError};

use object_store::ObjectStore;

pub(crate) use files::{DataFile, Sealed};

use crate::error::{Error, Result};
use crate::schema::{partition_columns, table_schema};
use crate::storage::{self, StorageRef};

/// So many versions after the last one, all active files are listed in one Parquet file, so that opening the table
/// does not read every commit since its beginning.
const CHECKPOINT_EVERY: u64 = 64;

/// Where deltalake notes the last checkpoint. Readers do without it; it would change with every checkpoint, and a
/// digest of it could not be kept in the sidecar of one version.
const LAST_CHECKPOINT: &str = "_delta_log/_last_checkpoint";

/// The table, open for writing.
pub(crate) struct Table {
    storage: StorageRef,
    origin: String,
    log: LogStoreRef,
    state: DeltaTableState,
}

impl Table {
    /// Opens the table in `storage`, which is created if it is not there, for the writer `origin`.
    pub(crate) async fn open(storage: StorageRef, origin: &str) -> Result<Self> {
        storage.create()?;
        heal::before_opening(storage.as_ref()).await?;
        heal::compare_log(storage.as_ref()).await?;
        let (log, place) = (storage.delta_log()?, storage.place(""));
        if !log.is_delta_table_location().await.map_err(Error::delta(&place))? {
            create(log.clone(), &table_schema()).await.map_err(Error::delta(&place))?;
        }
        storage.must_write_once(&commit_path(0)).await?;
        let state = DeltaTableState::try_new(log.as_ref(), None).await.map_err(Error::delta(&place))?;
        let mut table = Self { storage, origin: origin.to_owned(), log, state };
        heal::sidecar(&table).await?;
        columns::complete(&mut table).await?;
        Ok(table)
    }

    /// What is in the table in `storage`, without changing anything.
    pub(crate) async fn look(storage: StorageRef, origin: &str) -> Result<(Arc<dyn ObjectStore>, Sealed)> {
        let (log, place) = (storage.delta_log()?, storage.place(""));
        if !log.is_delta_table_location().await.map_err(Error::delta(&place))? {
            // A crash may have come before the table's first version.
            return Ok((log.object_store(None), Sealed::none(origin.to_owned())));
        }
        let state = DeltaTableState::try_new(log.as_ref(), None).await.map_err(Error::delta(&place))?;
        let table = Self { storage, origin: origin.to_owned(), log, state };
        Ok((table.store(), table.sealed().await?))
    }

    /// Removes what a crash has left of a seal. Only if the log still holds the records from the cursor on.
    pub(crate) async fn remove_orphans(&self) -> Result<()> {
        heal::orphans(self.storage.as_ref(), &self.sealed().await?).await
    }

    /// Removes what a crash has left of a replacement of data files. Only while nobody reads or replaces any.
    pub(crate) async fn remove_leftovers(&self) -> Result<()> {
        for path in self.leftovers().await? {
            tracing::warn!(%path, "removing a data file that another one has taken the place of, or was going to");
            heal::clear(self.storage.as_ref(), &path).await?;
        }
        Ok(())
    }

    /// What a failure has left of a replacement of data files, besides what is waiting for its readers.
    pub(crate) async fn leftovers(&self) -> Result<Vec<String>> {
        heal::leftovers(self.storage.as_ref(), &self.sealed().await?).await
    }

    /// Where the table is, for people.
    fn place(&self) -> String {
        self.storage.place("")
    }

    /// What reads the table's files, by paths relative to its folder.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.log.object_store(None)
    }

    /// What is in the table now.
    pub(crate) async fn sealed(&self) -> Result<Sealed> {
        let cursor = self.state.transaction_version(self.log.as_ref(), &self.origin).await;
        let last = cursor.map_err(Error::delta(self.place()))?;
        let cursor = last.map_or(0, |last| last as u64 + 1);
        Sealed::new(self.origin.clone(), self.state.version(), cursor, &self.state)
    }

    /// Adds a data file that ends with the leaf `last`. When this returns, the new version is durable.
    pub(crate) async fn commit(&mut self, add: Add, last: u64) -> Result<u64> {
        let operation =
            DeltaOperation::Write { mode: SaveMode::Append, partition_by: Some(partition_names()), predicate: None };
        let properties = quiet(CommitProperties::default())
            .with_application_transaction(Transaction::new(&self.origin, last as i64));
        let commit = CommitBuilder::from(properties).with_actions(vec![Action::Add(add)]);
        let done = commit.build(Some(&self.state), self.log.clone(), operation).await;
        let done = done.map_err(Error::delta(self.place()))?;
        self.state = done.snapshot();
        Ok(done.version())
    }

    /// Puts `add` in the place of `old`, whose rows it holds, in one version. `erased` says that something of them is
    /// gone; without it no reader of changes needs to look. When this returns, the new version is durable.
    pub(crate) async fn replace(&mut self, old: &[Arc<DataFile>], add: Add, erased: bool) -> Result<u64> {
        let mut actions = vec![Action::Add(Add { data_change: erased, ..add })];
        for file in self.state.log_data().iter() {
            if old.iter().any(|old| old.path == file.object_store_path()) {
                actions.push(Action::Remove(file.remove_action(erased)));
            }
        }
        if actions.len() != old.len() + 1 {
            return Err(Error::corrupt(self.place(), "files that were to be replaced are not in the table"));
        }
        let operation = if erased {
            DeltaOperation::Update { predicate: None }
        } else {
            DeltaOperation::Optimize { predicate: None, target_size: 0 }
        };
        let commit = CommitBuilder::from(quiet(CommitProperties::default())).with_actions(actions);
        let done = commit.build(Some(&self.state), self.log.clone(), operation).await;
        let done = done.map_err(Error::delta(self.place()))?;
        self.state = done.snapshot();
        Ok(done.version())
    }

    /// Writes the checkpoint of the current version if one is due, and the version's sidecar. `data` are the data files
    /// that came with the version, `removed` those that went.
    pub(crate) async fn conclude(&self, data: &[sidecar::Entry], removed: Vec<String>) -> Result<()> {
        let version = self.state.version();
        if version > 0 && version.is_multiple_of(CHECKPOINT_EVERY) {
            self.checkpoint().await?;
        }
        let mut entries = self.log_entries(version).await?;
        entries.extend_from_slice(data);
        sidecar::write(self.storage.as_ref(), version, &sidecar::Listing { entries, removed }).await
    }

    async fn checkpoint(&self) -> Result<()> {
        let mut table = DeltaTable::new(self.log.clone());
        table.state = Some(self.state.clone());
        create_checkpoint(&table, None).await.map_err(Error::delta(self.place()))?;
        for path in self.log_files(self.state.version()).await? {
            self.storage.make_durable(&path).await?;
        }
        heal::clear(self.storage.as_ref(), LAST_CHECKPOINT).await
    }

    /// The files of `version` in the Delta log: its commit, its checkpoint if it has one.
    async fn log_files(&self, version: u64) -> Result<Vec<String>> {
        let files = self.storage.files(&format!("_delta_log/{version:020}.")).await?;
        Ok(files.into_iter().filter(|path| !storage::is_unfinished(path)).collect())
    }

    /// The same with their digests.
    async fn log_entries(&self, version: u64) -> Result<Vec<sidecar::Entry>> {
        let mut entries = Vec::new();
        for path in self.log_files(version).await? {
            entries.push(self.entry(path).await?);
        }
        Ok(entries)
    }

    async fn entry(&self, path: String) -> Result<sidecar::Entry> {
        let found = self.storage.digest(&path).await?;
        let (_, digest) = found.ok_or_else(|| Error::corrupt(self.storage.place(&path), "it is missing"))?;
        Ok(sidecar::Entry { digest, path })
    }
}

/// Creates the table with these columns.
pub(crate) async fn create(log: LogStoreRef, schema: &Schema) -> Result<(), DeltaTableError> {
    let schema: StructType = schema.try_into_kernel()?;
    let create = CreateBuilder::new()
        .with_log_store(log)
        .with_table_name("records")
        .with_comment("What is on record: one row for each leaf of the log.")
        .with_columns(schema.fields().cloned())
        .with_partition_columns(partition_names())
        // Old versions are what the sidecars are of; they go when retention says so.
        .with_configuration_property(TableProperty::EnableExpiredLogCleanup, Some("false"))
        .with_commit_properties(quiet(CommitProperties::default()));
    create.await.map(|_| ())
}

/// Without the files that deltalake writes and removes on its own after a commit, which no sidecar would know of.
fn quiet(properties: CommitProperties) -> CommitProperties {
    properties.with_create_checkpoint(false).with_cleanup_expired_logs(Some(false))
}

fn partition_names() -> Vec<String> {
    partition_columns().iter().map(|column| column.name().clone()).collect()
}

/// The path of a version's commit, relative to the table's folder.
fn commit_path(version: u64) -> String {
    commit_uri_from_version(Some(version)).to_string()
}
