//! The lake from outside, over a log in memory.

#![allow(clippy::disallowed_methods, reason = "tests do to files what disks and people do")]

mod bodies;
mod bucket;
mod checks;
mod compaction;
mod crashes;
mod erasure;
mod indexes;
mod ledger;
pub(crate) mod log;
mod queries;
pub(crate) mod records;
mod sealing;
mod search;
mod selection;
mod upgrade;

use std::sync::Arc;

use futures::TryStreamExt;
use onrecord_ledger::Committed;
use tempfile::TempDir;

use crate::tests::log::TestLog;
use crate::{Error, Lake, LakeOptions, QueryLimits};

/// A lake in a folder of its own, with small data files.
struct Fixture {
    folder: TempDir,
    log: TestLog,
    lake: Lake,
}

impl Fixture {
    async fn new(records: Vec<Committed>) -> Self {
        Self::with_files_of(records, 100).await
    }

    async fn with_files_of(records: Vec<Committed>, rows: u64) -> Self {
        let (folder, log) = (tempfile::tempdir().unwrap(), TestLog::new(records));
        let lake = open_with(&folder, &log, rows).await.unwrap();
        Self { folder, log, lake }
    }

    /// As a new start of the program would.
    async fn reopen(&mut self) {
        self.lake = open(&self.folder, &self.log).await.unwrap();
    }

    /// Compares the files as they are, whoever may have the lake open.
    async fn check_folder(&self) -> Vec<crate::FileProblem> {
        crate::check_files(&self.folder.path().join("lake"), |_| ()).await.unwrap()
    }

    /// Everything there is, in the order of the log.
    async fn all(&self) -> Vec<Committed> {
        self.lake.records(0..u64::MAX).try_collect().await.unwrap()
    }

    /// The rows of a query as text, their cells parted by `|`.
    async fn query(&self, statement: &str) -> Vec<String> {
        self.try_query(statement, QueryLimits::default()).await.unwrap()
    }

    async fn try_query(&self, statement: &str, limits: QueryLimits) -> Result<Vec<String>, Error> {
        let batches: Vec<_> = self.lake.query(statement, limits).await?.try_collect().await?;
        Ok(batches.iter().flat_map(rows).collect())
    }
}

async fn open(folder: &TempDir, log: &TestLog) -> Result<Lake, Error> {
    open_with(folder, log, 100).await
}

/// The parts of an index are small, so that most have several.
async fn open_with(folder: &TempDir, log: &TestLog, file_rows: u64) -> Result<Lake, Error> {
    let index = Some(folder.path().join("index"));
    let options = LakeOptions { threads: 2, file_rows, index, index_part_bytes: 20_000, ..LakeOptions::default() };
    Lake::open(&folder.path().join("lake"), Arc::new(log.clone()), options).await
}

fn rows(batch: &datafusion::arrow::array::RecordBatch) -> Vec<String> {
    use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
    let format = FormatOptions::default();
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &format).unwrap()).collect();
    let row = |at| columns.iter().map(|column| column.value(at).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}
