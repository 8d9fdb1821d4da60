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

    /// The object store refused, or did not answer.
    #[error("{place}: {}; {}", in_one_line(.source), remedy(.source))]
    Store {
        /// The object, with its bucket.
        place: String,
        /// Why.
        source: Box<object_store::Error>,
    },

    /// The Delta log could not be read or written.
    #[error("the Delta table in {place}: {source}")]
    Delta {
        /// The table's folder, or its bucket and prefix.
        place: String,
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

    /// The error of work that a panic or the end of the program has stopped.
    pub(crate) fn stopped(work: &tokio::task::JoinError) -> Self {
        Self::corrupt("the lake", work)
    }

    /// For `map_err`: the error of an operation on `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// For `map_err`: the error of the Delta table in `place`.
    pub(crate) fn delta(place: impl std::fmt::Display) -> impl FnOnce(deltalake_core::DeltaTableError) -> Self {
        move |source| match source {
            deltalake_core::DeltaTableError::ObjectStore { source } => Self::store(place, source),
            source => Self::Delta { place: place.to_string(), source: Box::new(source) },
        }
    }

    pub(crate) fn store(place: impl std::fmt::Display, source: object_store::Error) -> Self {
        Self::Store { place: place.to_string(), source: Box::new(source) }
    }

    /// True if the object store could not be asked, so that nothing is known of what is in it.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store { .. }) && !self.is_refused()
    }

    /// True if the object store knows who asks, and does not allow it.
    pub(crate) fn is_refused(&self) -> bool {
        use object_store::Error as E;
        match self {
            // Of one of the objects that were to be removed together, S3 says so within its answer.
            Self::Store { source, .. } => {
                matches!(**source, E::PermissionDenied { .. }) || source.to_string().contains("AccessDenied")
            }
            _ => false,
        }
    }
}

/// Stores answer pages of XML.
fn in_one_line(error: &object_store::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What to do about an error of an object store, of which the text says more than the kind.
fn remedy(error: &object_store::Error) -> &'static str {
    use object_store::Error as E;
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["NoSuchBucket", "ContainerNotFound"]) {
        "create the bucket first; the program does not"
    } else if matches!(error, E::Unauthenticated { .. })
        // Without any, they are asked of the machine that runs the program.
        || says(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "169.254.", "metadata.google"])
    {
        "set the credentials in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_…, AZURE_…)"
    } else if matches!(error, E::PermissionDenied { .. }) || says(&["AccessDenied"]) {
        "these credentials need to get, put, list and delete objects below the prefix, and no rule of the bucket may forbid it"
    } else {
        "is the store reachable at this endpoint (AWS_ENDPOINT_URL) and in this region (AWS_REGION)?"
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
