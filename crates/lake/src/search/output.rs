//! An index file on its way to its place.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use super::bytes::{crc, put, put_all, put_bytes};
use super::layout::{self, BLOCK_BYTES, Covered, Footer, INLINE_BYTES, MAGIC, PartLayout, SHARED, Section};
use crate::error::{Error, Result};
use crate::storage::NewFile;

/// An index file that is being written.
pub(super) struct Output {
    file: BufWriter<NewFile>,
    at: u64,
    footer: Footer,
}

impl Output {
    /// Begins the index at `place` of what is `covered`.
    pub(super) fn create(place: &Path, covered: Covered) -> Result<Self> {
        let footer = Footer { covered, parts: Vec::new() };
        Ok(Self { file: BufWriter::new(NewFile::create(place)?), at: 0, footer })
    }

    /// Where the next section begins.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Section> {
        let section = Section { at: self.at, bytes: bytes.len() as u64, crc: crc(bytes) };
        self.file.write_all(bytes)?;
        self.at += section.bytes;
        Ok(section)
    }

    /// 4 bytes for each number.
    pub(super) fn write_array(&mut self, numbers: &[u32]) -> io::Result<Section> {
        self.write(&numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>())
    }

    /// A part whose sections were written.
    pub(super) fn end_part(&mut self, part: PartLayout) {
        self.footer.parts.push(part);
    }

    /// Makes the index durable at `place`. False, and nothing there, if it does not have the rows that it should cover.
    pub(super) fn finish(mut self, place: &Path) -> Result<bool> {
        let rows: u64 = self.footer.parts.iter().map(|part| u64::from(part.rows)).sum();
        if rows != self.footer.covered.rows() {
            return Ok(false);
        }
        let mut tail = self.footer.to_bytes();
        let (length, sum) = (tail.len() as u32, crc(&tail));
        tail.extend([length.to_le_bytes(), sum.to_le_bytes()].as_flattened());
        tail.extend_from_slice(MAGIC);
        self.file.write_all(&tail).map_err(Error::io(place))?;
        let file = self.file.into_inner().map_err(|e| Error::io(place)(e.into_error()))?;
        file.finish(place).map(|_| true)
    }
}

/// The dictionary of a part that is being written. Terms come in order, each with its postings.
pub(super) struct Dictionary {
    postings_at: u64,
    block: Block,
    blocks: Vec<layout::Block>,
}

impl Dictionary {
    pub(super) fn begin(out: &Output) -> Self {
        Self { postings_at: out.at(), block: Block::default(), blocks: Vec::new() }
    }

    pub(super) fn add(&mut self, term: &[u8], postings: &[u8], out: &mut Output) -> io::Result<()> {
        self.block.add(term);
        if postings.len() <= INLINE_BYTES {
            put_bytes(&mut self.block.bytes, postings);
        } else {
            let Section { at, bytes, crc } = out.write(postings)?;
            put_all(&mut self.block.bytes, &[bytes, at - self.postings_at, u64::from(crc)]);
        }
        if self.block.bytes.len() >= BLOCK_BYTES { self.end_block(out) } else { Ok(()) }
    }

    fn end_block(&mut self, out: &mut Output) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        self.blocks.push((block.first.into(), out.write(&block.bytes)?));
        Ok(())
    }

    /// Gives where the postings begin, and the blocks.
    pub(super) fn finish(mut self, out: &mut Output) -> io::Result<(u64, Vec<layout::Block>)> {
        if !self.block.bytes.is_empty() {
            self.end_block(out)?;
        }
        Ok((self.postings_at, self.blocks))
    }
}

/// A block of the dictionary. Each term leaves out what it has in common with the one before.
#[derive(Default)]
struct Block {
    first: Vec<u8>,
    last: Vec<u8>,
    bytes: Vec<u8>,
}

impl Block {
    fn add(&mut self, term: &[u8]) {
        if self.bytes.is_empty() {
            self.first = term.to_vec();
        }
        let common = term.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        put(&mut self.bytes, common as u64);
        put_bytes(&mut self.bytes, &term[common..]);
        self.last.truncate(common);
        self.last.extend_from_slice(&term[common..]);
    }
}

/// The rows that each piece is in, in the order of the pieces: its one row, or where the list of its rows is.
#[derive(Default)]
pub(super) struct PieceRows {
    pub(super) first: Vec<u32>,
    pub(super) shared: Vec<u8>,
}

impl PieceRows {
    /// Adds the next piece. It is in at least one row; rows are in order.
    pub(super) fn add(&mut self, rows: &[u32]) {
        let [row] = rows else {
            self.first.push(SHARED | self.shared.len() as u32);
            put(&mut self.shared, rows.len() as u64);
            let mut last = 0;
            for row in rows {
                put(&mut self.shared, u64::from(row - last));
                last = *row;
            }
            return;
        };
        self.first.push(*row);
    }
}
