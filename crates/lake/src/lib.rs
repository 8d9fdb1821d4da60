//! Records as a Delta table: sealing, hot and sealed rows, SQL.
//!
//! A record is visible as soon as it is committed: *hot* rows are read from the log, and a [`Sealer`] moves them to the
//! table as *sealed* rows, each exactly once. The table's columns are the fields of the record model, so a row is the
//! record, and its leaf hash can be recomputed from it. Any engine that reads Delta reads the table.

#[cfg(test)]
mod tests;

mod background;
mod body;
mod compact;
mod compactor;
mod data_file;
mod erase;
mod error;
mod hash;
mod lake;
mod leaves;
mod log;
mod read;
mod rewrite;
mod row;
mod row_group;
mod schema;
mod seal;
mod sealer;
mod search;
mod selection;
mod snapshot;
mod sql;
mod storage;
mod table;
mod wide;

pub use compact::Compaction;
pub use compactor::{CompactPolicy, Compactor};
pub use datafusion;
pub use erase::Erased;
pub use error::{Error, Result};
pub use lake::{Lake, LakeOptions, LakeStats, Standstill};
pub use leaves::LeafSet;
pub use log::{Log, LogError};
pub use seal::Seal;
pub use sealer::{SealPolicy, Sealer};
pub use search::{Indexer, SearchHit, SearchOptions, SearchResult, Snippet};
pub use selection::{Selection, check_condition};
pub use sql::{ColumnDoc, QueryLimits, QueryResult, columns};
pub use table::check::{CheckProgress, FileProblem, FileProblemKind, check_files, table_place};
