//! Every write of the ledger goes through here, so that what is durable, and when, is decided in one place.
//!
//! Rules that the rest of the crate relies on:
//! - What was written is durable after [`DiskFile::sync`] returned without an error, and only then. After an error
//!   nothing written since the last good `sync` may be relied on, not even if a later `sync` succeeds: the kernel may
//!   have dropped the dirty pages (<https://wiki.postgresql.org/wiki/Fsync_Errors>).
//! - A created, replaced or removed file is durable in its folder when the call returns.

mod faulty;
mod real;

use std::fmt::Debug;
use std::io;
use std::path::Path;

pub use faulty::{Fault, FaultyDisk};
pub use real::RealDisk;

/// What the ledger needs of the machine: file operations, and what nobody can guess.
pub trait Disk: Debug + Send + Sync {
    /// Creates a folder and those above it.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a file of `size` zero bytes with its space allocated; fails if it is there.
    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// The whole contents of a small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Writes a small file so that either the old or the new contents are there after a crash; `mode` is its Unix mode.
    fn replace(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, sorted.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Fills `out` with random bytes.
    fn random(&self, out: &mut [u8]) -> io::Result<()>;
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "the length is asked of the file system, and nobody asks for empty")]
pub trait DiskFile: Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Reads up to `out.len()` bytes at `offset`; fewer only at the end of the file.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Makes the contents and the length durable.
    fn sync(&self) -> io::Result<()>;
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends the file; durable after the next `sync`.
    fn set_len(&self, len: u64) -> io::Result<()>;
}
