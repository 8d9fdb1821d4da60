//! Frames: `length ‖ batch ‖ kind ‖ check of these ‖ check of the contents ‖ contents`, the unit in which a segment is
//! written and read.
//!
//! `batch` is the offset in the segment at which the batch of the frame starts. A batch is written after the one
//! before it was synced, so a frame whose batch starts behind a bad place shows that the bad place was durable once.
//!
//! Whoever sends payload must not be able to make such a frame: both checks begin at random values of the segment, its
//! [`Mark`], which nobody learns who cannot read the file. The header has a check of its own so that a place is known to
//! hold no frame without reading what its length says: the contents of a payload that is full of lengths would take hours.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

/// Bytes of a frame in front of its contents: length (4), batch (4), kind (1), check of these (4), check of the contents (4).
pub(crate) const HEADER: usize = 17;
/// Bytes of the header that its check is over.
const CHECKED: usize = 9;

/// What makes the frames of a segment its own: the values at which the checks of its frames begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    header: u32,
    contents: u32,
}

impl Mark {
    /// The checks of a segment's head, which holds the mark of the frames behind it, begin as CRC-32C does.
    pub(crate) const HEAD: Self = Self { header: !0, contents: !0 };

    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        let both = u64::from_le_bytes(bytes);
        Self { header: both as u32, contents: (both >> 32) as u32 }
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.contents) << 32 | u64::from(self.header)).to_le_bytes()
    }
}

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// The first frame of a segment.
    Segment = 1,
    /// A call that was begun.
    Intent = 2,
    /// A committed record.
    Leaf = 3,
}

/// A frame inside the bytes of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'b> {
    /// Where its batch starts in the segment.
    pub batch: u32,
    pub kind: FrameKind,
    pub bytes: &'b [u8],
}

/// Why there is no frame, or none that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadFrame {
    Length,
    Checksum,
    Kind,
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the frame's length does not fit the file",
            Self::Checksum => "the frame's checksum does not match",
            Self::Kind => "the frame is whole, but of no known kind; a newer onrecord may have written it",
        })
    }
}

impl FrameKind {
    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Segment),
            2 => Some(Self::Intent),
            3 => Some(Self::Leaf),
            _ => None,
        }
    }
}

/// CRC-32C of `bytes`, begun at `start`.
fn check(start: u32, bytes: &[u8]) -> [u8; 4] {
    let mut crc = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, start.into());
    crc.update(bytes);
    (crc.finalize() as u32).to_le_bytes()
}

/// Appends a frame whose contents are `parts` one after the other.
pub(crate) fn write(out: &mut Vec<u8>, mark: Mark, batch: u32, kind: FrameKind, parts: [&[u8]; 2]) {
    let start = out.len();
    out.extend(((parts[0].len() + parts[1].len()) as u32).to_le_bytes());
    out.extend(batch.to_le_bytes());
    out.push(kind as u8);
    out.extend([0; 8]);
    out.extend_from_slice(parts[0]);
    out.extend_from_slice(parts[1]);
    put_checks(&mut out[start..], mark);
}

/// Puts the checks into the header of a frame that is all of `frame`.
fn put_checks(frame: &mut [u8], mark: Mark) {
    let (header, contents) = frame.split_at_mut(HEADER);
    let (checked, checks) = header.split_at_mut(CHECKED);
    checks[..4].copy_from_slice(&check(mark.header, checked));
    checks[4..].copy_from_slice(&check(mark.contents, contents));
}

/// Reads the frame at the start of `bytes`.
pub(crate) fn read(bytes: &[u8], mark: Mark) -> Result<Frame<'_>, BadFrame> {
    let (header, rest) = bytes.split_first_chunk().ok_or(BadFrame::Length)?;
    let contents = rest.get(..content_length(header, mark)?).ok_or(BadFrame::Length)?;
    if check(mark.contents, contents) != header[CHECKED + 4..] {
        return Err(BadFrame::Checksum);
    }
    let kind = FrameKind::of(header[8]).ok_or(BadFrame::Kind)?;
    Ok(Frame { batch: u32_at(header, 4), kind, bytes: contents })
}

/// The length of the contents of the frame whose header is `header`.
pub(crate) fn content_length(header: &[u8; HEADER], mark: Mark) -> Result<usize, BadFrame> {
    if check(mark.header, &header[..CHECKED]) != header[CHECKED..CHECKED + 4] {
        return Err(BadFrame::Checksum);
    }
    Ok(u32_at(header, 0) as usize)
}

fn u32_at(header: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// Gives the frame at the start of `bytes` the checks that fit it, and tells how long it is; `None` if there is none.
pub(crate) fn mend_checks(bytes: &mut [u8], mark: Mark) -> Option<usize> {
    let end = HEADER + u32_at(bytes.first_chunk()?, 0) as usize;
    put_checks(bytes.get_mut(..end)?, mark);
    Some(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_comes_back_and_no_flipped_bit_passes(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            mark: [u8; 8],
            batch: u32,
        ) {
            let (mark, mut out) = (Mark::from_bytes(mark), Vec::new());
            write(&mut out, mark, batch, FrameKind::Leaf, [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]]);
            let frame = read(&out, mark).unwrap();
            prop_assert_eq!((frame.bytes, frame.batch, frame.kind), (&bytes[..], batch, FrameKind::Leaf));
            for bit in 0..out.len() * 8 {
                out[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(read(&out, mark).is_err());
                out[bit / 8] ^= 1 << (bit % 8);
            }
            prop_assert!(read(&out[..out.len() - 1], mark).is_err());
        }
    }

    proptest! {
        /// Either half of the mark is enough to tell a frame of another segment.
        #[test]
        fn a_frame_of_another_mark_is_none(bytes: Vec<u8>, mark: [u8; 8], other in 1..=u64::MAX) {
            let mut out = Vec::new();
            write(&mut out, Mark::from_bytes(mark), 7, FrameKind::Leaf, [&bytes, &[]]);
            let other = Mark::from_bytes((u64::from_le_bytes(mark) ^ other).to_le_bytes());
            prop_assert_eq!(read(&out, other).unwrap_err(), BadFrame::Checksum);
            prop_assert_eq!(Mark::from_bytes(mark).to_bytes(), mark);
        }
    }

    #[test]
    fn zeros_are_no_frame() {
        for mark in [Mark::HEAD, Mark::from_bytes([0; 8])] {
            assert_eq!(read(&[0; 64], mark).unwrap_err(), BadFrame::Checksum);
        }
    }
}
