//! The table `records` as queries see it: the data files of a snapshot and the hot rows that follow on them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;
use object_store::ObjectStore;

use super::hot::HotRows;
use crate::lake::Lake;
use crate::log::Log;
use crate::row::date_of_text;
use crate::schema::{COLUMNS, Source, file_schema, partition_columns, table_schema};
use crate::snapshot::Snapshot;
use crate::table::DataFile;

/// By this URL DataFusion knows the storage of the table. SQL cannot name it.
const STORE: &str = "onrecord://lake";

/// What one query sees. It travels in the query's session, so that each use of the table in it sees the same.
pub(crate) struct QueryView {
    pub(crate) lake: Lake,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(super) log: Arc<dyn Log>,
}

impl QueryView {
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
    fn sealed(
        &self,
        state: &dyn Session,
        files: &[Arc<DataFile>],
        columns: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        let readers = CachedParquetFileReaderFactory::new(Arc::clone(&self.store), cache);
        let options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let group = FileGroup::new(files.iter().map(|file| partitioned_file(file)).collect::<Result<_>>()?);
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE)?, Arc::new(source))
            .with_file_groups(group.split_files(state.config().target_partitions()))
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
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let view = QueryView::of(state)?;
        let columns = projection.cloned().unwrap_or_else(|| (0..COLUMNS.len()).collect());
        let hot = HotRows::new(Arc::clone(&view.log), Arc::clone(&view.snapshot), &columns)?;
        let schema = Arc::new(table_schema().project(&columns)?);
        let mut parts = Vec::new();
        if !view.snapshot.sealed.files.is_empty() {
            parts.push(self.sealed(state, &view.snapshot.sealed.files, &columns)?);
        }
        if !hot.leaves().is_empty() {
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
        match (column.source, file.committed_at) {
            (Source::LeafIndex, _) => {
                let int = |n: u64| ScalarValue::Int64(Some(n as i64));
                *statistics = bounds(Precision::Exact, int(file.leaves.start), int(file.leaves.end - 1));
            }
            (Source::CommittedAt, Some((first, last))) => {
                let time = |at| ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into()));
                *statistics = bounds(Precision::Inexact, time(first), time(last));
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
