//! Writes an index file: rows are collected in memory, part by part.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::path::Path;

use onrecord_ledger::Committed;

use super::bytes::{crc, put, put_all, put_bytes};
use super::layout::{BLOCK_BYTES, Covered, EXACT, Footer, INLINE_BYTES, MAGIC, PartLayout, SHARED, Section, WORD};
use super::text::Document;
use super::words::words;
use crate::error::{Error, Result};
use crate::storage::NewFile;

/// A part is written when collecting it takes about so many bytes. With what writing it takes, and with the one record
/// of some MB that may come on top, an index is written in less than 50 MB.
pub(super) const PART_BYTES: usize = 32 << 20;
/// What a term takes besides its own bytes and its postings, and a piece besides its postings.
const TERM_BYTES: usize = 96;
const PIECE_BYTES: usize = 48;

/// An index file that is being written.
pub(super) struct IndexWriter {
    out: NewFile,
    at: u64,
    part: Part,
    part_bytes: usize,
    footer: Footer,
}

impl IndexWriter {
    /// Begins the index at `place` of what is `covered`.
    pub(super) fn create(place: &Path, covered: Covered, part_bytes: usize) -> Result<Self> {
        let footer = Footer { covered, parts: Vec::new() };
        Ok(Self { out: NewFile::create(place)?, at: 0, part: Part::default(), part_bytes, footer })
    }

    /// Adds the rows of the data file in their order.
    pub(super) fn add(&mut self, rows: &[Committed], place: &Path) -> Result<()> {
        for row in rows {
            self.part.add(row);
            if self.part.memory >= self.part_bytes {
                self.write_part(place)?;
            }
        }
        Ok(())
    }

    /// Makes the index durable at `place`. False, and nothing there, if it did not get the rows that it should cover.
    pub(super) fn finish(mut self, place: &Path) -> Result<bool> {
        if !self.part.leaves.is_empty() {
            self.write_part(place)?;
        }
        let rows: u64 = self.footer.parts.iter().map(|part| u64::from(part.rows)).sum();
        if rows != self.footer.covered.rows() {
            return Ok(false);
        }
        let mut tail = self.footer.to_bytes();
        let (length, sum) = (tail.len() as u32, crc(&tail));
        tail.extend([length.to_le_bytes(), sum.to_le_bytes()].as_flattened());
        tail.extend_from_slice(MAGIC);
        self.out.write_all(&tail).map_err(Error::io(place))?;
        self.out.finish(place).map(|_| true)
    }

    fn write_part(&mut self, place: &Path) -> Result<()> {
        let part = std::mem::take(&mut self.part);
        let mut sink = Sink { out: &mut self.out, at: self.at };
        let layout = part.write(&mut sink).map_err(Error::io(place))?;
        self.at = sink.at;
        self.footer.parts.push(layout);
        Ok(())
    }
}

struct Sink<'a> {
    out: &'a mut NewFile,
    at: u64,
}

impl Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<Section> {
        let section = Section { at: self.at, bytes: bytes.len() as u64, crc: crc(bytes) };
        self.out.write_all(bytes)?;
        self.at += section.bytes;
        Ok(section)
    }
}

type Terms = HashMap<Vec<u8>, Postings, ahash::RandomState>;

/// Rows, as they are collected.
struct Part {
    terms: Terms,
    /// By a hash of 128 bits with random keys, so that nobody can make two texts look like one.
    pieces: HashMap<u128, u32>,
    hashers: [RandomState; 2],
    /// The row that each piece is in first.
    first: Vec<u32>,
    /// Further rows of pieces.
    further: Vec<(u32, u32)>,
    lengths: Vec<u32>,
    /// Of each piece.
    piece_lengths: Vec<u32>,
    leaves: Vec<u64>,
    times: Vec<i64>,
    /// What all that takes, about.
    memory: usize,
}

/// Postings, encoded. Of exact terms: the distance of each row from the one before. Of words: of each piece the
/// distance from the one before, then that of each place from the one before, the first one from -1, then 0.
#[derive(Default)]
struct Postings {
    bytes: Vec<u8>,
    /// The last row or piece, and the last place in it plus one.
    last: u32,
    place: u32,
}

impl Default for Part {
    fn default() -> Self {
        // Words come from outside: the quick hash gets keys that nobody can guess.
        let key = || RandomState::new().hash_one(());
        Self {
            terms: Terms::with_hasher(ahash::RandomState::with_seeds(key(), key(), key(), key())),
            pieces: HashMap::new(),
            hashers: Default::default(),
            first: Vec::new(),
            further: Vec::new(),
            lengths: Vec::new(),
            piece_lengths: Vec::new(),
            leaves: Vec::new(),
            times: Vec::new(),
            memory: 0,
        }
    }
}

impl Part {
    fn add(&mut self, committed: &Committed) {
        let row = self.leaves.len() as u32;
        let document = Document::of(committed);
        for term in &document.exact {
            let key = [&[EXACT], term.as_slice()].concat();
            self.memory += with_postings(&mut self.terms, &key, |postings| {
                put(&mut postings.bytes, u64::from(row - postings.last));
                postings.last = row;
            });
        }
        let mut length = 0_u32;
        for (_, text) in &document.texts {
            let piece = self.piece(text, row);
            length = length.saturating_add(self.piece_lengths[piece as usize]);
        }
        self.lengths.push(length);
        self.leaves.push(committed.index);
        self.times.push(committed.record.captured_at);
        self.memory += 20;
    }

    /// The piece that a text is, indexed if it is new. A record has a text once.
    fn piece(&mut self, text: &str, row: u32) -> u32 {
        let [a, b] = [0, 1].map(|n| u128::from(self.hashers[n].hash_one(text)));
        let new = self.first.len() as u32;
        let piece = *self.pieces.entry(a << 64 | b).or_insert(new);
        if piece < new {
            self.further.push((piece, row));
            self.memory += 8;
            return piece;
        }
        self.first.push(row);
        let (mut place, mut key) = (0, Vec::new());
        words(text, |word, _| {
            key.clear();
            key.push(WORD);
            key.extend_from_slice(word.as_bytes());
            self.memory += with_postings(&mut self.terms, &key, |postings| postings.add(piece, place));
            place += 1;
        });
        self.piece_lengths.push(place);
        self.memory += PIECE_BYTES;
        piece
    }

    fn write(mut self, out: &mut Sink<'_>) -> std::io::Result<PartLayout> {
        let postings_at = out.at;
        let mut terms: Vec<_> = self.terms.into_iter().collect();
        terms.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut blocks = Vec::new();
        let mut block = Block::default();
        for (term, postings) in &terms {
            block.add(term, postings, out, postings_at)?;
            if block.bytes.len() >= BLOCK_BYTES {
                blocks.push(std::mem::take(&mut block));
            }
        }
        blocks.extend((!block.bytes.is_empty()).then_some(block));
        let write = |block: Block| Ok((block.first.into(), out.write(&block.bytes)?));
        let blocks = blocks.into_iter().map(write).collect::<std::io::Result<_>>()?;
        let shared = share(&mut self.first, self.further);
        let bytes = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
        let leaves: Vec<_> = self.leaves.iter().flat_map(|n| n.to_le_bytes()).collect();
        let times: Vec<_> = self.times.iter().flat_map(|n| n.to_le_bytes()).collect();
        Ok(PartLayout {
            rows: self.leaves.len() as u32,
            postings_at,
            blocks,
            pieces: out.write(&bytes(&self.first))?,
            shared: out.write(&shared)?,
            lengths: out.write(&bytes(&self.lengths))?,
            leaves: out.write(&leaves)?,
            times: out.write(&times)?,
        })
    }
}

/// Changes the postings of a term; gives the bytes that they take more.
///
/// The key is copied for a new term only; there are many more occurrences than terms.
fn with_postings(terms: &mut Terms, key: &[u8], change: impl FnOnce(&mut Postings)) -> usize {
    if let Some(postings) = terms.get_mut(key) {
        let before = postings.bytes.len();
        change(postings);
        return postings.bytes.len() - before;
    }
    let mut postings = Postings::default();
    change(&mut postings);
    let more = TERM_BYTES + key.len() + postings.bytes.len();
    terms.insert(key.to_vec(), postings);
    more
}

impl Postings {
    fn add(&mut self, piece: u32, place: u32) {
        if self.bytes.is_empty() || piece != self.last {
            if !self.bytes.is_empty() {
                put(&mut self.bytes, 0);
            }
            put(&mut self.bytes, u64::from(piece - self.last));
            (self.last, self.place) = (piece, 0);
        }
        put(&mut self.bytes, u64::from(place + 1 - self.place));
        self.place = place + 1;
    }
}

/// The rows of the pieces that are in several: for each piece its first row, or where the list of its rows is.
fn share(first: &mut [u32], mut further: Vec<(u32, u32)>) -> Vec<u8> {
    let mut shared = Vec::new();
    further.sort_unstable();
    for rows in further.chunk_by(|a, b| a.0 == b.0) {
        let piece = rows[0].0 as usize;
        let mut last = std::mem::replace(&mut first[piece], SHARED | shared.len() as u32);
        put(&mut shared, rows.len() as u64 + 1);
        put(&mut shared, u64::from(last));
        for (_, row) in rows {
            put(&mut shared, u64::from(row - last));
            last = *row;
        }
    }
    shared
}

/// A block of the dictionary. Each term leaves out what it has in common with the one before.
#[derive(Default)]
struct Block {
    first: Vec<u8>,
    last: Vec<u8>,
    bytes: Vec<u8>,
}

impl Block {
    fn add(&mut self, term: &[u8], postings: &Postings, out: &mut Sink<'_>, from: u64) -> std::io::Result<()> {
        if self.bytes.is_empty() {
            self.first = term.to_vec();
        }
        let common = term.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        put(&mut self.bytes, common as u64);
        put_bytes(&mut self.bytes, &term[common..]);
        self.last = term.to_vec();
        if postings.bytes.len() <= INLINE_BYTES {
            put_bytes(&mut self.bytes, &postings.bytes);
            return Ok(());
        }
        let Section { at, bytes, crc } = out.write(&postings.bytes)?;
        put_all(&mut self.bytes, &[bytes, at - from, u64::from(crc)]);
        Ok(())
    }
}
