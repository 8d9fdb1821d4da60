//! What can go wrong in the lake, told apart by who can do something about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// An error of the lake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The statement is wrong, or asks for something that a query may not do. The text is for its author.
    #[error("{0}")]
    Query(String),

    /// A query needed more memory than it may have.
    #[error("the query needs more than the {} MiB of memory that it may have: {advice}", .limit >> 20)]
    QueryMemory {
        /// The limit in bytes.
        limit: usize,
        /// What to do about it.
        advice: &'static str,
    },

    /// A query ran for longer than it may.
    #[error("the query was stopped after {} s, the time that it may take", .limit.as_secs_f64())]
    QueryTime {
        /// The limit.
        limit: Duration,
    },

    /// The table holds records that the log does not know: the log was rolled back, or belongs to another data folder.
    #[error(
        "the lake holds {origin:?} up to leaf {cursor}, but the log ends before leaf {size}: the log was rolled back, \
         or the two do not belong together"
    )]
    Rollback {
        /// The log's origin.
        origin: String,
        /// First leaf index that is not in the lake.
        cursor: u64,
        /// Number of leaves in the log.
        size: u64,
    },

    /// Records are in neither the lake nor the log.
    #[error(
        "the lake holds {origin:?} up to leaf {cursor}, and the log begins at leaf {first}: the records in between are \
         missing, so the lake was rolled back or files of it were removed"
    )]
    Hole {
        /// The log's origin.
        origin: String,
        /// First leaf index that is not in the lake.
        cursor: u64,
        /// First leaf index that the log still holds.
        first: u64,
    },

    /// Something stored cannot be what was written.
    #[error("{place}: {problem}")]
    Corrupt {
        /// The file or the row.
        place: String,
        /// What is wrong with it.
        problem: String,
    },

    /// The disk refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// The Delta log could not be read or written.
    #[error("the Delta table in {}: {source}", .path.display())]
    Delta {
        /// The table's folder.
        path: PathBuf,
        /// Why.
        source: Box<deltalake_core::DeltaTableError>,
    },

    /// A data file could not be read or written, or a query failed for a reason that is not the statement's.
    #[error(transparent)]
    Data(Box<datafusion::error::DataFusionError>),

    /// The log could not be read.
    #[error("reading the log: {0}")]
    Log(#[source] crate::log::LogError),
}

/// The result of an operation of the lake.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn corrupt(place: impl std::fmt::Display, problem: impl std::fmt::Display) -> Self {
        Self::Corrupt { place: place.to_string(), problem: problem.to_string() }
    }

    /// For `map_err`: the error of an operation on `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// For `map_err`: the error of the Delta table in `path`.
    pub(crate) fn delta(path: &Path) -> impl FnOnce(deltalake_core::DeltaTableError) -> Self + '_ {
        move |source| Self::Delta { path: path.to_owned(), source: Box::new(source) }
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(source: datafusion::error::DataFusionError) -> Self {
        Self::Data(Box::new(source))
    }
}

impl From<datafusion::arrow::error::ArrowError> for Error {
    fn from(source: datafusion::arrow::error::ArrowError) -> Self {
        Self::Data(Box::new(source.into()))
    }
}

impl From<datafusion::parquet::errors::ParquetError> for Error {
    fn from(source: datafusion::parquet::errors::ParquetError) -> Self {
        Self::Data(Box::new(source.into()))
    }
}
