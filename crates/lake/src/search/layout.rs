//! How an index file is laid out. It covers one data file, in parts of rows that follow on each other: what fits into the
//! memory of the one who makes them of rows, or several of these put together.
//!
//! Of each part: postings and blocks of the dictionary as they come, then arrays. Then the footer, which says where they
//! are, and the tail: the footer's length and CRC-32C, little-endian, and the magic. All is checked when it is read.
//!
//! What stands in several rows, as the history of a conversation does, is indexed once for all rows that were indexed
//! together: a *piece* is a text that is in one or more rows of the part. The postings of a word are the pieces that have it, with the places where.
//! The postings of an exact term are rows.

use std::ops::Range;

use super::bytes::{Input, put, put_all, put_bytes};
use crate::table::DataFile;

/// The last bytes of an index file: what it is, and a number that changes with the layout, and with what words or texts are.
pub(super) const MAGIC: &[u8; 8] = b"orsrch02";
/// Bytes of that before the number.
pub(super) const KIND: usize = 6;
/// Length and checksum of the footer, and the magic.
pub(super) const TAIL: usize = 4 + 4 + MAGIC.len();
/// Bytes of a block of the dictionary, about: what is read to look a term up.
pub(super) const BLOCK_BYTES: usize = 8 << 10;
/// Postings up to this many bytes are in the dictionary itself.
pub(super) const INLINE_BYTES: usize = 16;
/// What precedes a term in the dictionary.
pub(super) const WORD: u8 = b'w';
pub(super) const EXACT: u8 = b'x';
/// In the array of pieces: the piece is in several rows, and this is where the list of them begins. Otherwise it is the
/// one row that it is in.
pub(super) const SHARED: u32 = 1 << 31;

/// Where something is, and what it sums up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) at: u64,
    pub(super) bytes: u64,
    pub(super) crc: u32,
}

/// A block of the dictionary: the first term in it, and where it is.
pub(super) type Block = (Box<[u8]>, Section);

/// A part of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PartLayout {
    pub(super) rows: u32,
    /// Postings that are not in the dictionary; each has its own checksum there.
    pub(super) postings_at: u64,
    pub(super) blocks: Vec<Block>,
    /// 4 bytes for each piece.
    pub(super) pieces: Section,
    pub(super) shared: Section,
    /// 4 bytes for each row: its words.
    pub(super) lengths: Section,
    /// 8 bytes for each row: its leaf index.
    pub(super) leaves: Section,
    /// 8 bytes for each row: when it began, in microseconds since 1970-01-01 UTC.
    pub(super) times: Section,
}

/// What an index is of. A data file that was rewritten has another path, or other rows, or another size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Covered {
    path: String,
    size: u64,
    rows: u64,
    leaves: Range<u64>,
}

/// The end of an index file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) covered: Covered,
    pub(super) parts: Vec<PartLayout>,
}

impl Covered {
    pub(super) fn of(file: &DataFile) -> Self {
        Self { path: file.path.to_string(), size: file.size, rows: file.rows, leaves: file.leaves.clone() }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }
}

impl Section {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(out, &[self.at, self.bytes, u64::from(self.crc)]);
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        Some(Self { at: input.number()?, bytes: input.number()?, crc: input.small()? })
    }
}

impl PartLayout {
    fn put(&self, out: &mut Vec<u8>) {
        put(out, u64::from(self.rows));
        put(out, self.postings_at);
        put(out, self.blocks.len() as u64);
        for (first, block) in &self.blocks {
            put_bytes(out, first);
            block.put(out);
        }
        for section in [&self.pieces, &self.shared, &self.lengths, &self.leaves, &self.times] {
            section.put(out);
        }
    }

    fn read(input: &mut Input<'_>) -> Option<Self> {
        let (rows, postings_at, count) = (input.small()?, input.number()?, input.number()?);
        let block = |input: &mut Input<'_>| Some((input.bytes()?.into(), Section::read(input)?));
        let blocks = (0..count).map(|_| block(input)).collect::<Option<_>>()?;
        let [pieces, shared, lengths, leaves, times] = [(); 5].map(|()| Section::read(input));
        let (pieces, shared, lengths, leaves, times) = (pieces?, shared?, lengths?, leaves?, times?);
        Some(Self { rows, postings_at, blocks, pieces, shared, lengths, leaves, times })
    }
}

impl Footer {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let Covered { path, size, rows, leaves } = &self.covered;
        put_bytes(&mut out, path.as_bytes());
        put_all(&mut out, &[*size, *rows, leaves.start, leaves.end]);
        put(&mut out, self.parts.len() as u64);
        for part in &self.parts {
            part.put(&mut out);
        }
        out
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let path = String::from_utf8(input.bytes()?.to_vec()).ok()?;
        let (size, rows) = (input.number()?, input.number()?);
        let covered = Covered { path, size, rows, leaves: input.number()?..input.number()? };
        let count = input.number()?;
        let parts = (0..count).map(|_| PartLayout::read(&mut input)).collect::<Option<_>>()?;
        Some(Self { covered, parts })
    }
}
