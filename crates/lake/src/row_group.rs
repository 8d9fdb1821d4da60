//! When a row group is full. Parquet gives a dictionary up when it is full and writes every piece that comes after it as
//! often as it is there, so a row group ends before that.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use datafusion::arrow::array::{AsArray, RecordBatch};
use onrecord_proof::Shape;

use crate::schema::{COLUMNS, Source};

/// Distinct pieces of bodies that a row group keeps once, in each column. It is also the memory that one such column may
/// take while writing, and what is read to read one body.
pub(crate) const BODY_DICTIONARY_BYTES: usize = 12 << 20;
/// Bodies of a row group with all that they have in common. Rows that are decoded together are of one row group, so it is
/// also the memory that they may take.
const BODIES_BYTES: usize = 256 << 20;
/// Bytes that Parquet puts before each piece.
const LENGTH: usize = 4;

/// The bodies in the row group that is being written.
#[derive(Default)]
pub(crate) struct RowGroup {
    hasher: RandomState,
    /// By column.
    columns: Vec<Dictionary>,
    /// Bytes of all bodies.
    bytes: usize,
}

#[derive(Default)]
struct Dictionary {
    /// Hashes of the pieces. Where two have the same, the dictionary is a little fuller than it is thought to be.
    pieces: HashSet<u64>,
    bytes: usize,
}

impl RowGroup {
    /// Counts `rows`, which have the columns of a data file, in. False, and nothing is counted, if they belong to the next
    /// row group.
    pub(crate) fn take(&mut self, rows: &RecordBatch) -> bool {
        let columns: Vec<_> = bodies(rows).collect();
        let bytes: usize = columns.iter().map(|at| pieces(rows, *at).map(<[u8]>::len).sum::<usize>()).sum();
        let added: Vec<_> = columns.iter().map(|at| (*at, self.added(*at, rows))).collect();
        let is_full = |(at, added): &(usize, Dictionary)| {
            self.columns.get(*at).is_some_and(|before| before.bytes + added.bytes >= BODY_DICTIONARY_BYTES)
        };
        if self.bytes > 0 && (self.bytes + bytes > BODIES_BYTES || added.iter().any(is_full)) {
            return false;
        }
        self.bytes += bytes;
        self.columns.resize_with(rows.num_columns(), Dictionary::default);
        for (at, Dictionary { pieces, bytes }) in added {
            self.columns[at].pieces.extend(pieces);
            self.columns[at].bytes += bytes;
        }
        true
    }

    /// The pieces of a column that are not in its dictionary yet.
    fn added(&self, at: usize, rows: &RecordBatch) -> Dictionary {
        let known = self.columns.get(at);
        let mut added = Dictionary::default();
        for piece in pieces(rows, at) {
            let hash = self.hasher.hash_one(piece);
            if known.is_none_or(|known| !known.pieces.contains(&hash)) && added.pieces.insert(hash) {
                added.bytes += piece.len() + LENGTH;
            }
        }
        added
    }
}

/// The pieces of a column of bodies.
fn pieces(rows: &RecordBatch, at: usize) -> impl Iterator<Item = &[u8]> {
    rows.column(at).as_list::<i32>().values().as_binary::<i32>().iter().flatten()
}

/// Where the columns of bodies are.
fn bodies(rows: &RecordBatch) -> impl Iterator<Item = usize> {
    let is_body = |at: &usize| matches!(COLUMNS[*at].source, Source::Field(field) if field.shape == Shape::Body);
    (0..rows.num_columns()).filter(is_body)
}
