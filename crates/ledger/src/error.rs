//! What can go wrong with the log, said so that an operator knows the place and the remedy.

use std::io;
use std::path::{Path, PathBuf};

use onrecord_proof::Malformed;
use uuid::Uuid;

/// An error of the log. Cloned to everybody who waits for the same batch.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation.
    #[error("{op} {}: {problem}", path.display())]
    Io {
        /// What was attempted, e.g. `write`.
        op: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        problem: String,
        /// The kind of the system's error.
        kind: io::ErrorKind,
    },
    /// Stored bytes are not what was written.
    #[error("{} is damaged at byte {offset}: {problem}. Nothing was changed; keep a copy of the folder, then run `onrecord verify`", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        problem: String,
    },
    /// The folder holds an older or a different log than it should.
    #[error(
        "{problem}. The folder seems to have been put back to an older state, or files are missing from it. Put the newest copy of it back; if that is lost, begin a new log in another --data folder and keep this one to read"
    )]
    Rollback {
        /// What shows it.
        problem: String,
    },
    /// Another process writes this folder.
    #[error("{} is in use by process {pid}; one process at a time may write a log. Stop that one, or use another --data folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other process.
        pid: String,
    },
    /// The folder is of a newer program.
    #[error("{} has format {found}, this program knows {known}; use a newer onrecord", path.display())]
    TooNew {
        /// The file that says so.
        path: PathBuf,
        /// The folder's format.
        found: u64,
        /// The newest format that this program knows.
        known: u64,
    },
    /// The folder belongs to another log.
    #[error("{} holds the log {found:?}, not {wanted:?}; leave `origin` out of the configuration, or name another --data folder", path.display())]
    OtherOrigin {
        /// The folder.
        path: PathBuf,
        /// The log that it holds.
        found: String,
        /// The log that was asked for.
        wanted: String,
    },
    /// The key at hand is not that of the log.
    #[error("{}: {problem}. Name the key that signed it last in [key], or leave [key] out if that is in the folder", path.display())]
    OtherKey {
        /// The folder.
        path: PathBuf,
        /// How they differ.
        problem: String,
    },
    /// A file of the folder is not of the right form.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: Malformed,
    },
    /// The log cannot be written at the moment.
    #[error("the log cannot be written: {0}")]
    Unavailable(String),
    /// More is waiting for the log than it may hold.
    #[error("too many calls are waiting for the log")]
    Busy,
    /// A call of this id has begun and not ended yet.
    #[error("a call with the id {0} is under way already")]
    Begun(Uuid),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// A record is not in the segments any more, or not yet.
    #[error("record {0} is not in the segments")]
    NotHere(u64),
    /// A record that cannot be committed, or an option that is out of bounds.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Error {
    pub(crate) fn io(op: &'static str, path: &Path, source: &io::Error) -> Self {
        Self::Io { op, path: path.to_owned(), problem: source.to_string(), kind: source.kind() }
    }

    /// Refuses `bytes` above `limit`.
    pub(crate) fn limit(what: &'static str, bytes: u64, limit: u64) -> Result<(), Self> {
        if bytes <= limit {
            return Ok(());
        }
        Err(Malformed { what, problem: format!("{bytes} bytes, the limit is {limit}") }.into())
    }

    pub(crate) fn corrupt(path: &Path, offset: u64, problem: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), offset, problem: problem.into() }
    }
}
