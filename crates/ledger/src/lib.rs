//! The append-only log on disk: segments, group commit, tiles, checkpoints, recovery.
//!
//! [`Ledger`] takes records: an *intent* when a call begins, the whole record when it ended. One thread, the sequencer,
//! owns the order; it writes what has arrived as one batch, syncs once, and then answers. What is answered is durable.
//! [`Reader`] reads what is committed, for followers that keep a cursor of their own.
//!
//! Synchronous and without HTTP or SQL; [`Pending`] answers can be awaited on any runtime.

mod check;
mod checkpoints;
mod clock;
mod committed;
mod cosigned;
pub mod disk;
mod error;
mod found;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod keys;
mod ledger;
mod lock;
mod measures;
mod needles;
mod offline;
mod pace;
mod pending;
mod publisher;
mod queue;
mod reader;
mod rebuild;
mod recovery;
mod segment;
mod sequencer;
mod tree;
mod wal;
pub mod witness;

#[cfg(test)]
mod tests;

pub use check::{Checked, Problem, check};
pub use checkpoints::Published;
pub use clock::now;
pub use committed::Committed;
pub use error::Error;
pub use found::Found;
pub use keys::Holder;
pub use ledger::{Ledger, Options};
pub use lock::{Lock, hold};
pub use measures::{Histogram, Measures};
pub use needles::Needles;
pub use offline::{Offline, tidy};
pub use pending::Pending;
pub use queue::Receipt;
pub use reader::Reader;
pub use rebuild::Rebuild;

/// The public keys of the log in `dir`, without changing anything.
pub fn keys(dir: &std::path::Path) -> Result<onrecord_proof::KeyHistory, Error> {
    identity::read(&disk::RealDisk, dir)
}

/// Writes the public key of the log in `dir` again if it is gone or damaged, from the history of keys or the secret key. True
/// if it was written. An error says why it cannot be.
pub fn restore_public_key(disk: &std::sync::Arc<dyn disk::Disk>, dir: &std::path::Path) -> Result<bool, Error> {
    keys::restore_public(disk, dir)
}

/// The folders of a log.
const FOLDERS: [&str; 3] = ["segments", "tree", "checkpoints"];
