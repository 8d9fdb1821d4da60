//! The parsers of what is on disk, given bytes: for `crates/fuzzing` alone.

use std::path::Path;

use onrecord_proof::Record;

use crate::Error;
use crate::frame::{self, FrameKind};
use crate::segment::{LeafHead, SegmentHead, walk};

/// Reads a segment as recovery does, up to `end` or as far as it goes, and writes its frames again.
pub fn segment(bytes: &[u8], end: Option<u64>) -> Result<Vec<u8>, Error> {
    let path = Path::new("a.seg");
    SegmentHead::read(path, bytes)?;
    let mut out = Vec::new();
    walk(path, bytes, end, |_, frame| {
        if frame.kind == FrameKind::Leaf
            && let Some((head, record)) = LeafHead::split(frame.bytes)
        {
            assert_eq!(LeafHead::split(&head.to_bytes()).map(|(head, _)| head), Some(head), "a head comes back");
            let _ = Record::from_bytes(record);
        }
        frame::write(&mut out, frame.batch, frame.kind, [frame.bytes, &[]]);
        Ok(())
    })?;
    Ok(out)
}

/// Gives every frame the checksum that fits it, since no fuzzer guesses one.
pub fn mend_checksums(mut bytes: &mut [u8]) {
    while let Some(len) = frame::mend_checksum(bytes) {
        bytes = &mut bytes[len..];
    }
}
