//! Asks one part of an index: gives the rows, with their scores, that [`matches`](super::matcher::matches) would.

use std::cmp::Ordering;
use std::io;

use super::bytes::Input;
use super::layout::{EXACT, WORD};
use super::lookup::read_rows;
use super::matcher::score;
use super::query::{Phrase, Query};
use super::read::{Part, Pieces, damaged};
use crate::lake::Awaited;

/// Rows in order, with their scores.
pub(super) type Rows = Vec<(u32, f32)>;

/// The hits in a part. Ends with an error when nobody waits for them any more.
pub(super) fn ask(part: &Part<'_>, query: &Query, awaited: &Awaited) -> io::Result<Rows> {
    Asking { part, awaited, pieces: None, lengths: None }.evaluate(query)
}

struct Asking<'a> {
    part: &'a Part<'a>,
    awaited: &'a Awaited,
    /// Read when the first word is found.
    pieces: Option<Pieces>,
    lengths: Option<Vec<u32>>,
}

impl Asking<'_> {
    fn go_on(&self) -> io::Result<()> {
        if self.awaited.is_over() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn evaluate(&mut self, query: &Query) -> io::Result<Rows> {
        self.go_on()?;
        match query {
            Query::All(parts) => self.all(parts),
            Query::Any(parts) => {
                let mut found = Vec::new();
                for part in parts {
                    found = join(found, self.evaluate(part)?, |a, b| match (a, b) {
                        (Some(a), Some(b)) => Some(a + b),
                        (one, other) => one.or(other),
                    });
                }
                Ok(found)
            }
            Query::Not(part) => {
                let everything = (0..self.part.rows()).map(|row| (row, 0.0)).collect();
                Ok(join(everything, self.evaluate(part)?, |all, not| if not.is_some() { None } else { all }))
            }
            Query::Phrase(phrase) => self.phrase(phrase),
            Query::Exact { term, prefix } => self.exact(term, *prefix),
        }
    }

    fn all(&mut self, parts: &[Query]) -> io::Result<Rows> {
        let mut found: Option<Rows> = None;
        for part in parts {
            found = Some(match (found, part) {
                (Some(found), _) if found.is_empty() => return Ok(found),
                // Without listing everything that the part does not have.
                (Some(found), Query::Not(part)) => {
                    join(found, self.evaluate(part)?, |have, not| if not.is_some() { None } else { have })
                }
                (Some(found), part) => join(found, self.evaluate(part)?, |a, b| Some(a? + b?)),
                (None, part) => self.evaluate(part)?,
            });
        }
        Ok(found.unwrap_or_default())
    }

    fn exact(&self, term: &[u8], prefix: bool) -> io::Result<Rows> {
        let mut rows = Vec::new();
        let mut read = |postings: Vec<u8>| read_rows(&postings, &mut rows).ok_or_else(nonsense);
        if prefix {
            self.part.find_all(EXACT, term, read)?;
        } else if let Some(postings) = self.part.find(EXACT, term)? {
            read(postings)?;
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows.into_iter().map(|row| (row, 0.0)).collect())
    }

    fn phrase(&mut self, phrase: &Phrase) -> io::Result<Rows> {
        let Some(counts) = self.counts_in_pieces(phrase)? else { return Ok(Vec::new()) };
        let pieces = match &mut self.pieces {
            Some(pieces) => pieces,
            none => none.insert(self.part.pieces()?),
        };
        let lengths = match &mut self.lengths {
            Some(lengths) => lengths,
            none => none.insert(self.part.lengths()?),
        };
        let mut found: Rows = Vec::new();
        let mut add = |row: u32, count| -> io::Result<()> {
            let length = *lengths.get(row as usize).ok_or_else(nonsense)?;
            found.push((row, score(phrase, count, length)));
            Ok(())
        };
        // Of a word that is everywhere, counting by row is quicker than sorting.
        if counts.len() > self.part.rows() as usize / 8 {
            let mut by_row = vec![0_u32; self.part.rows() as usize];
            let mut damage = false;
            for (piece, count) in counts {
                let each = |row: u32| match by_row.get_mut(row as usize) {
                    Some(sum) => *sum = sum.saturating_add(count),
                    None => damage = true,
                };
                pieces.rows(piece, each).ok_or_else(nonsense)?;
            }
            if damage {
                return Err(nonsense());
            }
            by_row.into_iter().zip(0..).filter(|(count, _)| *count > 0).try_for_each(|(count, row)| add(row, count))?;
            return Ok(found);
        }
        let mut rows = Vec::new();
        for (piece, count) in counts {
            pieces.rows(piece, |row| rows.push((row, count))).ok_or_else(nonsense)?;
        }
        rows.sort_unstable();
        for same in rows.chunk_by(|a, b| a.0 == b.0) {
            add(same[0].0, same.iter().map(|(_, count)| count).sum())?;
        }
        Ok(found)
    }

    /// How often the phrase is in each piece that has it. `None` if one of its words is nowhere.
    fn counts_in_pieces(&self, phrase: &Phrase) -> io::Result<Option<Vec<(u32, u32)>>> {
        let Some((last, before)) = phrase.words.split_last() else { return Ok(None) };
        let mut lists = Vec::new();
        for word in before {
            match self.part.find(WORD, word.as_bytes())? {
                Some(postings) => lists.push(postings),
                None => return Ok(None),
            }
        }
        let mut counts = Vec::new();
        let mut count = |last: Vec<u8>| {
            self.go_on()?;
            count_phrase(&lists, &last, &mut counts).ok_or_else(nonsense)
        };
        if phrase.prefix {
            self.part.find_all(WORD, last.as_bytes(), count)?;
        } else if let Some(last) = self.part.find(WORD, last.as_bytes())? {
            count(last)?;
        }
        Ok((!counts.is_empty()).then_some(counts))
    }
}

fn nonsense() -> io::Error {
    damaged("postings make no sense")
}

/// Counts where the words of `lists`, and then that of `last`, follow on each other. `None` is damage.
fn count_phrase(lists: &[Vec<u8>], last: &[u8], counts: &mut Vec<(u32, u32)>) -> Option<()> {
    if lists.is_empty() {
        return count_word(last, counts);
    }
    let mut words: Vec<_> = lists.iter().map(|list| Words::new(list)).collect();
    words.push(Words::new(last));
    'pieces: while words[0].next()? {
        // Each word goes on to the piece that the one before is at, or beyond it, and then so do all before.
        let mut piece = words[0].piece;
        loop {
            let mut moved = false;
            for word in &mut words {
                if !word.to(piece)? {
                    break 'pieces;
                }
                moved |= word.piece > piece;
                piece = piece.max(word.piece);
            }
            if !moved {
                break;
            }
        }
        let starts = words[0].places.iter();
        let follows = |start: &u32| words.iter().zip(*start..).all(|(word, at)| word.places.binary_search(&at).is_ok());
        let count = starts.filter(|start| follows(start)).count() as u32;
        if count > 0 {
            counts.push((piece, count));
        }
    }
    Some(())
}

/// The same of a single word, for which it does not matter where it is.
fn count_word(postings: &[u8], counts: &mut Vec<(u32, u32)>) -> Option<()> {
    let (mut input, mut piece) = (Input(postings), 0_u32);
    while !input.0.is_empty() {
        piece = piece.checked_add(input.small()?)?;
        let mut count = 0;
        while !input.0.is_empty() && input.small()? != 0 {
            count += 1;
        }
        counts.push((piece, count));
    }
    Some(())
}

/// The pieces that have a word.
struct Words<'a> {
    input: Input<'a>,
    begun: bool,
    piece: u32,
    places: Vec<u32>,
}

impl<'a> Words<'a> {
    fn new(postings: &'a [u8]) -> Self {
        Self { input: Input(postings), begun: false, piece: 0, places: Vec::new() }
    }

    /// Goes on to the next piece; false at the end. `None` is damage.
    fn next(&mut self) -> Option<bool> {
        if self.input.0.is_empty() {
            return Some(false);
        }
        self.begun = true;
        self.piece = self.piece.checked_add(self.input.small()?)?;
        self.places.clear();
        let mut place = 0_u32;
        while !self.input.0.is_empty() {
            match self.input.small()? {
                0 => break,
                step => place = place.checked_add(step)?,
            }
            self.places.push(place - 1);
        }
        Some(true)
    }

    /// Goes on to `piece`, or the first one after it; false at the end.
    fn to(&mut self, piece: u32) -> Option<bool> {
        while !self.begun || self.piece < piece {
            if !self.next()? {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Goes through two lists in step; `keep` says what becomes of a row that is in one or both.
fn join(a: Rows, b: Rows, keep: impl Fn(Option<f32>, Option<f32>) -> Option<f32>) -> Rows {
    let mut found = Vec::with_capacity(a.len());
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (Some(a), Some(b)) => a.0.cmp(&b.0),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return found,
        };
        let left = if order.is_le() { a.next() } else { None };
        let right = if order.is_ge() { b.next() } else { None };
        let row = left.or(right).map_or(0, |(row, _)| row);
        if let Some(score) = keep(left.map(|(_, score)| score), right.map(|(_, score)| score)) {
            found.push((row, score));
        }
    }
}
