//! Hot rows as a part of a query plan: read from the log piece by piece while the query runs.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream;
use onrecord_ledger::Needles;

use crate::error::Error;
use crate::lake::blocking;
use crate::log::Log;
use crate::row::write_rows;
use crate::schema::table_schema;
use crate::search::Conditions;
use crate::snapshot::Snapshot;

/// Payload that is read and converted at once, in bytes.
const CHUNK: usize = 4 << 20;

/// The hot rows of a snapshot, with some of the columns.
#[derive(Clone)]
pub(super) struct HotRows {
    log: Arc<dyn Log>,
    /// Held so that the log keeps the rows.
    snapshot: Arc<Snapshot>,
    /// Which of them.
    leaves: Range<u64>,
    /// What those of them hold that may be wanted.
    needles: Arc<Needles>,
    columns: Arc<[usize]>,
    schema: SchemaRef,
}

impl HotRows {
    /// Those of `leaves` that are hot and may fulfil the conditions.
    pub(super) fn new(
        log: Arc<dyn Log>,
        snapshot: Arc<Snapshot>,
        leaves: &Range<u64>,
        conditions: &Conditions,
        columns: &[usize],
    ) -> Result<Self> {
        let schema = Arc::new(table_schema().project(columns)?);
        let leaves = leaves.start.max(snapshot.sealed.cursor)..leaves.end.min(snapshot.size);
        let needles = Arc::new(conditions.needles());
        Ok(Self { log, snapshot, leaves, needles, columns: columns.into(), schema })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// Some rows from leaf `from` on, and the leaf that comes after them.
    async fn read(self, from: u64) -> Result<(RecordBatch, u64), Error> {
        blocking(move || {
            let read = self.log.read_with(from, self.leaves.end, CHUNK, &self.needles);
            let (rows, next) = read.map_err(Error::Log)?;
            if next <= from {
                return Err(Error::corrupt("the log", format!("no leaf {from}")));
            }
            Ok((write_rows(&rows, &self.columns, &self.snapshot.sealed.origin)?, next))
        })
        .await
    }
}

impl std::fmt::Debug for HotRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HotRows").field("leaves", &self.leaves).finish_non_exhaustive()
    }
}

impl PartitionStream for HotRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (rows, leaves) = (self.clone(), self.leaves.clone());
        let batches = stream::try_unfold(leaves.start, move |from| {
            let rows = rows.clone();
            async move {
                if from >= leaves.end {
                    return Ok(None);
                }
                rows.read(from).await.map(Some).map_err(|e| DataFusionError::External(Box::new(e)))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
