//! What a log reads back from its disk, and what it takes from a witness.

use onrecord_ledger::fuzzing;
use onrecord_ledger::witness::AddCheckpoint;

/// The frames of a segment, with the checks that they have and with right ones.
pub(crate) fn segment(bytes: &[u8]) {
    frames(bytes);
    let mut mended = bytes.to_vec();
    fuzzing::mend_checks(&mut mended);
    frames(&mended);
}

/// What counts of a segment is written back as it came, and counts again if it is all there is.
fn frames(bytes: &[u8]) {
    let Ok(read) = fuzzing::segment(bytes, None) else { return };
    let end = read.len();
    assert_eq!(read, bytes[..end], "frames come back");
    if end == 0 {
        return;
    }
    let whole = fuzzing::segment(&bytes[..end], Some(end as u64)).expect("what counts is whole");
    assert_eq!(whole.len(), end);
    // Not so if a frame holds one that has the mark of its segment, which only a fuzzer's does: the segment is refused as damaged.
    if let Ok(torn) = fuzzing::segment(&bytes[..end - 1], None) {
        assert!(torn.len() < end);
    }
}

pub(crate) fn add_checkpoint(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(request) = text.parse::<AddCheckpoint>() {
        assert_eq!(request.to_string(), text);
    }
}
