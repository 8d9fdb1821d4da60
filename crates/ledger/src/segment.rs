//! Segments: the files that hold frames until their records are in the lake and their hashes in the tree.

use std::path::Path;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::Error;
use crate::frame::{self, BadFrame, Frame, FrameKind, HEADER, Mark};

const MAGIC: [u8; 8] = *b"onrecord";
const VERSION: u32 = 1;
/// Bytes of a segment's first frame.
pub(crate) const HEAD: usize = HEADER + 84;
/// Bytes in front of the record in a leaf frame: index (8), commit time (8), intent's segment (8) and offset (4).
pub(crate) const LEAF_HEAD: usize = 28;

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub segment: u64,
    pub offset: u32,
}

/// The contents of a segment's first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub number: u64,
    /// The segment before this one, 0 if there is none.
    pub previous: u64,
    /// How many bytes of the segment before this one count. What a failed batch left behind them does not.
    pub previous_end: u64,
    /// The index of the first leaf in this segment.
    pub first_index: u64,
    /// SHA-256 of the log's origin.
    pub origin: [u8; 32],
    /// Random, so that the frames of this segment are known from whatever else may be in its bytes.
    pub mark: Mark,
}

/// What stands in front of the record in a leaf frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafHead {
    pub index: u64,
    pub committed_at: i64,
    /// The frame with the groups that the record's own frame leaves out.
    pub intent: Option<Place>,
}

/// The file of a segment.
pub(crate) fn name(number: u64) -> String {
    format!("{number:020}.seg")
}

/// The number of the segment whose file is called `name`.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".seg").filter(|digits| digits.len() == 20)?.parse().ok()
}

pub(crate) fn origin_hash(origin: &str) -> [u8; 32] {
    Sha256::digest(origin).into()
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl SegmentHead {
    pub(crate) fn to_frame(self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        for n in [self.number, self.previous, self.previous_end, self.first_index] {
            bytes.extend(n.to_le_bytes());
        }
        bytes.extend(self.origin);
        bytes.extend(self.mark.to_bytes());
        let mut out = Vec::new();
        frame::write(&mut out, Mark::HEAD, 0, FrameKind::Segment, [&bytes, &[]]);
        out
    }

    /// Reads the head of a segment. `None` if there is no whole one, which is so only in a segment that was never used.
    pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<Option<Self>, Error> {
        let corrupt = |problem: &str| Error::corrupt(path, 0, problem);
        let Ok(Frame { kind: FrameKind::Segment, bytes, batch }) = frame::read(bytes, Mark::HEAD) else {
            return Ok(None);
        };
        let found = bytes.get(8..12).map(|v| u32::from_le_bytes([v[0], v[1], v[2], v[3]]));
        match found {
            Some(VERSION) if bytes.starts_with(&MAGIC) => {}
            Some(v) if bytes.starts_with(&MAGIC) && v > VERSION => {
                return Err(Error::TooNew { path: path.to_owned(), found: v.into(), known: VERSION.into() });
            }
            _ => return Err(corrupt("this is not a segment of a log")),
        }
        if (HEADER + bytes.len(), batch) != (HEAD, 0) {
            return Err(corrupt("the segment's head is not as this version writes it"));
        }
        let head = || {
            let [number, previous, previous_end, first_index] =
                [u64_at(bytes, 12)?, u64_at(bytes, 20)?, u64_at(bytes, 28)?, u64_at(bytes, 36)?];
            let origin = bytes.get(44..76)?.try_into().ok()?;
            let mark = Mark::from_bytes(bytes.get(76..)?.try_into().ok()?);
            Some(Self { number, previous, previous_end, first_index, origin, mark })
        };
        Ok(head())
    }
}

impl LeafHead {
    pub(crate) fn to_bytes(self) -> [u8; LEAF_HEAD] {
        let intent = self.intent.unwrap_or(Place { segment: 0, offset: 0 });
        let mut out = [0; LEAF_HEAD];
        out[..8].copy_from_slice(&self.index.to_le_bytes());
        out[8..16].copy_from_slice(&self.committed_at.to_le_bytes());
        out[16..24].copy_from_slice(&intent.segment.to_le_bytes());
        out[24..].copy_from_slice(&intent.offset.to_le_bytes());
        out
    }

    /// Splits the contents of a leaf frame into its head and the record's bytes.
    pub(crate) fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, record) = bytes.split_at_checked(LEAF_HEAD)?;
        let offset = u32::from_le_bytes([head[24], head[25], head[26], head[27]]);
        let segment = u64_at(head, 16)?;
        let intent = (segment != 0).then_some(Place { segment, offset });
        Some((Self { index: u64_at(head, 0)?, committed_at: u64_at(head, 8)? as i64, intent }, record))
    }
}

/// The id of the record in an intent or leaf frame, without decoding the record: format version (3 bytes), then key 1
/// and a byte string of 16.
pub(crate) fn record_id(record: &[u8]) -> Option<Uuid> {
    const BEFORE_ID: [u8; 5] = [0xa7, 0x00, 0x01, 0x01, 0x50];
    Uuid::from_slice(record.strip_prefix(&BEFORE_ID)?.get(..16)?).ok()
}

/// Nothing is written behind a head before it is durable, so a file without a whole one was never used if nothing but the
/// zeros that it was allocated with is behind its place.
pub(crate) fn is_unused(bytes: &[u8]) -> bool {
    without_zeros(bytes).iter().skip(HEAD).all(|byte| *byte == 0)
}

/// Visits the frames behind the head of a segment in order and says where they end.
///
/// With `end` given (a later segment says where this one ended) every frame up to there must be whole. Without it this
/// is the newest segment, and a bad frame is where the last batch was torn, unless a later batch shows otherwise. A whole
/// frame of an unknown kind was never torn: only another program can have written it.
pub(crate) fn walk(
    path: &Path,
    bytes: &[u8],
    head: &SegmentHead,
    end: Option<u64>,
    mut visit: impl FnMut(u32, Frame<'_>) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut at = HEAD;
    while end.is_none_or(|end| at as u64 != end) {
        match frame::read(&bytes[at.min(bytes.len())..], head.mark) {
            Ok(frame) => {
                let next = at + HEADER + frame.bytes.len();
                misplaced(&frame, at, next, end)
                    .map_or(Ok(()), |problem| Err(Error::corrupt(path, at as u64, problem)))?;
                visit(at as u32, frame)?;
                at = next;
            }
            Err(bad) if end.is_some() || bad == BadFrame::Kind => {
                return Err(Error::corrupt(path, at as u64, bad.to_string()));
            }
            Err(bad) => return torn_or_corrupt(path, bytes, head.mark, at, bad).map(|()| at as u64),
        }
    }
    Ok(at as u64)
}

/// What is wrong with a whole frame at `at` for the place where it is.
fn misplaced(frame: &Frame<'_>, at: usize, next: usize, end: Option<u64>) -> Option<&'static str> {
    if frame.kind == FrameKind::Segment {
        Some("a segment has one head, at its beginning")
    } else if frame.batch as usize > at {
        Some("the frame's batch starts behind it")
    } else if u32::try_from(next).is_err() {
        Some("the frame reaches past 4 GiB")
    } else if end.is_some_and(|end| next as u64 > end) {
        Some("the frame reaches past the end of the segment, as its successor says it")
    } else {
        None
    }
}

/// A batch is written only after the one before it was synced. So if any batch starts behind the bad place, that place
/// was durable once and has been damaged since; if none does, the last batch was never acknowledged.
fn torn_or_corrupt(path: &Path, bytes: &[u8], mark: Mark, bad_at: usize, bad: BadFrame) -> Result<(), Error> {
    let bytes = without_zeros(bytes);
    for at in bad_at + 1..bytes.len().saturating_sub(HEADER) {
        let batch = u32::from_le_bytes([bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]]) as usize;
        let whole = || !matches!(frame::read(&bytes[at..], mark), Err(BadFrame::Length | BadFrame::Checksum));
        if batch > bad_at && batch <= at && whole() {
            let problem = format!("{bad}, and there is a later batch at byte {batch}");
            return Err(Error::corrupt(path, bad_at as u64, problem));
        }
    }
    Ok(())
}

/// The bytes without the zeros that a segment was allocated with, except for a block at the end.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    const BLOCK: usize = 4096;
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let used = bytes.chunks(BLOCK).rposition(|block| *block != ZEROS[..block.len()]);
    &bytes[..bytes.len().min(used.map_or(0, |last| (last + 2) * BLOCK))]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const MARK: Mark = Mark::from_bytes(*b"any mark");

    fn head() -> SegmentHead {
        SegmentHead { number: 1, previous: 0, previous_end: 0, first_index: 0, origin: [0; 32], mark: MARK }
    }

    /// A segment of three frames, and where the second and the third one start.
    fn segment() -> (Vec<u8>, usize, usize) {
        let mut bytes = head().to_frame();
        let second = bytes.len();
        frame::write(&mut bytes, MARK, second as u32, FrameKind::Intent, [&[1; 40], &[]]);
        let third = bytes.len();
        frame::write(&mut bytes, MARK, second as u32, FrameKind::Intent, [&[2; 40], &[]]);
        (bytes, second, third)
    }

    fn frames(bytes: &[u8], end: Option<u64>) -> Result<u64, String> {
        walk(Path::new("a.seg"), bytes, &head(), end, |_, _| Ok(())).map_err(|e| e.to_string())
    }

    /// Gives the frame at `at` the kind `kind` and the checks that fit it.
    fn retype(bytes: &mut [u8], at: usize, kind: u8) {
        bytes[at + 8] = kind;
        frame::mend_checks(&mut bytes[at..], MARK).unwrap();
    }

    #[test]
    fn a_head_comes_back_and_is_nothing_but_a_head() {
        let path = Path::new("a.seg");
        let bytes = head().to_frame();
        assert_eq!(bytes.len(), HEAD);
        assert_eq!(SegmentHead::read(path, &bytes).unwrap(), Some(head()));
        for contents in [&bytes[HEADER..HEAD - 1], &[&bytes[HEADER..], &[0]].concat()] {
            let mut other = Vec::new();
            frame::write(&mut other, Mark::HEAD, 0, FrameKind::Segment, [contents, &[]]);
            assert!(SegmentHead::read(path, &other).is_err(), "{} bytes", contents.len());
        }
        let mut of_a_batch = Vec::new();
        frame::write(&mut of_a_batch, Mark::HEAD, 1, FrameKind::Segment, [&bytes[HEADER..], &[]]);
        assert!(SegmentHead::read(path, &of_a_batch).is_err());
    }

    #[test]
    fn a_segment_ends_with_a_frame() {
        let (bytes, second, third) = segment();
        for end in [second, third, bytes.len()] {
            assert_eq!(frames(&bytes, Some(end as u64)), Ok(end as u64));
        }
        for end in [0, 1, second - 1, second + 1, third - 1, third + 1, bytes.len() + 1] {
            assert!(frames(&bytes, Some(end as u64)).is_err(), "{end}");
        }
        assert_eq!(frames(&bytes[..bytes.len() - 1], None), Ok(third as u64));
    }

    #[test]
    fn a_whole_frame_of_an_unknown_kind_is_no_torn_tail() {
        let (bytes, second, third) = segment();
        for at in [second, third] {
            let mut bytes = bytes.clone();
            retype(&mut bytes, at, 3);
            assert_eq!(frames(&bytes, None), Ok(bytes.len() as u64), "a leaf at {at}");
            retype(&mut bytes, at, 9);
            let refused = frames(&bytes, None).unwrap_err();
            assert!(refused.contains("of no known kind"), "{refused}");
        }
    }

    #[test]
    fn heads_stand_at_the_beginning_alone() {
        let (mut bytes, _, third) = segment();
        retype(&mut bytes, third, FrameKind::Segment as u8);
        assert!(frames(&bytes, None).is_err());
    }

    #[test]
    fn a_file_that_anything_was_written_to_behind_its_head_was_used() {
        let mut bytes = vec![0; 9000];
        bytes[..HEAD / 2].fill(1);
        assert!(is_unused(&bytes) && is_unused(&bytes[..20]) && is_unused(&[]));
        for at in [HEAD, 5000, 8999] {
            bytes[at] = 1;
            assert!(!is_unused(&bytes), "{at}");
            bytes[at] = 0;
        }
    }

    /// Each byte of this could be the first one of a frame of some MiB, and each such frame one of a later batch. To read
    /// them all takes many minutes.
    #[test]
    fn a_payload_that_is_full_of_lengths_is_looked_through_at_once() {
        let (mut bytes, second, _) = segment();
        bytes[second] ^= 1;
        bytes.resize(24 << 20, 1);
        let begun = Instant::now();
        assert_eq!(frames(&bytes, None), Ok(second as u64));
        assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    }
}
