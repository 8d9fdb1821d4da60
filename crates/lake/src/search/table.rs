//! `search('…')` and `search('…', n)` in SQL: a table of hits, to be joined on the leaf index.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::scalar::ScalarValue;
use futures::{StreamExt, TryStreamExt, stream};

use super::run::{Found, HITS_MAX, Search};
use crate::error::Error;
use crate::sql::QueryView;

/// Hits whose records are read at once, where their texts are asked for.
const BATCH: usize = 256;
/// The columns, the ones from `PLACE` on need the records.
const COLUMNS: [(&str, DataType); 5] = [
    ("origin", DataType::Utf8),
    ("leaf_index", DataType::Int64),
    ("score", DataType::Float32),
    ("place", DataType::Utf8),
    ("snippet", DataType::Utf8),
];
const PLACE: usize = 3;

/// The columns of the table that the function gives, and what they mean.
pub(crate) const DOCS: [(&str, &str, &str); 5] = [
    ("origin", "Utf8", "Name of the log."),
    ("leaf_index", "Int64", "Position of the record in the log."),
    ("score", "Float32", "The higher, the more the record is about the search; depends on these two alone."),
    ("place", "Utf8", "What the snippet is of: `input`, `output`, `error` or `judgement`."),
    ("snippet", "Utf8", "Some text around what was found, which is between « and »."),
];

/// The function.
#[derive(Debug)]
pub(crate) struct SearchFunction;

impl TableFunctionImpl for SearchFunction {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let usage = || {
            let text = "a search is search('words'), or search('words', n) for the n best hits";
            DataFusionError::Plan(format!("{text}, at most {HITS_MAX}"))
        };
        let (query, limit) = match args.exprs() {
            [query] => (text(query).ok_or_else(usage)?, None),
            [query, limit] => (text(query).ok_or_else(usage)?, Some(number(limit).ok_or_else(usage)?)),
            _ => return Err(usage()),
        };
        // A wrong query is an error even where the plan leaves the table out.
        super::query::Query::parse(&query).map_err(|error| DataFusionError::Plan(error.to_string()))?;
        Ok(Arc::new(Hits { query, limit, schema: schema() }))
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(COLUMNS.map(|(name, data_type)| Field::new(name, data_type, false)).to_vec()))
}

fn text(argument: &Expr) -> Option<String> {
    match argument {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    }
}

fn number(argument: &Expr) -> Option<usize> {
    match argument {
        Expr::Literal(ScalarValue::Int64(Some(number)), _) => usize::try_from(*number).ok().filter(|n| *n <= HITS_MAX),
        _ => None,
    }
}

/// The hits of a query.
#[derive(Debug)]
struct Hits {
    query: String,
    limit: Option<usize>,
    schema: SchemaRef,
}

#[async_trait::async_trait]
impl TableProvider for Hits {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let view = QueryView::of(state)?;
        let search = Search::new(&view.lake, &self.query).map_err(external)?.at(Arc::clone(&view.snapshot));
        let columns = projection.cloned().unwrap_or_else(|| (0..COLUMNS.len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let hits = HitStream { search, best: self.limit, columns: columns.into(), schema: Arc::clone(&schema) };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(hits)], None, [], false, limit)?))
    }
}

#[derive(Clone)]
struct HitStream {
    search: Search,
    best: Option<usize>,
    columns: Arc<[usize]>,
    schema: SchemaRef,
}

impl std::fmt::Debug for HitStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HitStream").field("best", &self.best).finish_non_exhaustive()
    }
}

impl PartitionStream for HitStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let hits = self.clone();
        let found = match self.best {
            Some(limit) => stream::once(async move { Ok(hits.search.best(limit, false).await?.0) }).boxed(),
            None => self.search.found(),
        };
        let hits = self.clone();
        let batches = found
            .map_ok(move |found| {
                let some: Vec<_> = found.chunks(BATCH).map(<[Found]>::to_vec).collect();
                let hits = hits.clone();
                stream::iter(some).map(Ok).and_then(move |some| hits.clone().batch(some))
            })
            .try_flatten()
            .map_err(external);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

impl HitStream {
    async fn batch(self, found: Vec<Found>) -> Result<RecordBatch, Error> {
        let snippets = if self.columns.iter().any(|column| *column >= PLACE) {
            let shown = self.search.shown(&found).await?.into_iter();
            shown.map(|shown| shown.map(|shown| shown.snippet).unwrap_or_default()).collect()
        } else {
            Vec::new()
        };
        let column = |column: &usize| -> ArrayRef {
            match column {
                0 => Arc::new(found.iter().map(|hit| Some(self.search.origin(hit))).collect::<StringArray>()),
                1 => Arc::new(found.iter().map(|hit| hit.leaf as i64).collect::<Int64Array>()),
                2 => Arc::new(found.iter().map(|hit| hit.score).collect::<Float32Array>()),
                3 => Arc::new(snippets.iter().map(|snippet| Some(snippet.place)).collect::<StringArray>()),
                _ => Arc::new(snippets.iter().map(|snippet| Some(snippet.marked())).collect::<StringArray>()),
            }
        };
        let columns = self.columns.iter().map(column).collect();
        let options = datafusion::arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(found.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
