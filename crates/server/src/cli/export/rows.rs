//! The formats of an export.

use std::sync::Arc;

use onrecord_lake::datafusion::arrow::array::RecordBatch;
use onrecord_lake::datafusion::arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Row, chat, ocsf};
use crate::api::{Encoder, Format};

/// A format of exported rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rows {
    /// Parquet files
    Parquet,
    /// A JSON object a line
    Jsonl,
    /// Comma-separated values; a cell that a spreadsheet would take for a formula begins with an apostrophe
    Csv,
    /// Conversations of calls as OpenAI takes them for fine-tuning and evaluation, one a line
    Chat,
    /// Calls as API activity of the Open Cybersecurity Schema Framework with its AI profile, an event a line
    Ocsf,
}

impl Rows {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Chat => "chat",
            Self::Ocsf => "ocsf",
        }
    }

    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Jsonl | Self::Chat | Self::Ocsf => "jsonl",
        }
    }

    /// The columns that the format is made of, if it is not of those that one likes.
    pub(super) const fn columns(self) -> Option<&'static str> {
        match self {
            Self::Parquet | Self::Jsonl | Self::Csv => None,
            Self::Chat => Some(chat::COLUMNS),
            Self::Ocsf => Some(ocsf::COLUMNS),
        }
    }
}

/// Writes rows in a format. Of calls some may not be kept: what has no answer is no conversation.
pub(super) enum Writer {
    Table(Encoder),
    Lines(fn(&Row) -> Option<Value>),
}

impl Writer {
    pub(super) fn new(rows: Rows, schema: &Arc<Schema>) -> anyhow::Result<Self> {
        Ok(match rows {
            Rows::Parquet => Self::Table(Encoder::new(Format::Parquet, schema)?),
            Rows::Jsonl => Self::Table(Encoder::new(Format::Jsonl, schema)?),
            Rows::Csv => Self::Table(Encoder::new(Format::Csv, schema)?),
            Rows::Chat => Self::Lines(chat::conversation),
            Rows::Ocsf => Self::Lines(ocsf::event),
        })
    }

    /// Writes a batch and says which of its rows were kept.
    pub(super) fn write(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> anyhow::Result<Vec<bool>> {
        match self {
            Self::Table(encoder) => out.extend_from_slice(&encoder.write(batch)?),
            Self::Lines(line) => return lines(*line, batch, out),
        }
        Ok(vec![true; batch.num_rows()])
    }

    pub(super) fn finish(self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Table(encoder) => Ok(encoder.finish()?.to_vec()),
            Self::Lines(_) => Ok(Vec::new()),
        }
    }
}

fn lines(line: fn(&Row) -> Option<Value>, batch: &RecordBatch, out: &mut Vec<u8>) -> anyhow::Result<Vec<bool>> {
    let mut encoder = Encoder::new(Format::Jsonl, &batch.schema())?;
    let mut json = encoder.write(batch)?.to_vec();
    json.extend_from_slice(&encoder.finish()?);
    let mut kept = Vec::with_capacity(batch.num_rows());
    for row in serde_json::Deserializer::from_slice(&json).into_iter::<Row>() {
        let made = line(&row?);
        kept.push(made.is_some());
        if let Some(made) = made {
            serde_json::to_writer(&mut *out, &made)?;
            out.push(b'\n');
        }
    }
    Ok(kept)
}
