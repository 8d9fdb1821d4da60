//! Puts the indexes of data files together, as compaction does the files: no row is read for it, and no text cut into
//! words. The parts of the indexes become one part, as long as it is not too large.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memchr::memchr;

use super::bytes::{Input, put};
use super::layout::{Block, Covered, EXACT, PartLayout, SHARED};
use super::output::{Dictionary, Output, PieceRows};
use super::read::{Index, Part, Terms, damaged};
use crate::error::{Error, Result};
use crate::lake::Awaited;

/// Bytes of the arrays of a part at most, if it is made of several: they are in memory while it is written, and read whole
/// by every search that has a hit in it. Of short conversations that is some 300,000 rows.
const ARRAYS: u64 = if cfg!(test) { 4 << 10 } else { 16 << 20 };

/// Writes the index at `place` of what is `covered`, from those of the files that it was made of, in their order. False,
/// and nothing there, if they do not have the rows that it should cover.
pub(super) fn merge(place: &Path, covered: Covered, old: &[Arc<Index>], awaited: &Awaited) -> Result<bool> {
    let mut out = Output::create(place, covered)?;
    let parts = old.iter().map(|index| index.parts()).collect::<io::Result<Vec<_>>>();
    let parts: Vec<_> = parts.map_err(Error::io(place))?.into_iter().flatten().collect();
    let mut left = &parts[..];
    while !left.is_empty() {
        let (now, later) = left.split_at(parts_at_once(left));
        let layout = merge_parts(now, &mut out, awaited).map_err(Error::io(place))?;
        out.end_part(layout);
        left = later;
    }
    out.finish(place)
}

/// How many of the first parts become one.
fn parts_at_once(parts: &[Part<'_>]) -> usize {
    let mut arrays = 0;
    let fit = parts.iter().take_while(|part| {
        arrays += part.array_bytes();
        arrays <= ARRAYS
    });
    fit.count().max(1)
}

fn merge_parts(parts: &[Part<'_>], out: &mut Output, awaited: &Awaited) -> io::Result<PartLayout> {
    let mut sources = Vec::new();
    let (mut lengths, mut leaves, mut times, mut pieces) = (Vec::new(), Vec::new(), Vec::new(), PieceRows::default());
    for part in parts {
        let (rows, before) = (lengths.len() as u32, pieces.first.len() as u32);
        add_pieces(part, rows, &mut pieces)?;
        lengths.extend(part.lengths()?);
        leaves.extend(part.leaves()?.iter().flat_map(|n| n.to_le_bytes()));
        times.extend(part.times()?.iter().flat_map(|n| n.to_le_bytes()));
        let (rows, pieces) = (rows..lengths.len() as u32, before..pieces.first.len() as u32);
        if rows.len() != part.rows() as usize || leaves.len() != 8 * lengths.len() || times.len() != 8 * lengths.len() {
            return Err(damaged("an array is of other rows"));
        }
        sources.push(Source { terms: part.terms(), rows, pieces });
    }
    if pieces.first.len().max(pieces.shared.len()) >= SHARED as usize {
        return Err(damaged("there are too many texts for one index"));
    }
    let (postings_at, blocks) = merge_terms(sources, out, awaited)?;
    Ok(PartLayout {
        rows: lengths.len() as u32,
        postings_at,
        blocks,
        pieces: out.write_array(&pieces.first)?,
        shared: out.write(&pieces.shared)?,
        lengths: out.write_array(&lengths)?,
        leaves: out.write(&leaves)?,
        times: out.write(&times)?,
    })
}

/// Adds the pieces of a part whose first row is row `before` of the new one.
fn add_pieces(part: &Part<'_>, before: u32, to: &mut PieceRows) -> io::Result<()> {
    let pieces = part.pieces()?;
    let (mut rows, mut is_good) = (Vec::new(), true);
    for piece in 0..pieces.len() {
        rows.clear();
        let all = pieces.rows(piece, |row| {
            is_good &= row < part.rows() && rows.last().is_none_or(|last| *last < row + before);
            rows.push(before.saturating_add(row));
        });
        all.filter(|()| is_good && !rows.is_empty()).ok_or_else(|| damaged("a list of rows makes no sense"))?;
        to.add(&rows);
    }
    Ok(())
}

/// A part that becomes a piece of a larger one.
struct Source<'a> {
    terms: Terms<'a>,
    /// Its rows and pieces among those of the larger one.
    rows: Range<u32>,
    pieces: Range<u32>,
}

/// Writes the dictionary of the terms of all sources.
fn merge_terms(mut sources: Vec<Source<'_>>, out: &mut Output, awaited: &Awaited) -> io::Result<(u64, Vec<Block>)> {
    let mut dictionary = Dictionary::begin(out);
    // The next term of each source; of the same term the sources in their order.
    let mut next = BinaryHeap::new();
    for (at, source) in sources.iter_mut().enumerate() {
        next.extend(source.terms.next()?.then(|| Reverse((source.terms.term().to_vec(), at))));
    }
    let mut joined = Joined::default();
    while let Some(Reverse((term, first))) = next.pop() {
        if awaited.is_over() {
            return Err(io::Error::other("nobody waits for it"));
        }
        joined.clear();
        let mut with_term = Some(first);
        while let Some(at) = with_term {
            let source = &mut sources[at];
            joined.add(source, term[0] == EXACT)?;
            next.extend(source.terms.next()?.then(|| Reverse((source.terms.term().to_vec(), at))));
            let is_same = next.peek().is_some_and(|Reverse((other, _))| *other == term);
            with_term = if is_same { next.pop().map(|Reverse((_, at))| at) } else { None };
        }
        dictionary.add(&term, &joined.bytes, out)?;
    }
    dictionary.finish(out)
}

/// The postings of a term from several parts.
#[derive(Default)]
struct Joined {
    bytes: Vec<u8>,
    /// The last row or piece.
    last: u32,
}

impl Joined {
    fn clear(&mut self) {
        self.bytes.clear();
        self.last = 0;
    }

    /// Postings are distances, so the first one alone changes.
    fn add(&mut self, source: &Source<'_>, is_exact: bool) -> io::Result<()> {
        let postings = source.terms.postings()?;
        let within = if is_exact { &source.rows } else { &source.pieces };
        let mut input = Input(&postings);
        let first = input.small().and_then(|first| within.start.checked_add(first));
        let rest = input.0;
        let more = if is_exact { last_row(input) } else { last_piece(input) };
        let last = first.zip(more).and_then(|(first, more)| first.checked_add(more));
        let (Some(first), Some(last)) = (first, last.filter(|last| within.contains(last))) else {
            return Err(damaged("postings make no sense"));
        };
        if !is_exact && !self.bytes.is_empty() {
            put(&mut self.bytes, 0);
        }
        // What came before is of an earlier source.
        put(&mut self.bytes, u64::from(first - self.last));
        self.bytes.extend_from_slice(rest);
        self.last = last;
        Ok(())
    }
}

/// From the first row of an exact term to its last.
fn last_row(mut further: Input<'_>) -> Option<u32> {
    let mut rows = 0_u32;
    while !further.0.is_empty() {
        rows = rows.checked_add(further.small()?)?;
    }
    Some(rows)
}

/// From the first piece of a word to its last. The places in a piece end with a zero, which no other number has in it.
fn last_piece(mut places: Input<'_>) -> Option<u32> {
    let mut pieces = 0_u32;
    while let Some(end) = memchr(0, places.0) {
        places.0 = &places.0[end + 1..];
        pieces = pieces.checked_add(places.small()?)?;
    }
    Some(pieces)
}
