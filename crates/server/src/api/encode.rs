//! Rows in the format that was asked for.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use onrecord_lake::datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray};
use onrecord_lake::datafusion::arrow::csv::Writer as CsvWriter;
use onrecord_lake::datafusion::arrow::datatypes::{DataType, Field, Schema};
use onrecord_lake::datafusion::arrow::ipc::writer::StreamWriter;
use onrecord_lake::datafusion::arrow::json::{ArrayWriter, LineDelimitedWriter};
use onrecord_lake::datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use onrecord_lake::datafusion::parquet::arrow::ArrowWriter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A format of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A JSON array of objects.
    Json,
    /// A JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Its media type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Jsonl => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The first format that an `Accept` header names.
    pub(super) fn of_accept(accept: &str) -> Option<Self> {
        let all = [Self::Json, Self::Jsonl, Self::Csv, Self::Parquet, Self::Arrow];
        let named = |media: &str| {
            let media = media.split(';').next().unwrap_or_default().trim();
            all.into_iter().find(|format| format.content_type().split(';').next() == Some(media))
        };
        accept.split(',').find_map(named)
    }
}

/// What the writers write to, and where the body takes it from.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Writer {
    Json(ArrayWriter<Buffer>),
    Jsonl(LineDelimitedWriter<Buffer>),
    Csv(Box<CsvWriter<Buffer>>),
    Parquet(Box<ArrowWriter<Buffer>>),
    Arrow(Box<StreamWriter<Buffer>>),
}

/// Writes batches of rows one after the other.
pub(crate) struct Encoder {
    buffer: Buffer,
    writer: Writer,
}

impl Encoder {
    pub(crate) fn new(format: Format, schema: &Arc<Schema>) -> anyhow::Result<Self> {
        let buffer = Buffer::default();
        let to = buffer.clone();
        let writer = match format {
            Format::Json => Writer::Json(ArrayWriter::new(to)),
            Format::Jsonl => Writer::Jsonl(LineDelimitedWriter::new(to)),
            Format::Csv => Writer::Csv(Box::new(CsvWriter::new(to))),
            Format::Parquet => Writer::Parquet(Box::new(ArrowWriter::try_new(to, Arc::clone(schema), None)?)),
            Format::Arrow => Writer::Arrow(Box::new(StreamWriter::try_new(to, schema)?)),
        };
        Ok(Self { buffer, writer })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<Bytes> {
        match &mut self.writer {
            Writer::Json(writer) => writer.write(batch)?,
            Writer::Jsonl(writer) => writer.write(batch)?,
            Writer::Csv(writer) => writer.write(&flat(batch)?)?,
            Writer::Parquet(writer) => writer.write(batch)?,
            Writer::Arrow(writer) => writer.write(batch)?,
        }
        Ok(self.buffer.take())
    }

    pub(crate) fn finish(self) -> anyhow::Result<Bytes> {
        match self.writer {
            Writer::Json(mut writer) => {
                writer.finish()?;
                let mut rows = self.buffer.take().to_vec();
                rows.push(b'\n');
                return Ok(rows.into());
            }
            Writer::Jsonl(mut writer) => writer.finish()?,
            Writer::Csv(_) => {}
            Writer::Parquet(writer) => drop(writer.close()?),
            Writer::Arrow(mut writer) => writer.finish()?,
        }
        Ok(self.buffer.take())
    }
}

/// The rows with lists and maps as text, since CSV has no form for them.
fn flat(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let schema = batch.schema();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let nested = field.data_type().is_nested();
        fields.push(if nested { Field::new(field.name(), DataType::Utf8, true) } else { field.as_ref().clone() });
        columns.push(if nested { text(column)? } else { Arc::clone(column) });
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn text(column: &ArrayRef) -> anyhow::Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let cells = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
    Ok(Arc::new(cells.collect::<StringArray>()))
}
