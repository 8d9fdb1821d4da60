//! Writes data files: Parquet with small pages, so that few rows can be read alone, and dictionaries that are large
//! enough to keep the messages and the media of long conversations once.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Date32Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::metadata::SortingColumn;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use datafusion::parquet::schema::types::ColumnPath;
use deltalake_core::kernel::Add;
use onrecord_ledger::Committed;
use onrecord_proof::{Map, Record, Shape, field};

use crate::error::Result;
use crate::row::{commit_date, write_rows};
use crate::row_group::{BODY_DICTIONARY_BYTES, RowGroups};
use crate::schema::{COLUMNS, Column, Source, file_schema};
use crate::storage::{NewFile, StorageRef};
use crate::table::files::{self, Attempt};
use crate::table::sidecar::Entry;

/// Rows of a page: what is decoded at least to read one of them.
pub(crate) const PAGE_ROWS: usize = 1_000;
/// The row limit of a page is looked at after so many values.
const WRITE_BATCH: usize = 250;
/// A page of a body column holds at most about this many bytes, be it a few large bodies.
const PAGE_BYTES: usize = 128 << 10;
/// The same of texts that a search shows, page by page.
const TEXT_PAGE_BYTES: usize = 64 << 10;
/// More rows than this are in one row group only if they are very small.
const ROW_GROUP_ROWS: u64 = 128 << 10;
/// Bodies that are converted at once, in bytes: a part of what a dictionary holds, so that it is seen in time that it is full.
const BODIES_AT_ONCE: usize = 2 << 20;
/// Levels of zstd: of what was just sealed, most of which is soon put together with others, and of what takes the place of
/// others.
const FRESH: i32 = 1;
const LASTING: i32 = 3;
/// Chance that a bloom filter has a file opened for nothing.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// The columns with a bloom filter: what single records and sessions are looked up by.
const BLOOM: [Source; 4] =
    [Source::Id, Source::Field(&field::REQUEST_ID), Source::Field(&field::SESSION), Source::Field(&field::TRACE_ID)];

/// The columns by whose bounds pages are passed over, since their values follow the order of the log. Of the others the
/// bounds of a row group do: with a page's of two hundred columns, what is kept of each file would be several MB.
const PAGE_STATISTICS: [Source; 4] = [Source::LeafIndex, Source::Id, Source::CapturedAt, Source::CommittedAt];
/// The columns whose values hardly come again, as those of [durations](is_duration) do not either. A dictionary of them would save
/// nothing, and be read with every row.
const UNIQUE: [Source; 19] = [
    Source::LeafIndex,
    Source::Id,
    Source::CapturedAt,
    Source::CommittedAt,
    Source::Secret,
    Source::Field(&field::REQUEST_ID),
    Source::Field(&field::TRACE_ID),
    Source::Field(&field::SPAN_ID),
    Source::Field(&field::PARENT_SPAN_ID),
    Source::Field(&field::RESPONSE_ID),
    Source::Field(&field::INPUT_TEXT),
    Source::Field(&field::INPUT_SHA256),
    Source::Field(&field::OUTPUT_BODY),
    Source::Field(&field::OUTPUT_MESSAGES),
    Source::Field(&field::OUTPUT_TEXT),
    Source::Field(&field::OUTPUT_REASONING),
    Source::Field(&field::OUTPUT_SHA256),
    Source::Field(&field::TOKEN_TIMES),
    Source::Field(&field::LOGPROBS),
];
/// Texts of a page of their own size.
const TEXTS: [Source; 3] =
    [Source::Field(&field::INPUT_TEXT), Source::Field(&field::OUTPUT_TEXT), Source::Field(&field::OUTPUT_REASONING)];

/// A data file that is being written: rows of one origin and one day.
pub(crate) struct DataFileWriter {
    row_groups: RowGroups<NewFile>,
    storage: StorageRef,
    origin: String,
    day: i32,
    leaves: Range<u64>,
    /// If it takes the place of other files.
    attempt: Option<Attempt>,
    committed_at: Times,
    captured_at: Times,
    columns: Vec<usize>,
    payload: usize,
}

/// A data file that is durable, and not part of the table yet.
pub(crate) struct Written {
    pub(crate) add: Add,
    pub(crate) entry: Entry,
    pub(crate) leaves: Range<u64>,
    pub(crate) bytes: u64,
}

impl DataFileWriter {
    /// Begins the file in the table's `storage` that holds `leaves`, the first of which was committed at
    /// `committed_at`. It may end up with fewer leaves. `attempt` if the file takes the place of others.
    pub(crate) fn create(
        storage: &StorageRef,
        origin: &str,
        leaves: Range<u64>,
        committed_at: i64,
        attempt: Option<Attempt>,
    ) -> Result<Self> {
        let day = commit_date(committed_at);
        let file = storage.begin(&files::path(origin, &date(day)?, &leaves, attempt))?;
        let rows = (leaves.end - leaves.start).min(ROW_GROUP_ROWS);
        let bodies = (0..COLUMNS.len()).filter(|at| is_body(&COLUMNS[*at]) && !is_unique(&COLUMNS[*at]));
        let level = if attempt.is_some() { LASTING } else { FRESH };
        let (with, without) = (properties(rows, level, true), properties(rows, level, false));
        let row_groups = RowGroups::create(file, bodies.collect(), with, without)?;
        let columns = (0..file_schema().fields().len()).collect();
        let leaves = leaves.start..leaves.start;
        Ok(Self {
            row_groups,
            storage: Arc::clone(storage),
            origin: origin.to_owned(),
            day,
            leaves,
            attempt,
            committed_at: Times::default(),
            captured_at: Times::default(),
            columns,
            payload: 0,
        })
    }

    /// Adds the first of `rows`: those that were committed on the file's day. They follow on those that were added
    /// before. Gives their number.
    pub(crate) fn add(&mut self, rows: &[Committed]) -> Result<usize> {
        let count = rows.iter().take_while(|row| commit_date(row.committed_at) == self.day).count();
        let mut left = &rows[..count];
        while !left.is_empty() {
            let (now, later) = left.split_at(rows_at_once(left));
            self.write(now)?;
            left = later;
        }
        Ok(count)
    }

    fn write(&mut self, rows: &[Committed]) -> Result<()> {
        let batch = write_rows(rows, &self.columns, &self.origin)?;
        self.payload += batch.get_array_memory_size();
        self.note(&batch);
        self.row_groups.write(batch)?;
        self.leaves.end += rows.len() as u64;
        Ok(())
    }

    fn note(&mut self, batch: &RecordBatch) {
        let columns = [(Source::CommittedAt, &mut self.committed_at), (Source::CapturedAt, &mut self.captured_at)];
        for (source, times) in columns {
            let at = COLUMNS.iter().position(|column| column.source == source).unwrap_or_default();
            for time in batch.column(at).as_primitive::<TimestampMicrosecondType>().values() {
                times.add(*time);
            }
        }
    }

    /// First leaf index that is not in the file.
    pub(crate) fn end(&self) -> u64 {
        self.leaves.end
    }

    /// Bytes of payload that were added, before compression.
    pub(crate) fn payload(&self) -> usize {
        self.payload
    }

    /// Makes the file durable.
    pub(crate) async fn finish(self, now_ms: i64) -> Result<Written> {
        let rows = self.leaves.end - self.leaves.start;
        // The name says which leaves are in it, which is known only now.
        let date = date(self.day)?;
        let path = files::path(&self.origin, &date, &self.leaves, self.attempt);
        let (file, wide) = self.row_groups.finish()?;
        let (size, digest) = self.storage.finish(file, &path).await?;
        let times = [self.committed_at.texts(), self.captured_at.texts()];
        let add = Add {
            path: path.clone(),
            partition_values: [("origin".into(), Some(self.origin)), ("commit_date".into(), Some(date))].into(),
            size: size as i64,
            modification_time: now_ms,
            data_change: true,
            stats: Some(files::stats(rows, &self.leaves, times)),
            tags: Some(wide.to_tags()),
            ..Add::default()
        };
        Ok(Written { add, entry: Entry { digest, path }, leaves: self.leaves, bytes: size })
    }
}

/// How many of the first rows have no more bodies than are converted at once, and at least one.
fn rows_at_once(rows: &[Committed]) -> usize {
    let mut bytes = 0;
    let fit = rows.iter().take_while(|row| {
        bytes += bytes_of(&row.record);
        bytes <= BODIES_AT_ONCE
    });
    fit.count().max(1)
}

/// Bytes of a record's bodies.
fn bytes_of(record: &Record) -> usize {
    let open = record.groups().filter_map(|(group, _)| record.group(group));
    open.flat_map(Map::iter).filter_map(|(_, value)| value.as_bytes()).map(<[u8]>::len).sum()
}

/// First and last of some times, in microseconds.
struct Times(i64, i64);

impl Default for Times {
    fn default() -> Self {
        Self(i64::MAX, i64::MIN)
    }
}

impl Times {
    fn add(&mut self, time: i64) {
        *self = Self(self.0.min(time), self.1.max(time));
    }

    /// Both as statistics have them, if they can be written.
    fn texts(&self) -> Option<(String, String)> {
        time(self.0).zip(time(self.1))
    }
}

/// `2025-11-23`, from days since 1970-01-01.
fn date(days: i32) -> Result<String> {
    text(&Date32Array::from(vec![days]))
}

/// `2025-11-23T12:00:00.123456Z`, from microseconds since 1970-01-01 UTC. `None` where the year does not have four
/// digits, which not every reader of statistics expects.
fn time(micros: i64) -> Option<String> {
    let time = text(&TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC")).ok()?;
    (time.find('-') == Some(4)).then_some(time)
}

fn text(array: &dyn Array) -> Result<String> {
    Ok(ArrayFormatter::try_new(array, &FormatOptions::default())?.value(0).try_to_string()?)
}

/// How a file of row groups of so many rows is written, at a level of zstd, with or without dictionaries of bodies.
fn properties(rows: u64, level: i32, with_dictionaries: bool) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("onrecord ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default()))
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(WRITE_BATCH)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_sorting_columns(Some(vec![SortingColumn { column_idx: 0, descending: false, nulls_first: false }]));
    for column in COLUMNS.iter() {
        if BLOOM.contains(&column.source) {
            properties = with_bloom_filter(properties, ColumnPath::from(column.field.name().as_str()), rows);
        }
        let path = path(column);
        if PAGE_STATISTICS.contains(&column.source) {
            properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::Page);
        }
        if is_unique(column) || is_body(column) && !with_dictionaries {
            properties = properties.set_column_dictionary_enabled(path.clone(), false);
        }
        if TEXTS.contains(&column.source) {
            properties = properties.set_column_data_page_size_limit(path, TEXT_PAGE_BYTES);
        } else if is_body(column) {
            properties = properties
                .set_column_dictionary_page_size_limit(path.clone(), BODY_DICTIONARY_BYTES)
                .set_column_data_page_size_limit(path, PAGE_BYTES);
        }
    }
    properties.build()
}

fn is_unique(column: &Column) -> bool {
    UNIQUE.contains(&column.source) || is_duration(column)
}

/// How long something took, in microseconds.
fn is_duration(column: &Column) -> bool {
    matches!(column.source, Source::Field(field) if field.shape == Shape::Int && field.name.ends_with("_us"))
}

fn is_body(column: &Column) -> bool {
    matches!(column.source, Source::Field(field) if field.shape == Shape::Body)
}

/// Where the values of a column are in a file.
fn path(column: &Column) -> ColumnPath {
    let name = column.field.name().clone();
    match column.field.data_type() {
        DataType::List(item) if is_body(column) => ColumnPath::new(vec![name, "list".into(), item.name().clone()]),
        _ => ColumnPath::from(name),
    }
}

fn with_bloom_filter(properties: WriterPropertiesBuilder, path: ColumnPath, rows: u64) -> WriterPropertiesBuilder {
    properties
        .set_column_bloom_filter_enabled(path.clone(), true)
        .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(path, rows.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hardly_comes_again_has_no_dictionary() {
        let properties = properties(1000, LASTING, true);
        let has_one = |field: &str| {
            let column = COLUMNS.iter().find(|column| column.field.name() == field);
            properties.dictionary_enabled(&path(column.expect(field)))
        };
        for field in ["leaf_index", "captured_at", "trace_id", "onrecord_duration_us", "onrecord_upstream_prefill_us"] {
            assert!(!has_one(field), "{field}");
        }
        for field in ["gen_ai_request_model", "gen_ai_conversation_id", "http_request_body_size", "onrecord_input_body"]
        {
            assert!(has_one(field), "{field}");
        }
    }
}
