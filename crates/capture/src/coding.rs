//! `Content-Encoding` (RFC 9110 §8.4): gzip (RFC 1952) and deflate, undone on a copy, as the bytes come.
//!
//! The checksums are not checked: they protect the transport, and the record has a digest of the bytes themselves.

use std::borrow::Cow;

use flate2::{Decompress, FlushDecompress, Status};

use crate::problem::Problem;

/// Bytes that are decoded at once, which bounds what a small input can become in memory.
const STEP: usize = 16 << 10;
/// A gzip header is ten bytes and sometimes a file name; one that is longer than this is none.
const HEADER_MAX: usize = 4 << 10;
/// CRC-32 and length.
const TRAILER: usize = 8;

/// What a body was encoded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Coding {
    /// The coding that a `Content-Encoding` names.
    pub(crate) fn of(header: Option<&str>) -> Result<Self, Problem> {
        let name = header.unwrap_or_default().trim();
        Ok(match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            _ => return Err(Problem::Encoding(name.chars().take(64).collect())),
        })
    }
}

/// The decoded body, unless it is longer than `limit`. What a cut body still gives is given.
pub(crate) fn decode<'a>(header: Option<&str>, body: &'a [u8], limit: usize) -> Result<Cow<'a, [u8]>, Problem> {
    let coding = Coding::of(header)?;
    if coding == Coding::Identity {
        return Ok(Cow::Borrowed(body));
    }
    let mut whole = Vec::new();
    Inflate::new(coding, limit).push(body, |piece| whole.extend_from_slice(piece))?;
    Ok(Cow::Owned(whole))
}

/// Decodes a compressed body as it comes.
pub(crate) struct Inflate {
    state: State,
    limit: usize,
    left: usize,
    out: Vec<u8>,
}

enum State {
    /// In a gzip header, of which these bytes have come.
    Header(Vec<u8>),
    /// Before the first byte of `deflate`, which tells if it is in the zlib format or bare.
    Deflate,
    Data {
        inflate: Decompress,
        is_gzip: bool,
    },
    /// In a gzip trailer, of which so many bytes are to come.
    Trailer(usize),
    /// At the end; what follows does not count.
    End,
}

impl Inflate {
    /// A decoder that gives no more than `limit` bytes.
    pub(crate) fn new(coding: Coding, limit: usize) -> Self {
        let state = if coding == Coding::Gzip { State::Header(Vec::new()) } else { State::Deflate };
        Self { state, limit, left: limit, out: vec![0; STEP] }
    }

    /// Reports what `piece` decodes to.
    pub(crate) fn push(&mut self, mut piece: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Problem> {
        while !piece.is_empty() && !matches!(self.state, State::End) {
            piece = self.step(piece, &mut each)?;
        }
        Ok(())
    }

    fn step<'a>(&mut self, piece: &'a [u8], each: &mut impl FnMut(&[u8])) -> Result<&'a [u8], Problem> {
        match &mut self.state {
            State::Header(start) => {
                let before = start.len();
                start.extend_from_slice(&piece[..piece.len().min(HEADER_MAX - before)]);
                let Some(len) = header_len(start)? else { return Ok(&[]) };
                self.state = State::Data { inflate: Decompress::new(false), is_gzip: true };
                Ok(&piece[len - before..])
            }
            State::Deflate => {
                // The zlib format's first byte names method 8 with a window of at most 32 KiB (RFC 1950 §2.2).
                let zlib = piece[0] & 0x0f == 8 && piece[0] >> 4 <= 7;
                self.state = State::Data { inflate: Decompress::new(zlib), is_gzip: false };
                Ok(piece)
            }
            State::Data { .. } => self.inflate(piece, each),
            State::Trailer(left) => {
                let taken = piece.len().min(*left);
                *left -= taken;
                if *left == 0 {
                    self.state = State::Header(Vec::new());
                }
                Ok(&piece[taken..])
            }
            State::End => Ok(&[]),
        }
    }

    fn inflate<'a>(&mut self, mut piece: &'a [u8], each: &mut impl FnMut(&[u8])) -> Result<&'a [u8], Problem> {
        let State::Data { inflate, is_gzip } = &mut self.state else { return Ok(piece) };
        loop {
            let before = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(piece, &mut self.out, FlushDecompress::None);
            let status = status.map_err(|_| Problem::Damaged)?;
            let taken = (inflate.total_in() - before.0) as usize;
            let made = (inflate.total_out() - before.1) as usize;
            piece = &piece[taken..];
            self.left = self.left.checked_sub(made).ok_or(Problem::TooLong(self.limit))?;
            each(&self.out[..made]);
            if status == Status::StreamEnd {
                self.state = if *is_gzip { State::Trailer(TRAILER) } else { State::End };
                return Ok(piece);
            }
            if (taken, made) == (0, 0) {
                return Ok(&[]);
            }
        }
    }
}

/// The length of the gzip header that `start` begins with (RFC 1952 §2.3), once all of it is there.
fn header_len(start: &[u8]) -> Result<Option<usize>, Problem> {
    let known = start.len().min(3);
    if start[..known] != [0x1f, 0x8b, 8][..known] {
        return Err(Problem::Damaged);
    }
    match past_header(start) {
        None if start.len() >= HEADER_MAX => Err(Problem::Damaged),
        len => Ok(len),
    }
}

fn past_header(start: &[u8]) -> Option<usize> {
    let flags = *start.get(3)?;
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(u16::from_le_bytes([*start.get(at)?, *start.get(at + 1)?]));
    }
    // A file name and a comment, each ended by a zero byte.
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += memchr::memchr(0, start.get(at..)?)? + 1;
        }
    }
    at += if flags & 2 != 0 { 2 } else { 0 };
    (start.len() >= at).then_some(at)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use flate2::{Compression, GzBuilder};

    use super::*;

    fn plain() -> Vec<u8> {
        (0..40_000_u32).flat_map(|n| (n * n % 977).to_le_bytes()).collect()
    }

    fn encoded() -> Vec<(&'static str, Vec<u8>)> {
        let (level, plain) = (Compression::default(), plain());
        let mut gzip = GzEncoder::new(Vec::new(), level);
        let named = GzBuilder::new().filename("a.json").comment("b").extra(vec![1; 40]);
        let mut named = named.write(Vec::new(), level);
        let (mut zlib, mut raw) = (ZlibEncoder::new(Vec::new(), level), DeflateEncoder::new(Vec::new(), level));
        gzip.write_all(&plain).unwrap();
        named.write_all(&plain).unwrap();
        zlib.write_all(&plain).unwrap();
        raw.write_all(&plain).unwrap();
        let named = named.finish().unwrap();
        vec![
            ("gzip", gzip.finish().unwrap()),
            ("x-GZIP", named),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
        ]
    }

    #[test]
    fn every_coding_in_pieces_of_every_kind() {
        for (name, bytes) in encoded() {
            for size in [1, 2, 3, 11, 1000, bytes.len()] {
                let (mut inflate, mut got) = (Inflate::new(Coding::of(Some(name)).unwrap(), usize::MAX), Vec::new());
                for piece in bytes.chunks(size) {
                    inflate.push(piece, |decoded| got.extend_from_slice(decoded)).unwrap();
                }
                assert!(got == plain(), "{name} in pieces of {size}");
            }
        }
    }

    #[test]
    fn members_follow_each_other() {
        let gzip = &encoded()[0].1;
        let twice = [&gzip[..], gzip].concat();
        assert_eq!(decode(Some("gzip"), &twice, usize::MAX).unwrap().len(), 2 * plain().len());
    }

    #[test]
    fn what_is_cut_damaged_or_too_long() {
        let (name, gzip) = &encoded()[0];
        let start = decode(Some(name), &gzip[..gzip.len() / 2], usize::MAX).unwrap();
        assert!(plain().starts_with(&start) && !start.is_empty());
        assert!(matches!(decode(Some(name), b"{}", 100), Err(Problem::Damaged)));
        assert!(matches!(decode(Some(name), gzip, 1000), Err(Problem::TooLong(1000))));
        assert!(matches!(decode(Some("br"), gzip, 1000), Err(Problem::Encoding(_))));
        assert_eq!(decode(Some("identity"), b"{}", 1).unwrap(), &b"{}"[..]);
    }
}
