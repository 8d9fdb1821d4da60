//! Where the table's files are: a folder of the local disk, or a prefix of a bucket. Everything that the lake knows of the
//! difference is here. What waits to become a data file, and the search indexes, are always on the local disk.

mod bucket;
mod connect;
mod disk;
mod file;
mod home;

use std::sync::Arc;

use bytes::Bytes;
use deltalake_core::logstore::LogStoreRef;

pub(crate) use disk::Disk;
pub(crate) use file::{NewFile, create_folder, files, is_unfinished, remove, remove_below, unfinished};
pub(crate) use home::Home;

use crate::error::Result;

/// A SHA-256.
pub(crate) type Sha = [u8; 32];

/// The table's folder. Paths are relative to it, with `/` between their parts.
#[async_trait::async_trait]
pub(crate) trait Storage: std::fmt::Debug + Send + Sync {
    /// Where a path is, for people.
    fn place(&self, path: &str) -> String;

    /// False if nothing was ever written there. Where that cannot be known without asking somebody, true.
    fn is_there(&self) -> bool;

    /// Makes the folder.
    fn create(&self) -> Result<()>;

    /// Every file whose path begins with `start`, sorted.
    async fn files(&self, start: &str) -> Result<Vec<String>>;

    /// A small file, if it is there.
    async fn read(&self, path: &str) -> Result<Option<Bytes>>;

    /// Size and SHA-256 of a file, if it is there.
    async fn digest(&self, path: &str) -> Result<Option<(u64, Sha)>>;

    /// Writes a small file durably, in place of what is there.
    async fn write(&self, path: &str, bytes: Bytes) -> Result<()>;

    /// Begins a file that is written bit by bit, on the local disk.
    fn begin(&self, path: &str) -> Result<NewFile>;

    /// Makes it durable under its path. Gives size and SHA-256 of what was written.
    async fn finish(&self, file: NewFile, path: &str) -> Result<(u64, Sha)>;

    /// Makes a file durable that the Delta library has written.
    async fn make_durable(&self, path: &str) -> Result<()>;

    /// Removes a file for good. It may be gone already.
    async fn remove(&self, path: &str) -> Result<()>;

    /// The Delta log, whose commits are durable when they are acknowledged, and of which each version is written once.
    fn delta_log(&self) -> Result<LogStoreRef>;

    /// Refuses storage that would write a version twice. `written` is a file that is there.
    async fn must_write_once(&self, _written: &str) -> Result<()> {
        Ok(())
    }

    /// Whether what was removed can still be had from there, as an older version.
    fn keeps_what_is_removed(&self) -> bool {
        false
    }

    /// How many files are worth reading at the same time.
    fn at_once(&self) -> usize {
        1
    }
}

/// Shared storage.
pub(crate) type StorageRef = Arc<dyn Storage>;
