//! Reads an index file, and checks whatever it reads: a file that is torn or has changed is an error, never an answer.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::bytes::{Input, crc};
use super::layout::{
    Block, Covered, EXACT, Footer, INLINE_BYTES, KIND, MAGIC, PartLayout, SHARED, Section, TAIL, WORD,
};

/// A footer is never larger: some hundred KB for a file of a few hundred MB.
const FOOTER_MAX: usize = 256 << 20;

/// An index that can be asked. The file itself is open only while it is.
#[derive(Debug)]
pub(super) struct Index {
    place: PathBuf,
    footer: Footer,
    footer_bytes: usize,
}

/// The postings of a term, encoded.
pub(super) type Encoded = Vec<u8>;

impl Index {
    /// Opens the index at `place`, if it is one of what is `covered`. One of another version is not found.
    pub(super) fn open(place: &Path, covered: &Covered) -> io::Result<Self> {
        let file = File::open(place)?;
        let end = file.metadata()?.len();
        let tail_at = end.checked_sub(TAIL as u64).ok_or_else(|| damaged("it is too short"))?;
        let mut tail = [0; TAIL];
        file.read_exact_at(&mut tail, tail_at)?;
        let (numbers, magic) = tail.split_at(8);
        if magic[..KIND] != MAGIC[..KIND] {
            return Err(damaged("it does not end as an index does"));
        }
        if magic != MAGIC {
            // As if it were not there, so that it is made anew.
            return Err(io::Error::new(io::ErrorKind::NotFound, "it is of another version of this program"));
        }
        let (length, sum) = (little(&numbers[..4]), little(&numbers[4..]));
        let at = tail_at.checked_sub(length).filter(|_| length <= FOOTER_MAX as u64);
        let at = at.ok_or_else(|| damaged("its footer is too long"))?;
        let bytes = read(&file, &Section { at, bytes: length, crc: sum as u32 })?;
        let footer = Footer::read(&bytes).ok_or_else(|| damaged("its footer makes no sense"))?;
        if footer.covered != *covered {
            return Err(damaged("it is of another data file"));
        }
        Ok(Self { place: place.to_owned(), footer, footer_bytes: bytes.len() })
    }

    /// Reads all of it, so that every checksum is compared.
    pub(super) fn check(&self) -> io::Result<()> {
        for part in self.parts()? {
            for kind in [WORD, EXACT] {
                part.find_all(kind, &[], |_| Ok(()))?;
            }
            part.pieces()?;
            part.lengths()?;
            part.leaves()?;
            part.times()?;
        }
        Ok(())
    }

    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    pub(super) fn footer_bytes(&self) -> usize {
        self.footer_bytes
    }

    /// Opens the parts for reading.
    pub(super) fn parts(&self) -> io::Result<impl Iterator<Item = Part<'_>>> {
        let file = std::sync::Arc::new(File::open(&self.place)?);
        Ok(self.footer.parts.iter().map(move |layout| Part { file: std::sync::Arc::clone(&file), layout }))
    }
}

/// A part of an index, open.
pub(super) struct Part<'a> {
    file: std::sync::Arc<File>,
    layout: &'a PartLayout,
}

/// The postings of a term, if they are few.
pub(super) enum Few {
    None,
    Postings(Encoded),
    TooMany,
}

impl Part<'_> {
    pub(super) fn rows(&self) -> u32 {
        self.layout.rows
    }

    /// Bytes of its arrays.
    pub(super) fn array_bytes(&self) -> u64 {
        let PartLayout { pieces, shared, lengths, leaves, times, .. } = self.layout;
        [pieces, shared, lengths, leaves, times].iter().map(|section| section.bytes).sum()
    }

    /// The postings of the term, if there is such a term.
    pub(super) fn find(&self, kind: u8, term: &[u8]) -> io::Result<Option<Encoded>> {
        let mut found = None;
        self.scan(kind, term, |key, at| {
            if key == term {
                found = Some(at.postings()?);
            }
            Ok(key < term)
        })?;
        Ok(found)
    }

    /// The postings of the term, unless they have more than `most` bytes.
    pub(super) fn find_up_to(&self, kind: u8, term: &[u8], most: usize) -> io::Result<Few> {
        let mut found = Few::None;
        self.scan(kind, term, |key, at| {
            if key == term {
                let are_few = at.bytes() <= most.max(INLINE_BYTES);
                found = if are_few { Few::Postings(at.postings()?) } else { Few::TooMany };
            }
            Ok(key < term)
        })?;
        Ok(found)
    }

    /// Calls `each` with the postings of every term that begins with `prefix`.
    pub(super) fn find_all(
        &self,
        kind: u8,
        prefix: &[u8],
        mut each: impl FnMut(Encoded) -> io::Result<()>,
    ) -> io::Result<()> {
        self.scan(kind, prefix, |key, at| {
            if key.starts_with(prefix) {
                each(at.postings()?)?;
            }
            Ok(key < prefix || key.starts_with(prefix))
        })
    }

    /// Goes through the terms in order, from the block on that `from` is in, for as long as `visit` says true.
    fn scan(
        &self,
        kind: u8,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &Terms<'_>) -> io::Result<bool>,
    ) -> io::Result<()> {
        let from = [&[kind], from].concat();
        let start = self.layout.blocks.partition_point(|(first, _)| **first <= *from).saturating_sub(1);
        let mut terms = self.terms_from(start);
        while terms.next()? {
            // Of another kind is what comes before or after.
            if terms.term[0] > kind || (terms.term[0] == kind && !visit(&terms.term[1..], &terms)?) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// All terms, in order.
    pub(super) fn terms(&self) -> Terms<'_> {
        self.terms_from(0)
    }

    fn terms_from(&self, block: usize) -> Terms<'_> {
        let blocks = self.layout.blocks.get(block..).unwrap_or_default();
        Terms { part: self, blocks, block: Vec::new(), at: 0, term: Vec::new(), place: Place::Block(0..0) }
    }

    /// What tells in which rows a piece is.
    pub(super) fn pieces(&self) -> io::Result<Pieces> {
        Ok(Pieces { first: self.array(&self.layout.pieces)?, shared: read(&self.file, &self.layout.shared)? })
    }

    /// The words of each row.
    pub(super) fn lengths(&self) -> io::Result<Vec<u32>> {
        self.array(&self.layout.lengths)
    }

    pub(super) fn leaves(&self) -> io::Result<Vec<u64>> {
        Ok(numbers(&read(&self.file, &self.layout.leaves)?).map(u64::from_le_bytes).collect())
    }

    pub(super) fn times(&self) -> io::Result<Vec<i64>> {
        Ok(numbers(&read(&self.file, &self.layout.times)?).map(i64::from_le_bytes).collect())
    }

    fn array(&self, section: &Section) -> io::Result<Vec<u32>> {
        Ok(numbers(&read(&self.file, section)?).map(u32::from_le_bytes).collect())
    }
}

/// Goes through the terms of a part.
pub(super) struct Terms<'a> {
    part: &'a Part<'a>,
    /// The blocks that follow.
    blocks: &'a [Block],
    block: Vec<u8>,
    /// Where the next term is in the block.
    at: usize,
    /// The kind and the term that it is at.
    term: Vec<u8>,
    place: Place,
}

/// Where the postings of a term are.
enum Place {
    /// In the block.
    Block(Range<usize>),
    /// Elsewhere, relative to the postings of the part.
    Postings(Section),
}

impl Terms<'_> {
    /// Goes on to the next term. False if there is none.
    pub(super) fn next(&mut self) -> io::Result<bool> {
        while self.at == self.block.len() {
            let Some(((_, section), later)) = self.blocks.split_first() else { return Ok(false) };
            (self.block, self.blocks, self.at) = (read(&self.part.file, section)?, later, 0);
            self.term.clear();
        }
        self.read_term().ok_or_else(|| damaged("a block makes no sense"))?;
        Ok(true)
    }

    fn read_term(&mut self) -> Option<()> {
        let mut input = Input(self.block.get(self.at..)?);
        let common = input.number()? as usize;
        if common > self.term.len() {
            return None;
        }
        self.term.truncate(common);
        self.term.extend_from_slice(input.bytes()?);
        let bytes = input.number()?;
        self.place = if bytes <= INLINE_BYTES as u64 {
            let start = self.block.len() - input.0.len();
            input.take(bytes as usize)?;
            Place::Block(start..start + bytes as usize)
        } else {
            Place::Postings(Section { bytes, at: input.number()?, crc: input.small()? })
        };
        self.at = self.block.len() - input.0.len();
        (!self.term.is_empty()).then_some(())
    }

    /// The kind and the term.
    pub(super) fn term(&self) -> &[u8] {
        &self.term
    }

    /// How many bytes its postings have.
    fn bytes(&self) -> usize {
        match &self.place {
            Place::Block(range) => range.len(),
            Place::Postings(section) => section.bytes as usize,
        }
    }

    /// Its postings.
    pub(super) fn postings(&self) -> io::Result<Encoded> {
        match &self.place {
            Place::Block(range) => Ok(self.block[range.clone()].to_vec()),
            Place::Postings(section) => {
                let at = section.at + self.part.layout.postings_at;
                read(&self.part.file, &Section { at, ..section.clone() })
            }
        }
    }
}

/// In which rows each piece is.
pub(super) struct Pieces {
    first: Vec<u32>,
    shared: Vec<u8>,
}

impl Pieces {
    /// How many there are.
    pub(super) fn len(&self) -> u32 {
        self.first.len() as u32
    }

    /// Calls `each` with the rows of a piece, in order. `None` is damage.
    pub(super) fn rows(&self, piece: u32, mut each: impl FnMut(u32)) -> Option<()> {
        let at = *self.first.get(piece as usize)?;
        if at & SHARED == 0 {
            each(at);
            return Some(());
        }
        let mut list = Input(self.shared.get((at & !SHARED) as usize..)?);
        let mut row = 0_u32;
        for _ in 0..list.number()? {
            row = row.checked_add(list.small()?)?;
            each(row);
        }
        Some(())
    }
}

fn read(file: &File, section: &Section) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(section.bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, section.at)?;
    if crc(&bytes) != section.crc {
        return Err(damaged("a checksum does not fit"));
    }
    Ok(bytes)
}

/// The numbers of an array, each as its bytes.
fn numbers<const BYTES: usize>(array: &[u8]) -> impl Iterator<Item = [u8; BYTES]> + '_ {
    array.as_chunks().0.iter().copied()
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(super) fn damaged(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
