//! The rows that a query gives, as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::{Stream, ready};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use crate::error::{Error, Result};

/// The answer to a query: a stream of batches of rows. The query stops when this is dropped.
#[derive(Debug)]
pub struct QueryResult {
    schema: SchemaRef,
    batches: Receiver<RecordBatch>,
    truncated: Arc<AtomicBool>,
    /// What gives the batches. Dropped, it stops.
    work: JoinSet<Result<()>>,
}

impl QueryResult {
    pub(super) fn new(
        schema: SchemaRef,
        batches: Receiver<RecordBatch>,
        truncated: Arc<AtomicBool>,
        work: JoinSet<Result<()>>,
    ) -> Self {
        Self { schema, batches, truncated, work }
    }

    /// The columns of the rows.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// True if there were more rows than [`QueryLimits::rows`](crate::QueryLimits::rows), which were left out. Known
    /// when the stream has ended.
    pub fn truncated(&self) -> bool {
        self.truncated.load(Ordering::Acquire)
    }
}

impl Stream for QueryResult {
    type Item = Result<RecordBatch>;

    /// Rows that have all come are told from rows that broke off by how the query's own task ended.
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(batch) = ready!(self.batches.poll_recv(context)) {
            return Poll::Ready(Some(Ok(batch)));
        }
        Poll::Ready(match ready!(self.work.poll_join_next(context)) {
            None | Some(Ok(Ok(()))) => None,
            Some(Ok(Err(error))) => Some(Err(error)),
            Some(Err(stopped)) => Some(Err(Error::stopped(&stopped))),
        })
    }
}
