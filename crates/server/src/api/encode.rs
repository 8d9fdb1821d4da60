//! Rows in the format that was asked for.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use onrecord_lake::datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use onrecord_lake::datafusion::arrow::compute::cast;
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
    /// Comma-separated values with a header; a text that a spreadsheet would take for a formula begins with an apostrophe.
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
    Csv(Box<CsvWriter<Buffer>>, Arc<Schema>),
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
            Format::Csv => Writer::Csv(Box::new(CsvWriter::new(to)), Arc::clone(schema)),
            Format::Parquet => Writer::Parquet(Box::new(ArrowWriter::try_new(to, Arc::clone(schema), None)?)),
            Format::Arrow => Writer::Arrow(Box::new(StreamWriter::try_new(to, schema)?)),
        };
        Ok(Self { buffer, writer })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<Bytes> {
        match &mut self.writer {
            Writer::Json(writer) => writer.write(batch)?,
            Writer::Jsonl(writer) => writer.write(batch)?,
            Writer::Csv(writer, _) => writer.write(&texts_for_csv(batch)?)?,
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
            // The header comes with the first rows, also if there are none.
            Writer::Csv(mut writer, schema) => writer.write(&texts_for_csv(&RecordBatch::new_empty(schema))?)?,
            Writer::Parquet(writer) => drop(writer.close()?),
            Writer::Arrow(mut writer) => writer.finish()?,
        }
        Ok(self.buffer.take())
    }
}

/// The rows as CSV has them: lists and maps as text, and formulas defused.
fn texts_for_csv(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let schema = batch.schema();
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let texts = match field.data_type() {
            nested if nested.is_nested() => Some(text(column)?),
            other if is_text(other) => Some(defused(column)?),
            _ => None,
        };
        let as_text = || Field::new(field.name(), DataType::Utf8, true);
        fields.push(if texts.is_some() { as_text() } else { field.as_ref().clone() });
        columns.push(texts.unwrap_or_else(|| Arc::clone(column)));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_text(value),
        other => other.is_string(),
    }
}

/// A list or a map begins with a bracket, so it is no formula.
fn text(column: &ArrayRef) -> anyhow::Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let cells = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
    Ok(Arc::new(cells.collect::<StringArray>()))
}

/// Texts with an apostrophe in front of each that a spreadsheet would take for a formula (OWASP, CSV injection).
fn defused(column: &ArrayRef) -> anyhow::Result<ArrayRef> {
    let texts = cast(column, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let is_formula = |text: &str| text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !texts.iter().flatten().any(is_formula) {
        return Ok(Arc::new(texts.clone()));
    }
    let defused =
        texts.iter().map(|text| text.map(|text| if is_formula(text) { format!("'{text}") } else { text.to_owned() }));
    Ok(Arc::new(defused.collect::<StringArray>()))
}

#[cfg(test)]
mod tests {
    use onrecord_lake::datafusion::arrow::array::{Int64Array, ListArray, StringViewArray};
    use onrecord_lake::datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn written(format: Format, schema: &Arc<Schema>, batches: &[RecordBatch]) -> String {
        let mut encoder = Encoder::new(format, schema).unwrap();
        let mut all = Vec::new();
        for batch in batches {
            all.extend_from_slice(&encoder.write(batch).unwrap());
        }
        all.extend_from_slice(&encoder.finish().unwrap());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn formulas_are_defused_in_csv_and_nothing_else() {
        let texts = [Some("=1+1"), Some("+1"), Some("-1"), Some("@x"), Some("\tx"), Some("\rx"), Some("a=b"), None];
        let numbers = Int64Array::from_iter_values(-7..=0);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..8).map(|n| Some([Some(-n)])));
        let columns: [(&str, ArrayRef); 4] = [
            ("text", Arc::new(StringArray::from_iter(texts))),
            ("view", Arc::new(StringViewArray::from_iter(texts))),
            ("number", Arc::new(numbers)),
            ("list", Arc::new(lists)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let rows = [
            "text,view,number,list",
            "'=1+1,'=1+1,-7,[0]",
            "'+1,'+1,-6,[-1]",
            "'-1,'-1,-5,[-2]",
            "'@x,'@x,-4,[-3]",
            "'\tx,'\tx,-3,[-4]",
            "\"'\rx\",\"'\rx\",-2,[-5]",
            "a=b,a=b,-1,[-6]",
            ",,0,[-7]",
        ];
        assert_eq!(written(Format::Csv, &batch.schema(), std::slice::from_ref(&batch)), rows.join("\n") + "\n");
        let jsonl = written(Format::Jsonl, &batch.schema(), &[batch]);
        assert!(jsonl.starts_with("{\"text\":\"=1+1\","), "{jsonl}");
    }

    #[test]
    fn no_rows_are_a_header_in_csv() {
        let columns: [(&str, ArrayRef); 2] =
            [("a", Arc::new(StringArray::from(vec!["x"]))), ("b", Arc::new(Int64Array::from(vec![1])))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let schema = batch.schema();
        assert_eq!(written(Format::Csv, &schema, &[]), "a,b\n");
        assert_eq!(written(Format::Csv, &schema, &[batch.slice(0, 0)]), "a,b\n");
        assert_eq!(written(Format::Csv, &schema, &[batch.clone(), batch]), "a,b\nx,1\nx,1\n");
        assert_eq!(written(Format::Json, &schema, &[]), "[]\n");
    }
}
