//! The rows that a query gives, as they come.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::Stream;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use crate::error::Result;

/// The answer to a query: a stream of batches of rows. The query stops when this is dropped.
#[derive(Debug)]
pub struct QueryResult {
    schema: SchemaRef,
    batches: Receiver<Result<RecordBatch>>,
    truncated: Arc<AtomicBool>,
    /// Stops the query when it is dropped.
    _work: JoinSet<()>,
}

impl QueryResult {
    pub(super) fn new(
        schema: SchemaRef,
        batches: Receiver<Result<RecordBatch>>,
        truncated: Arc<AtomicBool>,
        work: JoinSet<()>,
    ) -> Self {
        Self { schema, batches, truncated, _work: work }
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

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_recv(context)
    }
}
