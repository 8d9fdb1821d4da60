//! `Content-Encoding` (RFC 9110 §8.4), undone on a copy, as the bytes come: gzip (RFC 1952), deflate, brotli (RFC 7932) and
//! zstd (RFC 8878).
//!
//! Checksums that only protect the transport are not checked: the record has a digest of the bytes themselves.

mod br;
mod inflate;
mod zstandard;

use std::borrow::Cow;

use self::br::Brotli;
use self::inflate::Inflate;
use self::zstandard::Zstd;
use crate::problem::Problem;

/// Bytes that are decoded at once, which bounds what a small input can become in memory.
const STEP: usize = 16 << 10;

/// What a body was encoded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding that a `Content-Encoding` names.
    pub(crate) fn of(header: Option<&str>) -> Result<Self, Problem> {
        let name = header.unwrap_or_default().trim();
        Ok(match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
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
    Unpack::new(coding, limit).push(body, |piece| whole.extend_from_slice(piece))?;
    Ok(Cow::Owned(whole))
}

/// Decodes a body as it comes. Besides a [`STEP`] it keeps the window of its coding: 32 KiB of gzip, at most 16 MiB of brotli
/// and 8 MiB of zstd, as the sender chooses.
pub(crate) struct Unpack {
    way: Way,
    limit: usize,
    left: usize,
    out: Vec<u8>,
}

enum Way {
    Plain,
    Inflate(Inflate),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

/// What one step has done.
struct Step {
    /// Bytes of the input that are used up.
    taken: usize,
    /// Bytes of output.
    made: usize,
}

impl Step {
    /// Nothing can be done before more comes, or ever.
    const NONE: Self = Self { taken: 0, made: 0 };
}

impl Unpack {
    /// A decoder that gives no more than `limit` bytes.
    pub(crate) fn new(coding: Coding, limit: usize) -> Self {
        let way = match coding {
            Coding::Identity => Way::Plain,
            Coding::Gzip => Way::Inflate(Inflate::gzip()),
            Coding::Deflate => Way::Inflate(Inflate::deflate()),
            Coding::Brotli => Way::Brotli(Box::default()),
            Coding::Zstd => Way::Zstd(Zstd::default()),
        };
        Self { way, limit, left: limit, out: vec![0; STEP] }
    }

    /// Reports what `piece` decodes to.
    pub(crate) fn push(&mut self, mut piece: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Problem> {
        loop {
            let Step { taken, made } = match &mut self.way {
                Way::Plain => plain(piece, &mut self.out),
                Way::Inflate(inflate) => inflate.step(piece, &mut self.out)?,
                Way::Brotli(brotli) => brotli.step(piece, &mut self.out)?,
                Way::Zstd(zstd) => zstd.step(piece, &mut self.out)?,
            };
            if (taken, made) == (0, 0) {
                return Ok(());
            }
            piece = &piece[taken..];
            self.left = self.left.checked_sub(made).ok_or(Problem::TooLong(self.limit))?;
            each(&self.out[..made]);
        }
    }
}

fn plain(piece: &[u8], out: &mut [u8]) -> Step {
    let size = piece.len().min(out.len());
    out[..size].copy_from_slice(&piece[..size]);
    Step { taken: size, made: size }
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

    fn brotli(plain: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        brotli::CompressorWriter::new(&mut bytes, 4096, 5, 22).write_all(plain).unwrap();
        bytes
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
            ("br", brotli(&plain)),
            ("zstd", zstd::encode_all(&plain[..], 3).unwrap()),
        ]
    }

    #[test]
    fn every_coding_in_pieces_of_every_kind() {
        for (name, bytes) in encoded() {
            for size in [1, 2, 3, 11, 1000, bytes.len()] {
                let (mut unpack, mut got) = (Unpack::new(Coding::of(Some(name)).unwrap(), usize::MAX), Vec::new());
                for piece in bytes.chunks(size) {
                    unpack.push(piece, |decoded| got.extend_from_slice(decoded)).unwrap();
                }
                assert!(got == plain(), "{name} in pieces of {size}");
            }
        }
    }

    #[test]
    fn members_follow_each_other() {
        for (name, bytes) in encoded().into_iter().filter(|(name, _)| ["gzip", "zstd"].contains(name)) {
            let twice = [&bytes[..], &bytes].concat();
            assert_eq!(decode(Some(name), &twice, usize::MAX).unwrap().len(), 2 * plain().len(), "{name}");
        }
    }

    #[test]
    fn a_window_that_http_does_not_allow_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&plain()).unwrap();
        assert!(matches!(decode(Some("zstd"), &encoder.finish().unwrap(), usize::MAX), Err(Problem::Damaged)));
    }

    #[test]
    fn what_is_cut_damaged_or_too_long() {
        for (name, bytes) in &encoded() {
            let start = decode(Some(name), &bytes[..bytes.len() / 2], usize::MAX).unwrap();
            // A block of zstd gives nothing before its end.
            assert!(plain().starts_with(&start) && (*name == "zstd" || !start.is_empty()), "{name}");
            assert!(matches!(decode(Some(name), &[0xff; 64], 100), Err(Problem::Damaged)), "{name}");
            assert!(matches!(decode(Some(name), bytes, 1000), Err(Problem::TooLong(1000))), "{name}");
        }
        assert!(matches!(decode(Some("compress"), &encoded()[0].1, 1000), Err(Problem::Encoding(_))));
        assert_eq!(decode(Some("identity"), b"{}", 1).unwrap(), &b"{}"[..]);
    }
}
