//! The table's folder on the local disk.

#![allow(clippy::disallowed_methods, reason = "with `file`, this is the module that they are left to")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::kernel::Version;
use deltalake_core::kernel::transaction::TransactionError;
use deltalake_core::logstore::{
    CommitOrBytes, LogStore, LogStoreConfig, LogStoreRef, StorageConfig, commit_uri_from_version, logstore_for,
};
use deltalake_core::{DeltaResult, DeltaTableError};
use object_store::ObjectStore;
use url::Url;
use uuid::Uuid;

use super::file::{self, NewFile, parent, sync_folders};
use super::{Sha, Storage};
use crate::error::{Error, Result};
use crate::lake::blocking;

/// A folder of the local disk.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(crate) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

#[async_trait::async_trait]
impl Storage for Disk {
    fn place(&self, path: &str) -> String {
        self.file(path).display().to_string()
    }

    fn is_there(&self) -> bool {
        self.root.exists()
    }

    fn create(&self) -> Result<()> {
        file::create_folder(&self.root)
    }

    async fn files(&self, start: &str) -> Result<Vec<String>> {
        let folder = start.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() && !self.file(folder).exists() {
            return Ok(Vec::new());
        }
        let names = file::files(&self.file(folder))?;
        let paths = names.into_iter().map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") });
        Ok(paths.filter(|path| path.starts_with(start)).collect())
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        let place = self.file(path);
        match fs::read(&place) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&place)(error)),
        }
    }

    fn at_once(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    async fn digest(&self, path: &str) -> Result<Option<(u64, Sha)>> {
        let place = self.file(path);
        blocking(move || match file::digest(&place) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&place)(error)),
        })
        .await
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        file::write(&self.file(path), &bytes)
    }

    fn begin(&self, path: &str) -> Result<NewFile> {
        NewFile::create(&self.file(path))
    }

    async fn finish(&self, new: NewFile, path: &str) -> Result<(u64, Sha)> {
        new.finish(&self.file(path))
    }

    async fn make_durable(&self, path: &str) -> Result<()> {
        file::sync(&self.file(path))
    }

    async fn remove(&self, path: &str) -> Result<()> {
        let place = self.file(path);
        file::remove(&place).or_else(|error| if place.exists() { Err(error) } else { Ok(()) })
    }

    fn delta_log(&self) -> Result<LogStoreRef> {
        let root = self.root.canonicalize().map_err(Error::io(&self.root))?;
        delta_log(&root)
    }
}

/// The Delta log in the folder `root`, whose commits are durable when they are acknowledged.
fn delta_log(root: &Path) -> Result<LogStoreRef> {
    let not_a_url = || io::Error::new(io::ErrorKind::InvalidInput, "not an absolute path");
    let url = Url::from_directory_path(root).map_err(|()| Error::io(root)(not_a_url()))?;
    let inner = logstore_for(&url, StorageConfig::default()).map_err(Error::delta(root.display()))?;
    Ok(Arc::new(DurableLog { inner, root: root.to_owned() }))
}

/// deltalake's own log store, but for the writing of commits, which that one leaves in the page cache.
struct DurableLog {
    inner: LogStoreRef,
    root: PathBuf,
}

impl DurableLog {
    /// The commit gets its name by a hard link, which fails where the name is taken: of two writers of a version one wins.
    fn write(&self, version: Version, bytes: &[u8]) -> io::Result<()> {
        let place = self.root.join(commit_uri_from_version(Some(version)).as_ref());
        let unfinished = file::unfinished(&place);
        fs::create_dir_all(parent(&place))?;
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let linked = fs::hard_link(&unfinished, &place);
        fs::remove_file(&unfinished)?;
        linked.and_then(|()| sync_folders(&place))
    }
}

#[async_trait::async_trait]
impl LogStore for DurableLog {
    /// The name by which deltalake knows that a commit is handed over as bytes.
    fn name(&self) -> String {
        self.inner.name()
    }

    async fn read_commit_entry(&self, version: Version) -> DeltaResult<Option<Bytes>> {
        self.inner.read_commit_entry(version).await
    }

    async fn write_commit_entry(
        &self,
        version: Version,
        commit: CommitOrBytes,
        _operation: Uuid,
    ) -> Result<(), TransactionError> {
        let CommitOrBytes::LogBytes(bytes) = commit else {
            let source = DeltaTableError::generic("a commit is handed over as bytes").into();
            return Err(TransactionError::LogStoreError { msg: "not supported".into(), source });
        };
        self.write(version, &bytes).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => TransactionError::VersionAlreadyExists(version),
            _ => TransactionError::LogStoreError { msg: error.to_string(), source: error.into() },
        })
    }

    async fn abort_commit_entry(&self, _: Version, _: CommitOrBytes, _: Uuid) -> Result<(), TransactionError> {
        Ok(())
    }

    async fn get_latest_version(&self, start: Version) -> DeltaResult<Version> {
        self.inner.get_latest_version(start).await
    }

    fn object_store(&self, operation: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.inner.object_store(operation)
    }

    fn root_object_store(&self, operation: Option<Uuid>) -> Arc<dyn ObjectStore> {
        self.inner.root_object_store(operation)
    }

    fn config(&self) -> &LogStoreConfig {
        self.inner.config()
    }
}
