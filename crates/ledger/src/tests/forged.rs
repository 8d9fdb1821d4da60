//! Frames in a payload: in a batch that a crash tore they must not pass for a later batch, whoever made them.

use std::path::{Path, PathBuf};

use onrecord_proof::field;

use super::Harness;
use crate::disk::Disk;
use crate::frame::{self, FrameKind, HEADER, Mark};
use crate::segment::{HEAD, SegmentHead, walk};
use crate::{Error, Ledger};

/// Room for frames in the payload, filled with this byte until they are known.
const ROOM: usize = 1500;
const FILLER: u8 = 0xaa;

/// A log that was gone in the middle of a batch: the payload was written, and the header of its frame was not.
struct Torn {
    harness: Harness,
    /// The newest segment and its bytes.
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where the payload is.
    room: usize,
}

impl Torn {
    /// `seed` is what the disk's random bytes come from.
    fn new(seed: u64) -> Self {
        let mut harness = Harness::new();
        harness.disk.seed(seed);
        let ledger = harness.open().unwrap();
        (0..6).for_each(|_| harness.call(&ledger).unwrap());
        ledger.close().unwrap();
        let ledger = harness.open().unwrap();
        (0..2).for_each(|_| harness.call(&ledger).unwrap());
        let acknowledged = harness.disk.snapshot();
        let mut record = harness.record();
        record.set(&field::INPUT_BODY, vec![FILLER; ROOM]);
        ledger.begin(&mut record).unwrap().wait().unwrap();
        let path = segments(&harness).pop().unwrap();
        let mut bytes = harness.disk.read(&path).unwrap();
        let before = acknowledged.read(&path).unwrap();
        let batch = bytes.iter().zip(before).position(|(now, before)| *now != before).unwrap();
        bytes[batch..batch + HEADER].fill(0);
        let room = bytes.windows(ROOM).position(|bytes| *bytes == [FILLER; ROOM]).unwrap();
        harness.disk = acknowledged;
        Self { harness, path, bytes, room }
    }

    /// What the next start finds if `forged` is in the payload at `at`.
    fn start(&self, at: usize, forged: &[u8]) -> (Harness, Result<Ledger, Error>) {
        let mut bytes = self.bytes.clone();
        bytes[at..at + forged.len()].copy_from_slice(forged);
        let harness = Harness { disk: self.harness.disk.snapshot(), ..self.harness.clone() };
        harness.disk.replace(&self.path, &bytes, 0o600).unwrap();
        let opened = harness.open();
        (harness, opened)
    }

    fn loses_nothing(&self, at: usize, forged: &[u8]) {
        let (mut harness, opened) = self.start(at, forged);
        let ledger = opened.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(harness.acknowledged.len(), 8);
        harness.check(&ledger);
        harness.call(&ledger).unwrap();
        harness.check(&ledger);
    }
}

fn segments(harness: &Harness) -> Vec<PathBuf> {
    let dir = harness.path("segments");
    harness.disk.list(&dir).unwrap().into_iter().map(|name| dir.join(name)).collect()
}

fn head(path: &Path, bytes: &[u8]) -> SegmentHead {
    SegmentHead::read(path, bytes).unwrap().unwrap()
}

/// A whole frame at `at` of a batch that begins with it.
fn frame_of(mark: Mark, at: usize) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, mark, at as u32, FrameKind::Intent, [&[7; 60], &[]]);
    out
}

#[test]
fn a_frame_that_was_made_without_the_mark_costs_nothing() {
    for seed in 0..20 {
        let torn = Torn::new(seed);
        let at = torn.room + 500;
        let earlier = segments(&torn.harness).remove(0);
        let earlier = head(&earlier, &torn.harness.disk.read(&earlier).unwrap()).mark;
        for mark in [earlier, Mark::HEAD, Mark::from_bytes([0; 8])] {
            torn.loses_nothing(at, &frame_of(mark, at));
        }
        let (_, refused) = torn.start(at, &frame_of(head(&torn.path, &torn.bytes).mark, at));
        let refused = refused.map(drop).unwrap_err().to_string();
        assert!(refused.contains(&format!("there is a later batch at byte {at}")), "so it would be: {refused}");
    }
}

#[test]
fn a_frame_that_was_copied_from_an_earlier_segment_costs_nothing() {
    let torn = Torn::new(7);
    let earlier = segments(&torn.harness).remove(0);
    let bytes = torn.harness.disk.read(&earlier).unwrap();
    let mut copied = 0;
    walk(&earlier, &bytes, &head(&earlier, &bytes), None, |offset, frame| {
        // Where it is as far behind its batch as it was.
        let at = offset as usize;
        if at > torn.room && at + HEADER + frame.bytes.len() < torn.room + ROOM {
            torn.loses_nothing(at, &bytes[at..at + HEADER + frame.bytes.len()]);
            copied += 1;
        }
        Ok(())
    })
    .unwrap();
    assert!(copied > 0, "the earlier segment has frames where the payload is");
}

/// All of an earlier segment, head and frames, where it would begin anew.
#[test]
fn a_segment_in_a_payload_costs_nothing() {
    let torn = Torn::new(7);
    let earlier = segments(&torn.harness).remove(0);
    let bytes = torn.harness.disk.read(&earlier).unwrap();
    let len = bytes.len().min(ROOM);
    assert!(len > HEAD);
    torn.loses_nothing(torn.room, &bytes[..len]);
}

#[test]
fn every_segment_has_a_mark_of_its_own() {
    let marks = |seed| {
        let harness = Torn::new(seed).harness;
        let read = |path: &PathBuf| head(path, &harness.disk.read(path).unwrap()).mark.to_bytes();
        segments(&harness).iter().map(read).collect::<Vec<_>>()
    };
    let (some, others) = (marks(1), marks(2));
    assert_eq!(some, marks(1), "a case can be run again");
    let mut all = [some, others].concat();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert!(count > 3 && all.len() == count, "{all:?}");
}
