//! Reading records back, sealed or hot.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, RowGroupMetaData};
use datafusion::parquet::file::statistics::Statistics;
use datafusion::scalar::ScalarValue;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt, future};
use onrecord_ledger::Committed;
use onrecord_proof::Group;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::lake::{Lake, blocking};
use crate::row::read_rows;
use crate::schema::{COLUMNS, Column, Source};
use crate::sql::QueryLimits;
use crate::table::{DataFile, Sealed};
use crate::wide::rows_at_once;

/// Rows of a data file that are decoded at once, if they are not large.
const BATCH_ROWS: usize = 512;
/// Leaves that are read for nothing rather than beginning anew behind them.
const GAP: u64 = 16;
/// Leaves that one thread looks at in one go: so many that what they share with others, the dictionaries of a row group,
/// is not read much more often than once.
const PART: u64 = if cfg!(test) { 16 } else { 32 << 10 };
/// Payload that is read from the log at once, in bytes.
const CHUNK: usize = 4 << 20;

pub(crate) type Batches = BoxStream<'static, Result<Vec<Committed>>>;

impl Lake {
    /// The record of leaf `index`, if it is there.
    pub async fn get(&self, index: u64) -> Result<Option<Committed>> {
        self.records(index..index.saturating_add(1)).try_next().await
    }

    /// The record with that id, if it is there.
    pub async fn find(&self, id: Uuid) -> Result<Option<Committed>> {
        self.find_all(HashSet::from([id])).await?.try_next().await
    }

    /// The records with these ids, as far as they are there. All are looked up at once; each is read as it is asked for.
    pub async fn find_all(&self, ids: HashSet<Uuid>) -> Result<BoxStream<'static, Result<Committed>>> {
        let (mut leaves, left) = self.leaves_of_ids(ids.clone()).await?;
        if !left.is_empty() {
            leaves.extend(self.leaves_in_rows(&left).await?);
        }
        leaves.sort_unstable();
        let lake = self.clone();
        // What was sent together stands together.
        let runs: Vec<_> =
            leaves.chunk_by(|one, next| next - one <= GAP).map(|run| run[0]..run[run.len() - 1] + 1).collect();
        let records = stream::iter(runs).flat_map(move |run| lake.records(run));
        Ok(records.try_filter(move |found| future::ready(ids.contains(&found.record.id))).boxed())
    }

    /// The leaves of the records with these ids, from the rows themselves.
    async fn leaves_in_rows(&self, ids: &HashSet<Uuid>) -> Result<Vec<u64>> {
        let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
        let statement = format!("SELECT leaf_index FROM records WHERE origin = $1 AND id IN ({list})");
        let limits = QueryLimits { rows: ids.len(), ..QueryLimits::default() };
        let mut rows = self.query_with(&statement, vec![ScalarValue::from(self.origin())], limits).await?;
        let mut leaves = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            leaves.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().map(|leaf| *leaf as u64));
        }
        Ok(leaves)
    }

    /// The records of `leaves` in the order of the log, as far as they are committed. A leaf whose record is gone from
    /// the lake is left out. Memory stays bounded by a few hundred records, of large ones by fewer.
    pub fn records(&self, leaves: Range<u64>) -> BoxStream<'static, Result<Committed>> {
        let walk = Walk { lake: self.clone(), next: leaves.start, until: leaves.end, file: None };
        let batches = stream::try_unfold(walk, |mut walk| async move {
            Ok::<_, Error>(walk.next().await?.map(|batch| (stream::iter(batch).map(Ok), walk)))
        });
        batches.try_flatten().boxed()
    }

    /// What `look` makes of each record of `leaves`, in the order of the log, as [`records`](Self::records) gives them.
    /// Several parts of the leaves are read at a time, on the threads for queries.
    pub fn look_at<T: Send + 'static>(
        &self,
        leaves: Range<u64>,
        look: fn(&Committed) -> T,
    ) -> BoxStream<'static, Result<T>> {
        let (lake, until) = (self.clone(), leaves.end);
        let parts = leaves.step_by(PART as usize).map(move |from| from..until.min(from.saturating_add(PART)));
        let look_at = move |part| {
            let lake = lake.clone();
            let records = lake.records(part);
            async move {
                let seen =
                    lake.inner.engine.spawn_while_awaited(async move { Ok(all_seen(records, look).await) }).await;
                stream::iter(seen.unwrap_or_else(|error| vec![Err(error)]))
            }
        };
        stream::iter(parts).map(look_at).buffered(self.inner.options.threads.max(1)).flatten().boxed()
    }

    /// The records of some leaves of `file`, which are in order, as far as they can be searched: without token decisions
    /// and timings.
    pub(crate) async fn read_leaves(&self, file: &DataFile, leaves: &[u64]) -> Result<Vec<Committed>> {
        let builder = self.rows_in(file).await?;
        let mut mask = stored(&builder);
        mask.intersect(&ProjectionMask::columns(builder.parquet_schema(), searchable()));
        let batches: Vec<_> = rows_of(builder, file, leaves).with_projection(mask).build()?.try_collect().await?;
        let mut records = Vec::new();
        for batch in &batches {
            records.extend(read_rows(batch)?.into_iter().filter(|row| leaves.binary_search(&row.index).is_ok()));
        }
        Ok(records)
    }

    /// Some columns of the rows of some leaves of `file`, which are in order. Of a file with gaps there are more rows.
    pub(crate) async fn read_columns(
        &self,
        file: &DataFile,
        leaves: &[u64],
        columns: impl Iterator<Item = &str>,
    ) -> Result<Vec<RecordBatch>> {
        let builder = self.rows_in(file).await?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns);
        Ok(rows_of(builder, file, leaves).with_projection(mask).build()?.try_collect().await?)
    }

    /// The records of `file` from leaf `from` on, before `until`.
    pub(crate) async fn read_file(&self, file: &DataFile, from: u64, until: u64) -> Result<Batches> {
        let mut builder = self.rows_in(file).await?;
        if let Some(rows) = file.rows_of(&(from..until)) {
            let selected = RowSelection::from_consecutive_ranges(std::iter::once(rows), file.rows as usize);
            builder = builder.with_row_selection(selected);
        }
        let mask = stored(&builder);
        let at_once = batch_rows(builder.metadata());
        let rows = builder.with_projection(mask).with_batch_size(at_once).build()?.map_err(Error::from);
        let records = rows.and_then(|batch| async move { read_rows(&batch) });
        let wanted = move |records: Vec<Committed>| {
            records.into_iter().filter(|record| (from..until).contains(&record.index)).collect()
        };
        Ok(records.map_ok(wanted).boxed())
    }

    async fn rows_in(&self, file: &DataFile) -> Result<Rows> {
        let reader = self.inner.engine.open(file)?;
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        Ok(ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await?)
    }
}

/// What `look` makes of records, up to the first that cannot be read.
async fn all_seen<T>(mut records: BoxStream<'static, Result<Committed>>, look: fn(&Committed) -> T) -> Vec<Result<T>> {
    let mut seen = Vec::new();
    while let Some(record) = records.next().await {
        let is_damaged = record.is_err();
        seen.push(record.map(|record| look(&record)));
        if is_damaged {
            break;
        }
    }
    seen
}

type Rows = ParquetRecordBatchStreamBuilder<Box<dyn AsyncFileReader>>;

fn rows_of(builder: Rows, file: &DataFile, leaves: &[u64]) -> Rows {
    let at_once = batch_rows(builder.metadata());
    let builder = builder.with_batch_size(at_once);
    let rows: Option<Vec<_>> = leaves.iter().map(|leaf| file.rows_of(&(*leaf..leaf + 1))).collect();
    match rows {
        Some(rows) => {
            builder.with_row_selection(RowSelection::from_consecutive_ranges(rows.into_iter(), file.rows as usize))
        }
        None => builder,
    }
}

/// The columns that have something in them. Most fields are of few records, and a column of nulls takes its time too;
/// what has no column has no value, as in a file that is older than the field.
fn stored(builder: &Rows) -> ProjectionMask {
    let schema = builder.parquet_schema();
    let is_empty = |leaf: usize| {
        let chunks = builder.metadata().row_groups().iter().map(|group| group.column(leaf));
        let nulls = |chunk: &ColumnChunkMetaData| chunk.statistics().and_then(Statistics::null_count_opt);
        // Of a list that is empty there is no value either.
        let is_list = schema.column(leaf).max_rep_level() > 0;
        !is_list && chunks.into_iter().all(|chunk| nulls(chunk) == Some(chunk.num_values() as u64))
    };
    let is_field = |name: &str| {
        COLUMNS.iter().any(|column| matches!(column.source, Source::Field(_)) && column.field.name() == name)
    };
    let root = |leaf: usize| schema.get_column_root_idx(leaf);
    let wanted = |leaf: &usize| !is_field(schema.get_column_root(*leaf).name()) || !is_empty(*leaf);
    ProjectionMask::roots(schema, (0..schema.num_columns()).filter(wanted).map(root))
}

/// How many rows of a file are decoded at once: fewer where they are large, as those with media are.
fn batch_rows(file: &ParquetMetaData) -> usize {
    let columns = file.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let bytes: i64 = columns.filter_map(ColumnChunkMetaData::unencoded_byte_array_data_bytes).sum();
    let row = bytes / file.file_metadata().num_rows().max(1);
    rows_at_once(u64::try_from(row).unwrap_or_default(), BATCH_ROWS)
}

/// What is read for a search: not the token decisions and the timings, which are most of a record's columns.
fn searchable() -> impl Iterator<Item = &'static str> {
    let wanted = |column: &&Column| match column.source {
        Source::Origin | Source::CommitDate => false,
        Source::Field(field) => !matches!(field.group, Group::Decisions | Group::Performance),
        _ => true,
    };
    COLUMNS.iter().filter(wanted).map(|column| column.field.name().as_str())
}

/// Walks over the leaves in order: through data files, then through the log. Where it is in the log, it goes on in a data
/// file if that part was sealed meanwhile.
struct Walk {
    lake: Lake,
    next: u64,
    until: u64,
    /// What is left of a data file, and where that file ends.
    /// Its version of the table keeps it from being removed.
    file: Option<(Batches, u64, Arc<Sealed>)>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<Vec<Committed>>> {
        while self.next < self.until {
            let batch = match &mut self.file {
                Some((batches, end, _)) => {
                    let (batch, end) = (batches.try_next().await?, *end);
                    if batch.is_none() {
                        self.next = self.next.max(end);
                        self.file = None;
                    }
                    batch.unwrap_or_default()
                }
                None => match self.go_on().await? {
                    Some(batch) => batch,
                    None => return Ok(None),
                },
            };
            if let Some(last) = batch.last() {
                self.next = last.index + 1;
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Opens the data file that the next leaf is in, or reads it and those after it from the log. `None` at the end.
    async fn go_on(&mut self) -> Result<Option<Vec<Committed>>> {
        let snapshot = self.lake.snapshot();
        let until = self.until.min(snapshot.size);
        if self.next >= until {
            return Ok(None);
        }
        if self.next < snapshot.sealed.cursor {
            match snapshot.sealed.file_from(self.next) {
                Some(file) if file.leaves.start < self.until => {
                    let batches = self.lake.read_file(file, self.next, self.until).await?;
                    self.file = Some((batches, file.leaves.end, Arc::clone(&snapshot.sealed)));
                }
                _ => self.next = snapshot.sealed.cursor,
            }
            return Ok(Some(Vec::new()));
        }
        let (log, from) = (Arc::clone(&self.lake.inner.log), self.next);
        // The snapshot keeps the log from letting go of these meanwhile.
        let batch = blocking(move || log.read(from, until, CHUNK).map_err(Error::Log)).await?;
        drop(snapshot);
        if batch.is_empty() {
            return Err(Error::corrupt("the log", format!("no leaf {from}")));
        }
        Ok(Some(batch))
    }
}
