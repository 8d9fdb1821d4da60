//! Makes an index of rows: they are collected in memory, part by part.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use onrecord_ledger::Committed;

use super::bytes::put;
use super::layout::{Covered, EXACT, PartLayout, WORD};
use super::output::{Dictionary, Output, PieceRows};
use super::text::Document;
use super::words::words;
use crate::error::{Error, Result};
use crate::hash::QuickHash;

/// A part is written when collecting it takes about so many bytes. With what writing it takes, and with the one record
/// of some MB that may come on top, an index is written in less than 50 MB.
pub(super) const PART_BYTES: usize = 32 << 20;
/// What a term takes besides its own bytes and its postings, and a piece besides its postings.
const TERM_BYTES: usize = 96;
const PIECE_BYTES: usize = 48;

/// An index that is being made of rows.
pub(super) struct IndexWriter {
    out: Output,
    part: Part,
    part_bytes: usize,
}

impl IndexWriter {
    /// Begins the index at `place` of what is `covered`.
    pub(super) fn create(place: &Path, covered: Covered, part_bytes: usize) -> Result<Self> {
        Ok(Self { out: Output::create(place, covered)?, part: Part::default(), part_bytes })
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
        self.out.finish(place)
    }

    fn write_part(&mut self, place: &Path) -> Result<()> {
        let part = std::mem::take(&mut self.part);
        let layout = part.write(&mut self.out).map_err(Error::io(place))?;
        self.out.end_part(layout);
        Ok(())
    }
}

type Terms = HashMap<Vec<u8>, Postings, QuickHash>;

/// Rows, as they are collected.
#[derive(Default)]
struct Part {
    terms: Terms,
    /// By a hash of 128 bits with random keys, so that nobody can make two texts look like one.
    pieces: HashMap<u128, u32, QuickHash>,
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

    fn write(self, out: &mut Output) -> std::io::Result<PartLayout> {
        let mut terms: Vec<_> = self.terms.into_iter().collect();
        terms.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut dictionary = Dictionary::begin(out);
        for (term, postings) in &terms {
            dictionary.add(term, &postings.bytes, out)?;
        }
        let (postings_at, blocks) = dictionary.finish(out)?;
        let pieces = rows_of_pieces(&self.first, self.further);
        let leaves: Vec<_> = self.leaves.iter().flat_map(|n| n.to_le_bytes()).collect();
        let times: Vec<_> = self.times.iter().flat_map(|n| n.to_le_bytes()).collect();
        Ok(PartLayout {
            rows: self.leaves.len() as u32,
            postings_at,
            blocks,
            pieces: out.write_array(&pieces.first)?,
            shared: out.write(&pieces.shared)?,
            lengths: out.write_array(&self.lengths)?,
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

/// The rows of all pieces: of each its first, and further ones in any order.
fn rows_of_pieces(first: &[u32], mut further: Vec<(u32, u32)>) -> PieceRows {
    further.sort_unstable();
    let (mut pieces, mut further, mut rows) = (PieceRows::default(), further.into_iter().peekable(), Vec::new());
    for (piece, row) in first.iter().enumerate() {
        rows.clear();
        rows.push(*row);
        rows.extend(std::iter::from_fn(|| further.next_if(|(of, _)| *of as usize == piece)).map(|(_, row)| row));
        pieces.add(&rows);
    }
    pieces
}
