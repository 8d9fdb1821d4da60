//! The row group that is being written, and what becomes of the bodies in it.
//!
//! In a conversation each message comes again with every turn, and a dictionary keeps it once for the whole row group. But
//! whoever reads one body then reads that dictionary, some tens of milliseconds. So bodies have one only where it spares much:
//! that is decided for each row group, by its first rows.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::io::Write;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::parquet::file::writer::SerializedFileWriter;

use crate::error::Result;
use crate::hash::QuickHash;
use crate::schema::file_schema;
use crate::wide::Wide;

/// Distinct pieces of bodies that a row group keeps once, in each column. Parquet gives a dictionary up when it is full and
/// writes every piece that comes after it as often as it is there, so a row group ends before that. It is also the memory that
/// one such column may take while writing, and what is read to read one body.
pub(crate) const BODY_DICTIONARY_BYTES: usize = 32 << 20;
/// A dictionary of more bytes has to spare as many as three more like it.
const SMALL: usize = 12 << 20;
/// Bodies of a row group with all that they have in common.
const BODIES_BYTES: usize = 512 << 20;
/// A row group ends when it takes this many bytes of memory.
const MEMORY: usize = 96 << 20;
/// By its first rows of so many bytes, which are held so long, it is decided whether a dictionary is worth it.
const FIRST: usize = 16 << 20;
/// Bytes that Parquet puts before each piece.
const LENGTH: usize = 4;

/// A file of row groups that is being written.
pub(crate) struct RowGroups<W: Write + Send> {
    file: SerializedFileWriter<W>,
    with_dictionaries: ArrowRowGroupWriterFactory,
    without: ArrowRowGroupWriterFactory,
    /// Where the columns of bodies are that can have a dictionary.
    bodies: Vec<usize>,
    open: RowGroup,
}

struct RowGroup {
    bodies: Bodies,
    /// Rows that are held until it is decided how they are written.
    held: Vec<RecordBatch>,
    /// One for each column of Parquet, once that is decided.
    writers: Option<Vec<ArrowColumnWriter>>,
}

impl<W: Write + Send> RowGroups<W> {
    /// Begins the file in `out`. The two properties differ in whether the columns `bodies` have a dictionary.
    pub(crate) fn create(
        out: W,
        bodies: Vec<usize>,
        with_dictionaries: WriterProperties,
        without: WriterProperties,
    ) -> Result<Self> {
        let writer = ArrowWriter::try_new(out, file_schema(), Some(with_dictionaries))?;
        let (file, with_dictionaries) = writer.into_serialized_writer()?;
        // What makes row groups is to be had from a writer alone; nothing is written with this one.
        let other = ArrowWriter::try_new(std::io::sink(), file_schema(), Some(without))?;
        let (_, without) = other.into_serialized_writer()?;
        let open = RowGroup::of(bodies.len());
        Ok(Self { file, with_dictionaries, without, bodies, open })
    }

    /// Adds rows. They come into one row group.
    pub(crate) fn write(&mut self, rows: RecordBatch) -> Result<()> {
        if !self.open.bodies.take(&rows, &self.bodies, self.open.writers.is_none()) {
            self.end_row_group()?;
            self.open.bodies.take(&rows, &self.bodies, true);
        }
        if let Some(writers) = &mut self.open.writers {
            write(writers, &rows)?;
        } else {
            self.open.held.push(rows);
            if self.open.held.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() >= FIRST {
                self.decide()?;
            }
        }
        let memory = self.open.writers.iter().flatten().map(ArrowColumnWriter::memory_size).sum::<usize>();
        if memory > MEMORY {
            self.end_row_group()?;
        }
        Ok(())
    }

    /// Writes what is there and gives the file back, with its wide columns.
    pub(crate) fn finish(mut self) -> Result<(W, Wide)> {
        self.end_row_group()?;
        let wide = Wide::of(self.file.flushed_row_groups());
        Ok((self.file.into_inner()?, wide))
    }

    fn decide(&mut self) -> Result<()> {
        let is_worth_it = self.open.bodies.repeat();
        let factory = if is_worth_it { &self.with_dictionaries } else { &self.without };
        let mut writers = factory.create_column_writers(self.file.flushed_row_groups().len())?;
        for rows in self.open.held.drain(..) {
            write(&mut writers, &rows)?;
        }
        if !is_worth_it {
            self.open.bodies.distinct = None;
        }
        self.open.writers = Some(writers);
        Ok(())
    }

    fn end_row_group(&mut self) -> Result<()> {
        if !self.open.held.is_empty() {
            self.decide()?;
        }
        let ended = std::mem::replace(&mut self.open, RowGroup::of(self.bodies.len()));
        let Some(writers) = ended.writers else { return Ok(()) };
        let mut row_group = self.file.next_row_group()?;
        for writer in writers {
            writer.close()?.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        Ok(())
    }
}

impl RowGroup {
    fn of(bodies: usize) -> Self {
        Self { bodies: Bodies::of(bodies), held: Vec::new(), writers: None }
    }
}

fn write(writers: &mut [ArrowColumnWriter], rows: &RecordBatch) -> Result<()> {
    let mut writers = writers.iter_mut();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        for (leaf, writer) in compute_leaves(field, column)?.iter().zip(&mut writers) {
            writer.write(leaf)?;
        }
    }
    Ok(())
}

/// The bodies in the row group that is being written, as far as a dictionary of them can be.
#[derive(Default)]
struct Bodies {
    hasher: QuickHash,
    /// What a dictionary would have, by column. None once it is decided that there is no dictionary.
    distinct: Option<Vec<Dictionary>>,
    /// Bytes of all bodies.
    bytes: usize,
    /// Bytes of what was sent in an earlier turn too, by the look of it.
    sent_again: usize,
}

#[derive(Clone, Default)]
struct Dictionary {
    /// Hashes of the pieces. Where two have the same, the dictionary is a little fuller than it is thought to be.
    pieces: HashSet<u64, QuickHash>,
    bytes: usize,
}

impl Bodies {
    fn of(columns: usize) -> Self {
        Self { distinct: Some(vec![Dictionary::default(); columns]), ..Self::default() }
    }

    /// Counts `rows`, which have these columns of bodies, in. False, and nothing is counted, if they belong to the next row
    /// group. `is_open` as long as it is not decided whether there is a dictionary.
    fn take(&mut self, rows: &RecordBatch, columns: &[usize], is_open: bool) -> bool {
        let bytes = self.bytes + columns.iter().flat_map(|at| pieces(rows, *at)).map(<[u8]>::len).sum::<usize>();
        if self.bytes > 0 && bytes > BODIES_BYTES {
            return false;
        }
        if let Some(distinct) = &mut self.distinct {
            let lacks = |(known, at): (&Dictionary, &usize)| known.lacks(pieces(rows, *at), &self.hasher);
            let added: Vec<_> = distinct.iter().zip(columns).map(lacks).collect();
            let fullest =
                distinct.iter().zip(&added).map(|(known, added)| known.bytes + added.bytes).max().unwrap_or(0);
            let most = if is_open || bytes / 4 >= fullest { BODY_DICTIONARY_BYTES } else { SMALL };
            if self.bytes > 0 && fullest >= most {
                return false;
            }
            for (known, added) in distinct.iter_mut().zip(added) {
                known.pieces.extend(added.pieces);
                known.bytes += added.bytes;
            }
            self.sent_again += columns.iter().map(|at| sent_again(rows, *at)).sum::<usize>();
        }
        self.bytes = bytes;
        true
    }

    /// Whether a dictionary is worth it: it spares half of the bodies, or will, since they are mostly of conversations that
    /// go on. Where a thousand of these go on at a time, the first rows of a row group have hardly a message twice.
    fn repeat(&self) -> bool {
        let distinct: usize = self.distinct.iter().flatten().map(|dictionary| dictionary.bytes).sum();
        distinct <= self.bytes / 2 || self.sent_again >= self.bytes / 3 * 2
    }
}

impl Dictionary {
    /// Those of the pieces that are not in it.
    fn lacks<'a>(&self, pieces: impl Iterator<Item = &'a [u8]>, hasher: &QuickHash) -> Self {
        let mut added = Self::default();
        for piece in pieces {
            let hash = hasher.hash_one(piece);
            if !self.pieces.contains(&hash) && added.pieces.insert(hash) {
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

/// Bytes that a turn has from those before it, media among them: all but the two messages that came last.
fn sent_again(rows: &RecordBatch, at: usize) -> usize {
    let bodies = rows.column(at).as_list::<i32>();
    let pieces = bodies.values().as_binary::<i32>();
    let begins_message = |piece: &usize| {
        let text = pieces.value(*piece).trim_ascii_start();
        text.strip_prefix(b",").unwrap_or(text).trim_ascii_start().starts_with(b"{")
    };
    let of_body = |range: &[i32]| {
        // Before the messages is the head of the body. A message with media in it is several pieces.
        let (head, end) = (range[0] as usize, range[1] as usize);
        let last_two = (head + 1..end).rev().filter(begins_message).nth(1).unwrap_or(head);
        (head + 1..last_two).map(|piece| pieces.value(piece).len()).sum::<usize>()
    };
    bodies.value_offsets().windows(2).map(of_body).sum()
}

#[cfg(test)]
mod tests {
    use datafusion::parquet::basic::Encoding;
    use datafusion::parquet::file::properties::WriterProperties;
    use onrecord_proof::field;

    use super::*;
    use crate::row::write_rows;
    use crate::schema::{COLUMNS, Source};
    use crate::tests::records::call;

    /// Whether a row group of these bodies, each of a call, keeps its pieces in a dictionary.
    fn has_dictionary(bodies: impl Iterator<Item = String>) -> bool {
        let at = COLUMNS.iter().position(|column| column.source == Source::Field(&field::INPUT_BODY)).unwrap();
        let columns: Vec<_> = (0..file_schema().fields().len()).collect();
        let properties = |dictionary| WriterProperties::builder().set_dictionary_enabled(dictionary).build();
        let mut file = RowGroups::create(Vec::new(), vec![at], properties(true), properties(false)).unwrap();
        let rows = bodies.enumerate().map(|(index, body)| {
            let mut row = call(index as u64);
            row.record.set(&field::INPUT_BODY, body.into_bytes());
            row
        });
        for rows in rows.collect::<Vec<_>>().chunks(50) {
            file.write(write_rows(rows, &columns, "log").unwrap()).unwrap();
        }
        file.end_row_group().unwrap();
        let written = &file.file.flushed_row_groups()[0];
        let name = COLUMNS[at].field.name().clone();
        let chunk = written.columns().iter().find(|chunk| chunk.column_path().parts()[0] == name).unwrap();
        chunk.encodings().any(|encoding| encoding == Encoding::RLE_DICTIONARY)
    }

    /// A call of one of many conversations, with all that was said before.
    fn turn(session: usize, turn: usize) -> String {
        let says = |at: usize| format!(r#"{{"content":"{session} says {at} and {}"}}"#, "so on ".repeat(30));
        format!(r#"{{"messages":[{}]}}"#, (0..=turn * 2).map(says).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn bodies_have_a_dictionary_where_it_spares_much() {
        assert!(!has_dictionary((0..300).map(|session| turn(session, 0))), "nothing comes twice");
        assert!(has_dictionary((0..300).map(|at| turn(at / 30, 0))), "everything does");
        assert!(has_dictionary((0..300).map(|session| turn(session, 8))), "it will, in the next turn");
        let image = |session: usize| format!(r#"{{"data":"{}"}}"#, format!("{session:06}").repeat(1000));
        let later = |session| format!(r#"{{"messages":[{},{{"a":1}},{{"b":2}}]}}"#, image(session));
        assert!(has_dictionary((0..100).map(later)), "so will the image");
        let images = |session: usize| (0..10).map(|page| image(session * 10 + page)).collect::<Vec<_>>().join(",");
        let pages = |session| format!(r#"{{"messages":[{{"a":1}},{{"content":[{}]}}]}}"#, images(session));
        assert!(!has_dictionary((0..100).map(pages)), "each of these images is sent once");
    }
}
