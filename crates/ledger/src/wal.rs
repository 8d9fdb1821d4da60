//! The segments that are on disk, where each committed record is in them, and its id.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use onrecord_proof::Record;
use uuid::Uuid;

use crate::Error;
use crate::committed::Committed;
use crate::disk::DiskFile;
use crate::frame::{self, Frame, FrameKind, HEADER, Mark};
use crate::needles::Needles;
use crate::segment::{LeafHead, Place};

/// A segment on disk.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub mark: Mark,
    /// Bytes that count.
    pub end: u64,
    /// The segment is needed until the lake has every leaf below this index.
    pub needed: u64,
    /// Calls that were begun in this segment and have no leaf yet.
    pub open: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub segments: BTreeMap<u64, Segment>,
    /// The leaf index of the first place.
    pub first: u64,
    /// Where each leaf from `first` on is.
    pub places: VecDeque<Place>,
    /// The id of the record of each.
    pub ids: VecDeque<Uuid>,
}

/// Everything that is in segments. Written by the sequencer, read by followers.
#[derive(Debug, Default)]
pub(crate) struct Wal(RwLock<Index>);

impl Index {
    pub(crate) fn size(&self) -> u64 {
        self.first + self.places.len() as u64
    }

    /// The number of the segment that is written to.
    pub(crate) fn newest(&self) -> u64 {
        self.segments.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// The oldest segment that is here.
    pub(crate) fn oldest(&self) -> u64 {
        self.segments.first_key_value().map_or(0, |(number, _)| *number)
    }

    /// True if leaves below `below`, or intents of them, may be in the segment that is written to.
    pub(crate) fn newest_holds(&self, below: u64) -> bool {
        let first = self.places.iter().rev().take_while(|place| place.segment == self.newest()).count() as u64;
        self.first < below && self.size() - first < below
    }

    /// Bytes from leaf `from` on.
    pub(crate) fn bytes_from(&self, from: u64) -> u64 {
        let place = from.checked_sub(self.first).and_then(|at| self.places.get(at as usize));
        let Some(Place { segment, offset }) = place else { return 0 };
        let ends = self.segments.range(segment..).map(|(_, segment)| segment.end);
        ends.sum::<u64>().saturating_sub(u64::from(*offset))
    }

    /// The leaf of record `id` was committed at `place`. It needs the groups of `intent`, and ended the call that was begun
    /// at `ended`.
    pub(crate) fn committed(&mut self, id: Uuid, place: Place, intent: Option<Place>, ended: Option<Place>) {
        self.places.push_back(place);
        self.ids.push_back(id);
        let needed = self.size();
        for place in [Some(place), intent].into_iter().flatten() {
            if let Some(segment) = self.segments.get_mut(&place.segment) {
                segment.needed = needed;
            }
        }
        if let Some(ended) = ended {
            self.ended(ended);
        }
    }

    /// The leaves up to `index` cannot be read.
    pub(crate) fn skip_to(&mut self, index: u64) {
        let nowhere = Place { segment: 0, offset: 0 };
        let leaves = index.saturating_sub(self.first) as usize;
        self.places.resize(leaves, nowhere);
        self.ids.resize(leaves, Uuid::nil());
    }

    /// A call was begun at `place`.
    pub(crate) fn begun(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.open += 1;
        }
    }

    /// The call that was begun at `place` is not open any more.
    pub(crate) fn ended(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.open = segment.open.saturating_sub(1);
        }
    }

    /// Where leaves `from..until` are among the places, as far as they are here, at least the first.
    fn at(&self, from: u64, until: u64) -> Result<Range<usize>, Error> {
        let first = from.checked_sub(self.first).ok_or(Error::NotHere(from))? as usize;
        let last = (until.saturating_sub(self.first) as usize).min(self.places.len());
        if first < last { Ok(first..last) } else { Err(Error::NotHere(from)) }
    }

    /// Lets go of the segments, oldest first, that hold nothing that is still needed once all leaves below `below` are
    /// stored elsewhere, and gives the number of the oldest that is left. The newest one stays: it is written to.
    pub(crate) fn release(&mut self, below: u64) -> u64 {
        while self.segments.len() > 1
            && let Some(oldest) = self.segments.first_entry()
            && oldest.get().needed <= below
            && oldest.get().open == 0
        {
            let (number, _) = oldest.remove_entry();
            while self.places.front().is_some_and(|place| place.segment == number) {
                self.places.pop_front();
                self.ids.pop_front();
                self.first += 1;
            }
        }
        self.oldest()
    }
}

impl Wal {
    pub(crate) fn new(index: Index) -> Self {
        Self(RwLock::new(index))
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of records `from..until` that hold the needles, in order, as many as hold about `max_bytes`, at least one if
    /// they are not too many to look at in one go; and the leaf after the last one that was looked at. Of what cannot be read
    /// the error comes once it is the first.
    pub(crate) fn records(
        &self,
        from: u64,
        until: u64,
        max_bytes: usize,
        needles: &Needles,
    ) -> Result<(Vec<Committed>, u64), Error> {
        let (mut records, mut bytes, mut looked_at, mut next) = (Vec::new(), 0, 0, from);
        while next < until && bytes < max_bytes.max(1) && looked_at < max_bytes.saturating_mul(LOOK).max(1) {
            let mut view = match self.view(next, until.min(next + VIEW)) {
                Err(_) if next > from => break,
                view => view?,
            };
            for place in std::mem::take(&mut view.places) {
                let (record, read) = match view.record(place, next, needles) {
                    Err(_) if next > from => return Ok((records, next)),
                    record => record?,
                };
                next += 1;
                looked_at += read;
                if let Some(record) = record {
                    records.push(record);
                    bytes += read;
                }
                if bytes >= max_bytes {
                    break;
                }
            }
        }
        Ok((records, next))
    }

    /// Those of the records with these ids that are leaves `from..until`, in order.
    pub(crate) fn leaves_of_ids(&self, ids: &HashSet<Uuid>, from: u64, until: u64) -> Result<Vec<(u64, Uuid)>, Error> {
        let (mut found, mut next) = (Vec::new(), from);
        while next < until {
            let some: Vec<_> = {
                let index = self.read();
                index.ids.range(index.at(next, until.min(next + VIEW))?).copied().collect()
            };
            let after = next + some.len() as u64;
            found.extend((next..).zip(some).filter(|(_, id)| ids.contains(id)));
            next = after;
        }
        Ok(found)
    }

    /// What was known of a call when it began.
    pub(crate) fn intent(&self, place: Place) -> Result<Record, Error> {
        let segments = self.read().segments.clone();
        View { places: Vec::new(), segments, blocks: VecDeque::new(), is_run: false }.intent(place)
    }

    /// Copies what is needed to read leaves `from..until`, as far as they are here, at least the first.
    fn view(&self, from: u64, until: u64) -> Result<View, Error> {
        let index = self.read();
        let leaves = index.at(from, until)?;
        let places: Vec<_> = index.places.range(leaves).copied().collect();
        let is_run = places.len() > 1;
        Ok(View { places, segments: index.segments.clone(), blocks: VecDeque::new(), is_run })
    }
}

/// Records are looked at for needles up to so many times the bytes that are asked for; then somebody looks whether they are
/// still wanted.
const LOOK: usize = 4;
/// Places that are copied at once: some hundred records fit in what a reader takes at a time.
const VIEW: u64 = 1024;

/// What is read of a segment at once, in bytes: neighbours are asked for next. Frames that do not fit are read alone.
const BLOCK: u64 = if cfg!(test) { 1 << 10 } else { 256 << 10 };
/// Blocks that are kept: leaves come in order, and so do their intents, more or less.
const BLOCKS: usize = 4;

/// A part of the index as it was. Whoever reads by it holds no lock: a reader of low priority can be stopped anywhere, and
/// the sequencer must not wait for it.
struct View {
    places: Vec<Place>,
    segments: BTreeMap<u64, Segment>,
    /// What was read, up to where the segments ended when the view was made.
    blocks: VecDeque<Block>,
    /// Neighbours are read too. A single record is not worth blocks.
    is_run: bool,
}

struct Block {
    segment: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl View {
    /// One record, if it holds the needles, and the bytes that it takes.
    fn record(&mut self, place: Place, index: u64, needles: &Needles) -> Result<(Option<Committed>, usize), Error> {
        let frame = self.frame(place, FrameKind::Leaf).map_err(|e| not_here(e, index))?.into_owned();
        let split = LeafHead::split(contents(&frame));
        let (head, bytes) = split.ok_or_else(|| self.corrupt(place, "the leaf is too short"))?;
        if head.index != index {
            return Err(self.corrupt(place, format!("leaf {} where leaf {index} belongs", head.index)));
        }
        let begun = head.intent.map(|intent| self.frame(intent, FrameKind::Intent).map(Cow::into_owned)).transpose();
        let begun = begun.map_err(|e| not_here(e, index))?;
        if !needles.are_in(&[Some(bytes), begun.as_deref()].into_iter().flatten()) {
            return Ok((None, frame.len()));
        }
        let mut record = self.decode(bytes, place)?;
        if let (Some(frame), Some(intent)) = (begun, head.intent) {
            let begun = self.decode(contents(&frame), intent)?;
            record = begun.completed_by(record).map_err(|e| self.corrupt(place, e.to_string()))?;
        }
        Ok((Some(Committed { index, committed_at: head.committed_at, record }), frame.len()))
    }

    fn intent(&mut self, place: Place) -> Result<Record, Error> {
        let frame = self.frame(place, FrameKind::Intent)?.into_owned();
        self.decode(contents(&frame), place)
    }

    /// The record that the frame at `place` holds.
    fn decode(&self, bytes: &[u8], place: Place) -> Result<Record, Error> {
        Record::from_bytes(bytes).map_err(|e| self.corrupt(place, e.to_string()))
    }

    fn corrupt(&self, place: Place, problem: impl Into<String>) -> Error {
        let path = self.segments.get(&place.segment).map(|segment| segment.path.as_path());
        Error::corrupt(path.unwrap_or(Path::new("")), place.offset.into(), problem)
    }

    /// The bytes of a frame, as [`frame_at`] gives them.
    fn frame(&mut self, place: Place, kind: FrameKind) -> Result<Cow<'_, [u8]>, Error> {
        let Self { segments, blocks, is_run, .. } = self;
        let segment = segments.get(&place.segment).ok_or(Error::NotHere(0))?;
        if !*is_run {
            return frame_at(segment, place, kind).map(Cow::Owned);
        }
        let offset = u64::from(place.offset);
        let start = offset - offset % BLOCK;
        let is_it = |block: &Block| (block.segment, block.start) == (place.segment, start);
        let at = blocks.iter().position(is_it).unwrap_or_else(|| {
            if blocks.len() == BLOCKS {
                blocks.pop_front();
            }
            blocks.push_back(Block::read(place.segment, segment, start));
            blocks.len() - 1
        });
        let rest = blocks[at].bytes.get((offset - start) as usize..).unwrap_or_default();
        match frame::read(rest, segment.mark) {
            Ok(Frame { kind: found, bytes, .. }) if found == kind => Ok(Cow::Borrowed(&rest[..HEADER + bytes.len()])),
            // It goes on behind the block, or is damaged.
            _ => frame_at(segment, place, kind).map(Cow::Owned),
        }
    }
}

impl Block {
    /// Where the disk has a bad place there is nothing in it; the frames beside that place can be read alone.
    fn read(number: u64, segment: &Segment, start: u64) -> Self {
        let mut bytes = vec![0; BLOCK.min(segment.end.saturating_sub(start)) as usize];
        let read = segment.file.read_at(start, &mut bytes).unwrap_or_default();
        bytes.truncate(read);
        Self { segment: number, start, bytes }
    }
}

/// The bytes of a frame, header included, after its checks and its kind were looked at.
pub(crate) fn frame_at(segment: &Segment, place: Place, kind: FrameKind) -> Result<Vec<u8>, Error> {
    let bytes = read_frame(segment, place.offset.into())?;
    match frame::read(&bytes, segment.mark) {
        Ok(Frame { kind: found, .. }) if found == kind => Ok(bytes),
        Ok(_) => Err(Error::corrupt(&segment.path, place.offset.into(), "the frame is of another kind")),
        Err(bad) => Err(Error::corrupt(&segment.path, place.offset.into(), bad.to_string())),
    }
}

/// The contents of a frame that [`frame_at`] gave.
pub(crate) fn contents(frame: &[u8]) -> &[u8] {
    &frame[HEADER..]
}

fn not_here(error: Error, index: u64) -> Error {
    if matches!(error, Error::NotHere(_)) { Error::NotHere(index) } else { error }
}

/// Most frames are smaller than this, so that one read gets header and contents.
const FIRST_READ: usize = 4096;

fn read_frame(segment: &Segment, offset: u64) -> Result<Vec<u8>, Error> {
    let Segment { path, file, mark, .. } = segment;
    let io = |e: std::io::Error| Error::io("read", path, &e);
    let mut bytes = vec![0; FIRST_READ];
    let read = file.read_at(offset, &mut bytes).map_err(io)?;
    let head = bytes[..read].first_chunk::<HEADER>();
    let head = head.ok_or_else(|| Error::corrupt(path, offset, "the file ends inside a frame"))?;
    let length = frame::content_length(head, *mark).map_err(|bad| Error::corrupt(path, offset, bad.to_string()))?;
    let len = HEADER + length;
    if len <= read {
        bytes.truncate(len);
        return Ok(bytes);
    }
    // Before room is made for it: a file that was cut has less.
    if offset + len as u64 > file.len().map_err(io)? {
        return Err(Error::corrupt(path, offset, "the frame's length does not fit the file"));
    }
    bytes.resize(len, 0);
    file.read_at(offset + read as u64, &mut bytes[read..]).map_err(io)?;
    Ok(bytes)
}
