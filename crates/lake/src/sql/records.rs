//! The table `records` as queries see it: the data files of a snapshot and the hot rows that follow on them.

use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
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
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, Partitioning};
use datafusion::scalar::ScalarValue;
use object_store::ObjectStore;

use super::bounds;
use super::hot::HotRows;
use super::readers::Readers;
use crate::data_file::PAGE_ROWS;
use crate::lake::{Lake, blocking};
use crate::row::date_of_text;
use crate::schema::{COLUMNS, Source, file_schema, partition_columns, table_schema};
use crate::search::{Conditions, Indexes};
use crate::snapshot::Snapshot;
use crate::table::DataFile;

/// By this URL DataFusion knows the storage of the table. SQL cannot name it.
const STORE: &str = "onrecord://lake";
/// Pages that one reader reads, in each column: what one more would have to open takes as long as they do.
const FEW_PAGES: usize = if cfg!(test) { 1 } else { 32 };
/// So many rows in few pages are read as they are and then looked at, without asking first what a file says of its pages, if
/// they have no more than so many bytes.
const FEW_ROWS: usize = if cfg!(test) { 16 } else { 1 << 10 };
const FEW_BYTES: u64 = 4 << 20;

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
    /// Which of all columns it has, in order.
    columns: Vec<usize>,
    schema: TableSchema,
}

impl RecordsTable {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self::of(store, |_| true)
    }

    /// The same table with those columns alone that are `wanted`, and the partition columns.
    pub(super) fn with(&self, wanted: impl Fn(&str) -> bool) -> Self {
        Self::of(Arc::clone(&self.store), wanted)
    }

    fn of(store: Arc<dyn ObjectStore>, wanted: impl Fn(&str) -> bool) -> Self {
        let of_files = file_schema().fields().len();
        let mut columns: Vec<_> = (0..of_files).filter(|at| wanted(COLUMNS[*at].field.name())).collect();
        let fields: Fields = columns.iter().map(|at| Arc::clone(&COLUMNS[*at].field)).collect();
        columns.extend(of_files..COLUMNS.len());
        let schema = TableSchema::builder(Arc::new(Schema::new(fields)));
        Self { store, columns, schema: schema.with_table_partition_cols(partition_columns()).build() }
    }

    /// The scan of the data files, whose rows have so many bytes; `columns` counts those of this table.
    fn sealed(
        &self,
        state: &dyn Session,
        files: Vec<SomeRows>,
        columns: Vec<usize>,
        row_bytes: u64,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (mut rows_read, mut pages_read) = (0, 0);
        for (file, rows) in &files {
            let all = 0..file.rows as usize;
            let rows = rows.as_deref().unwrap_or(slice::from_ref(&all));
            rows_read += rows.iter().map(Range::len).sum::<usize>();
            pages_read += pages(rows);
        }
        let is_little = pages_read <= FEW_PAGES;
        let files = files.into_iter().map(|(file, rows)| {
            let part = partitioned_file(&file)?.with_statistics(Arc::new(self.statistics(&file)));
            Ok(match rows {
                Some(rows) => {
                    let rows = RowSelection::from_consecutive_ranges(rows.into_iter(), file.rows as usize);
                    part.with_extension(ParquetRowSelection::new(rows))
                }
                None => part,
            })
        });
        let files = files.collect::<Result<_>>()?;
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = Readers::new(Arc::clone(&self.store), cache);
        let mut options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        if is_little && rows_read <= FEW_ROWS && rows_read as u64 * row_bytes <= FEW_BYTES {
            let parquet = &mut options.global;
            (parquet.pruning, parquet.enable_page_index, parquet.bloom_filter_on_read) = (false, false, false);
            parquet.pushdown_filters = false;
        }
        let groups = dealt(files, if is_little { 1 } else { state.config().target_partitions() });
        // Told how the rows are dealt, the engine does not deal them out again.
        let dealt = is_little.then_some(Partitioning::UnknownPartitioning(groups.len()));
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE)?, Arc::new(source))
            .with_file_groups(groups)
            .with_output_partitioning(dealt)
            .with_projection_indices(Some(columns))?
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }

    /// What is known of a file without opening it.
    fn statistics(&self, file: &DataFile) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.schema.file_schema());
        statistics.num_rows = Precision::Exact(file.rows as usize);
        for (column, statistics) in self.columns.iter().zip(&mut statistics.column_statistics) {
            match (COLUMNS[*column].source, file.committed_at, file.captured_at) {
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
}

#[async_trait::async_trait]
impl TableProvider for RecordsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
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
        let own = projection.cloned().unwrap_or_else(|| (0..self.columns.len()).collect());
        let columns: Vec<_> = own.iter().map(|at| self.columns[*at]).collect();
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
            parts.push(self.sealed(state, files, own, row_bytes)?);
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
type SomeRows = (Arc<DataFile>, Option<Vec<Range<usize>>>);

/// How many pages of a column have the rows, which are in order.
fn pages(rows: &[Range<usize>]) -> usize {
    let (mut count, mut last) = (0, None);
    for rows in rows.iter().filter(|rows| !rows.is_empty()) {
        let (first, end) = (rows.start / PAGE_ROWS, (rows.end - 1) / PAGE_ROWS);
        count += end - first + usize::from(last != Some(first));
        last = Some(end);
    }
    count
}

/// The data files that may have rows which fulfil the conditions, the newest first, each with these rows if they are known.
async fn files(view: &QueryView, leaves: Range<u64>, conditions: Conditions) -> Result<Vec<SomeRows>> {
    let (lake, snapshot) = (view.lake.clone(), Arc::clone(&view.snapshot));
    let is_any = conditions.is_empty();
    let of = move |indexes: Option<&Indexes>| {
        let files = snapshot.sealed.files.iter().rev();
        let files = files.filter(|file| file.leaves.start < leaves.end && leaves.start < file.leaves.end);
        let some = |file: &Arc<DataFile>| {
            let rows = indexes.and_then(|indexes| indexes.rows(file, &conditions));
            let rows = match (rows, file.rows_of(&leaves)) {
                (Some(rows), Some(of)) => Some(rows.into_iter().filter_map(|rows| both(&rows, &of)).collect()),
                (None, Some(of)) if of.len() <= FEW_PAGES * PAGE_ROWS => Some(vec![of]),
                (rows, _) => rows,
            };
            let is_empty = rows.as_ref().is_some_and(Vec::is_empty);
            (!is_empty).then(|| (Arc::clone(file), rows))
        };
        files.filter_map(some).collect()
    };
    if is_any {
        return Ok(of(None));
    }
    let find = move || Ok(of(Some(&lake.inner.indexes)));
    blocking(find).await.map_err(|error| DataFusionError::External(Box::new(error)))
}

/// The rows that are in both.
fn both(one: &Range<usize>, other: &Range<usize>) -> Option<Range<usize>> {
    let both = one.start.max(other.start)..one.end.min(other.end);
    (!both.is_empty()).then_some(both)
}

/// The files in groups that are read at the same time. Each group has some of the newest, so that whoever wants these
/// is done early.
fn dealt(files: Vec<PartitionedFile>, groups: usize) -> Vec<FileGroup> {
    let mut dealt = vec![Vec::new(); groups.clamp(1, files.len().max(1))];
    let count = dealt.len();
    files.into_iter().enumerate().for_each(|(at, file)| dealt[at % count].push(file));
    dealt.into_iter().map(FileGroup::new).collect()
}

/// The file with its partition.
pub(super) fn partitioned_file(file: &DataFile) -> Result<PartitionedFile> {
    let columns = partition_columns();
    let partition = columns.iter().map(|column| match column.data_type() {
        DataType::Date32 => Ok(ScalarValue::Date32(Some(date_of_text(&file.commit_date)?))),
        _ => Ok(ScalarValue::from(file.origin.as_str())),
    });
    let mut found =
        PartitionedFile::new(file.path.as_ref(), file.size).with_partition_values(partition.collect::<Result<_>>()?);
    found.object_meta.location = file.path.clone();
    Ok(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_rows() {
        for (rows, expected) in [
            (vec![], 0),
            (vec![0..1, 999..1000], 1),
            (vec![5..5, 1000..1000, 999..1000], 1),
            (vec![3..4, 999..1001], 2),
            (vec![0..10_000, 10_001..10_002], 11),
            (vec![0..1, 7..9, 998..1002, 1005..1006, 5000..6001], 4),
        ] {
            assert_eq!(pages(&rows), expected, "{rows:?}");
        }
    }
}
