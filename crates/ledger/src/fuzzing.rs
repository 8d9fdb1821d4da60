//! The parsers of what is on disk, given bytes: for `crates/fuzzing` alone.

use std::path::Path;

use onrecord_proof::Record;

use crate::Error;
use crate::frame::{self, FrameKind, Mark};
use crate::segment::{LeafHead, SegmentHead, walk};

/// Reads a segment as recovery does, up to `end` or as far as it goes, and writes its frames again.
pub fn segment(bytes: &[u8], end: Option<u64>) -> Result<Vec<u8>, Error> {
    let path = Path::new("a.seg");
    let Some(head) = SegmentHead::read(path, bytes)? else { return Ok(Vec::new()) };
    let mut out = head.to_frame();
    walk(path, bytes, &head, end, |_, frame| {
        if frame.kind == FrameKind::Leaf
            && let Some((head, record)) = LeafHead::split(frame.bytes)
        {
            assert_eq!(LeafHead::split(&head.to_bytes()).map(|(head, _)| head), Some(head), "a head comes back");
            let _ = Record::from_bytes(record);
        }
        frame::write(&mut out, head.mark, frame.batch, frame.kind, [frame.bytes, &[]]);
        Ok(())
    })?;
    Ok(out)
}

/// Gives every frame the checks that fit it, since no fuzzer guesses them.
pub fn mend_checks(bytes: &mut [u8]) {
    let Some(len) = frame::mend_checks(bytes, Mark::HEAD) else { return };
    let (head, mut frames) = bytes.split_at_mut(len);
    let mark = SegmentHead::read(Path::new("a.seg"), head).ok().flatten().map_or(Mark::HEAD, |head| head.mark);
    while let Some(len) = frame::mend_checks(frames, mark) {
        frames = &mut frames[len..];
    }
}
