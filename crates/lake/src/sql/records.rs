//! The table `records` as queries see it: the data files of a snapshot and the hot rows that follow on them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::parquet::arrow::arrow_reader::RowSelection;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;
use object_store::ObjectStore;

use super::bounds;
use super::hot::HotRows;
use super::readers::Readers;
use crate::lake::{Lake, blocking};
use crate::row::date_of_text;
use crate::schema::{COLUMNS, Source, file_schema, partition_columns, table_schema};
use crate::search::Conditions;
use crate::snapshot::Snapshot;
use crate::table::DataFile;

/// By this URL DataFusion knows the storage of the table. SQL cannot name it.
const STORE: &str = "onrecord://lake";

/// What one query sees. It travels in the query's session, so that each use of the table in it sees the same.
pub(crate) struct QueryView {
    pub(crate) lake: Lake,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Bytes of a row that it reads, where these are most, as far as it is planned.
    row_bytes: AtomicU64,
}

impl QueryView {
    /// Of everything that is committed now.
    pub(super) fn now(lake: &Lake) -> Self {
        Self { lake: lake.clone(), snapshot: Arc::new(lake.snapshot()), row_bytes: AtomicU64::new(0) }
    }

    /// Bytes of the largest rows that the query reads, once it is planned.
    pub(super) fn row_bytes(&self) -> u64 {
        self.row_bytes.load(Ordering::Relaxed)
    }

    /// That of the query that is being planned.
    pub(crate) fn of(state: &dyn Session) -> Result<Arc<Self>> {
        let view = state.config().get_extension::<Self>();
        view.ok_or_else(|| DataFusionError::Internal("a query without a snapshot".into()))
    }
}

/// The table. What is in it depends on the session.
#[derive(Debug)]
pub(super) struct RecordsTable {
    store: Arc<dyn ObjectStore>,
    schema: TableSchema,
}

impl RecordsTable {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        let schema = TableSchema::builder(file_schema()).with_table_partition_cols(partition_columns()).build();
        Self { store, schema }
    }

    /// The scan of the data files.
    fn sealed(&self, state: &dyn Session, files: Vec<SomeRows>, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
        let files = files.into_iter().map(|(file, rows)| {
            let file = partitioned_file(&file)?;
            Ok(match rows {
                Some(rows) => file.with_extension(ParquetRowSelection::new(rows)),
                None => file,
            })
        });
        let files = files.collect::<Result<_>>()?;
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = Readers::new(Arc::clone(&self.store), cache);
        let options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE)?, Arc::new(source))
            .with_file_groups(dealt(files, state.config().target_partitions()))
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

#[async_trait::async_trait]
impl TableProvider for RecordsTable {
    fn schema(&self) -> SchemaRef {
        table_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Data files use filters to pass over rows, pages, row groups and whole files; what remains is filtered above.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let view = QueryView::of(state)?;
        let columns = projection.cloned().unwrap_or_else(|| (0..COLUMNS.len()).collect());
        let leaves = bounds::leaves(filters);
        let conditions = Conditions::of(filters);
        let log = Arc::clone(&view.lake.inner.log);
        let hot = HotRows::new(log, Arc::clone(&view.snapshot), &leaves, &conditions, &columns)?;
        let schema = Arc::new(table_schema().project(&columns)?);
        let mut parts = Vec::new();
        let files = files(&view, leaves, conditions).await?;
        let row_bytes = files.iter().map(|(file, _)| file.wide.row_bytes(&columns)).max().unwrap_or_default();
        view.row_bytes.fetch_max(row_bytes, Ordering::Relaxed);
        if !files.is_empty() {
            parts.push(self.sealed(state, files, &columns)?);
        }
        if !hot.is_empty() {
            let hot = StreamingTableExec::try_new(schema.clone(), vec![Arc::new(hot)], None, [], false, limit)?;
            parts.push(Arc::new(hot));
        }
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(schema))),
            1 => Ok(parts.swap_remove(0)),
            _ => UnionExec::try_new(parts),
        }
    }
}

/// A data file, and which of its rows are read if not all.
type SomeRows = (Arc<DataFile>, Option<RowSelection>);

/// The data files that may have rows which fulfil the conditions, the newest first, each with these rows if its index
/// tells them.
async fn files(view: &QueryView, leaves: Range<u64>, conditions: Conditions) -> Result<Vec<SomeRows>> {
    let (lake, snapshot) = (view.lake.clone(), Arc::clone(&view.snapshot));
    let may_have = move |file: &&Arc<DataFile>| file.leaves.start < leaves.end && leaves.start < file.leaves.end;
    if conditions.is_empty() {
        let files = snapshot.sealed.files.iter().rev().filter(may_have);
        return Ok(files.map(|file| (Arc::clone(file), None)).collect());
    }
    let find = move || {
        let some = |file: &Arc<DataFile>| match lake.inner.indexes.rows(file, &conditions) {
            None => Some((Arc::clone(file), None)),
            Some(rows) if rows.is_empty() => None,
            Some(rows) => {
                let selection = RowSelection::from_consecutive_ranges(rows.into_iter(), file.rows as usize);
                Some((Arc::clone(file), Some(selection)))
            }
        };
        Ok(snapshot.sealed.files.iter().rev().filter(may_have).filter_map(some).collect())
    };
    blocking(find).await.map_err(|error| DataFusionError::External(Box::new(error)))
}

/// The files in groups that are read at the same time. Each group has some of the newest, so that whoever wants these
/// is done early.
fn dealt(files: Vec<PartitionedFile>, groups: usize) -> Vec<FileGroup> {
    let mut dealt = vec![Vec::new(); groups.clamp(1, files.len().max(1))];
    let count = dealt.len();
    files.into_iter().enumerate().for_each(|(at, file)| dealt[at % count].push(file));
    dealt.into_iter().map(FileGroup::new).collect()
}

/// The file with its partition, and with statistics by which it may be passed over unopened.
pub(super) fn partitioned_file(file: &DataFile) -> Result<PartitionedFile> {
    let columns = partition_columns();
    let partition = columns.iter().map(|column| match column.data_type() {
        DataType::Date32 => Ok(ScalarValue::Date32(Some(date_of_text(&file.commit_date)?))),
        _ => Ok(ScalarValue::from(file.origin.as_str())),
    });
    let mut found = PartitionedFile::new(file.path.as_ref(), file.size)
        .with_partition_values(partition.collect::<Result<_>>()?)
        .with_statistics(Arc::new(statistics(file)));
    found.object_meta.location = file.path.clone();
    Ok(found)
}

fn statistics(file: &DataFile) -> Statistics {
    let mut statistics = Statistics::new_unknown(&file_schema());
    statistics.num_rows = Precision::Exact(file.rows as usize);
    for (column, statistics) in COLUMNS.iter().zip(&mut statistics.column_statistics) {
        match (column.source, file.committed_at, file.captured_at) {
            (Source::LeafIndex, _, _) => {
                let int = |n: u64| ScalarValue::Int64(Some(n as i64));
                *statistics = bounds(Precision::Exact, int(file.leaves.start), int(file.leaves.end - 1));
            }
            (Source::CommittedAt, Some(span), _) | (Source::CapturedAt, _, Some(span)) => {
                let time = |at| ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into()));
                *statistics = bounds(Precision::Inexact, time(span.0), time(span.1));
            }
            _ => {}
        }
    }
    statistics
}

fn bounds(
    precision: fn(ScalarValue) -> Precision<ScalarValue>,
    first: ScalarValue,
    last: ScalarValue,
) -> ColumnStatistics {
    ColumnStatistics {
        null_count: Precision::Exact(0),
        min_value: precision(first),
        max_value: precision(last),
        ..ColumnStatistics::new_unknown()
    }
}

/// The URL of the table's storage.
pub(super) fn store_url() -> Result<url::Url> {
    ObjectStoreUrl::parse(STORE).map(|url| AsRef::<url::Url>::as_ref(&url).clone())
}
