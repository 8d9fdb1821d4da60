//! gzip and deflate.

use flate2::{Decompress, FlushDecompress, Status};

use super::Step;
use crate::problem::Problem;

/// A gzip header is ten bytes and sometimes a file name; one that is longer than this is none.
const HEADER_MAX: usize = 4 << 10;
/// CRC-32 and length.
const TRAILER: usize = 8;

/// Where it is in what was compressed.
pub(super) enum Inflate {
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
    pub(super) const fn gzip() -> Self {
        Self::Header(Vec::new())
    }

    pub(super) const fn deflate() -> Self {
        Self::Deflate
    }

    pub(super) fn step(&mut self, piece: &[u8], out: &mut [u8]) -> Result<Step, Problem> {
        // What was decompressed may not have fitted, so data goes on without more of it.
        if piece.is_empty() && !matches!(self, Self::Data { .. }) {
            return Ok(Step::NONE);
        }
        match self {
            Self::Header(start) => {
                let before = start.len();
                start.extend_from_slice(&piece[..piece.len().min(HEADER_MAX - before)]);
                let Some(len) = header_len(start)? else { return Ok(Step { taken: piece.len(), made: 0 }) };
                *self = Self::Data { inflate: Decompress::new(false), is_gzip: true };
                Ok(Step { taken: len - before, made: 0 })
            }
            Self::Deflate => {
                // The zlib format's first byte names method 8 with a window of at most 32 KiB (RFC 1950 §2.2).
                let zlib = piece[0] & 0x0f == 8 && piece[0] >> 4 <= 7;
                *self = Self::Data { inflate: Decompress::new(zlib), is_gzip: false };
                self.step(piece, out)
            }
            Self::Data { .. } => self.inflate(piece, out),
            Self::Trailer(left) => {
                let taken = piece.len().min(*left);
                *left -= taken;
                if *left == 0 {
                    *self = Self::gzip();
                }
                Ok(Step { taken, made: 0 })
            }
            Self::End => Ok(Step::NONE),
        }
    }

    fn inflate(&mut self, piece: &[u8], out: &mut [u8]) -> Result<Step, Problem> {
        let Self::Data { inflate, is_gzip } = self else { return Ok(Step::NONE) };
        let before = (inflate.total_in(), inflate.total_out());
        let status = inflate.decompress(piece, out, FlushDecompress::None);
        let status = status.map_err(|_| Problem::Damaged)?;
        let taken = (inflate.total_in() - before.0) as usize;
        let made = (inflate.total_out() - before.1) as usize;
        if status == Status::StreamEnd {
            *self = if *is_gzip { Self::Trailer(TRAILER) } else { Self::End };
            // The end may be found without a byte; what follows it is looked at all the same.
            if (taken, made) == (0, 0) {
                return self.step(piece, out);
            }
        }
        Ok(Step { taken, made })
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
