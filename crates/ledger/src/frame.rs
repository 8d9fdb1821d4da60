//! Frames: `length ‖ CRC-32C ‖ batch ‖ kind ‖ bytes`, the unit in which a segment is written and read.
//!
//! `batch` is the offset in the segment at which the batch of the frame starts. A batch is written after the one
//! before it was synced, so a frame whose batch starts behind a bad place shows that the bad place was durable once.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

/// Bytes of a frame in front of its contents: length (4), CRC-32C (4), batch (4), kind (1).
pub(crate) const HEADER: usize = 13;

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

/// CRC-32C over the length and all that follows the checksum: batch, kind and contents.
fn checksum(length: [u8; 4], rest: &[u8]) -> u32 {
    let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
    crc.update(&length);
    crc.update(rest);
    crc.finalize() as u32
}

/// Appends a frame whose contents are `parts` one after the other.
pub(crate) fn write(out: &mut Vec<u8>, batch: u32, kind: FrameKind, parts: [&[u8]; 2]) {
    let length = ((parts[0].len() + parts[1].len()) as u32).to_le_bytes();
    let start = out.len();
    out.extend(length);
    out.extend([0; 4]);
    out.extend(batch.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(parts[0]);
    out.extend_from_slice(parts[1]);
    let crc = checksum(length, &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the frame at the start of `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Frame<'_>, BadFrame> {
    let (head, rest) = bytes.split_at_checked(HEADER).ok_or(BadFrame::Length)?;
    let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
    let length = u32::from_le_bytes(word(0));
    let contents = rest.get(..length as usize).ok_or(BadFrame::Length)?;
    if checksum(word(0), &bytes[8..HEADER + length as usize]) != u32::from_le_bytes(word(4)) {
        return Err(BadFrame::Checksum);
    }
    let kind = FrameKind::of(head[12]).ok_or(BadFrame::Kind)?;
    Ok(Frame { batch: u32::from_le_bytes(word(8)), kind, bytes: contents })
}

/// Gives the frame at the start of `bytes` the checksum that fits it, and tells how long it is; `None` if there is none.
pub(crate) fn mend_checksum(bytes: &mut [u8]) -> Option<usize> {
    let end = HEADER + content_length(bytes.first_chunk()?);
    let crc = checksum(*bytes.first_chunk()?, bytes.get(8..end)?);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    Some(end)
}

/// The length of the contents of the frame whose header is `head`.
pub(crate) fn content_length(head: &[u8; HEADER]) -> usize {
    u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_comes_back_and_no_flipped_bit_passes(bytes in proptest::collection::vec(any::<u8>(), 0..200), batch: u32) {
            let mut out = Vec::new();
            write(&mut out, batch, FrameKind::Leaf, [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]]);
            let frame = read(&out).unwrap();
            prop_assert_eq!((frame.bytes, frame.batch, frame.kind), (&bytes[..], batch, FrameKind::Leaf));
            for bit in 0..out.len() * 8 {
                out[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(read(&out).is_err());
                out[bit / 8] ^= 1 << (bit % 8);
            }
            prop_assert!(read(&out[..out.len() - 1]).is_err());
        }
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(read(&[0; 64]).unwrap_err(), BadFrame::Checksum);
    }
}
