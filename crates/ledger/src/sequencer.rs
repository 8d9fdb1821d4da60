//! The sequencer: one thread that owns the order. It takes what has arrived, assigns indexes, writes one batch of
//! frames, syncs once, and then answers everybody in the batch.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::Measures;
use crate::disk::{Disk, DiskFile};
use crate::frame::{self, FrameKind, HEADER, Mark};
use crate::identity::random;
use crate::pace::{self, Pace};
use crate::queue::{Commitments, Op, Queue, Receipt, Reply, Taken};
use crate::segment::{self, LEAF_HEAD, LeafHead, Place, SegmentHead};
use crate::tree::Tree;
use crate::wal::{Segment, Wal};
use crate::{Error, clock};

/// A batch stops growing here: it bounds the memory of its copy and the time of its sync.
const BATCH_MAX: usize = 16 << 20;
/// Records that may wait for the next attempt. Without intents no new calls begin, so these are the calls that were under
/// way, of which a gateway has at most some thousands.
const STALLED_MAX: usize = 16_384;
/// How far ahead of the log zeros are written: in batches, and in bytes at least and at most.
const AHEAD_BATCHES: u64 = 32;
const AHEAD_MIN: u64 = 256 << 10;
const AHEAD_MAX: u64 = 2 << 20;
/// Leaves that may wait to be hashed before the publisher does it; no answer waits for that.
const UNHASHED: usize = 1024;
/// Leaves that may wait at most, if the publisher is busy, say with a key that takes its time to sign.
const UNHASHED_MAX: usize = 64 << 10;
/// How long records that could not be written wait for the next attempt. The fault table has hundreds of such moments.
const RETRY: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 500 });

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct Active {
    pub number: u64,
    pub path: PathBuf,
    pub file: Arc<dyn DiskFile>,
    pub mark: Mark,
    pub end: u64,
    pub capacity: u64,
    /// Bytes that were written at some time, zeros ahead included.
    pub written: u64,
    /// A write or sync failed: nothing behind `end` counts, and nothing is written here any more.
    pub failed: bool,
}

/// What the sequencer and everybody else have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub segments: PathBuf,
    pub segment_size: u64,
    pub origin: [u8; 32],
    pub queue: Queue,
    pub wal: Arc<Wal>,
    pub tree: Arc<Tree>,
    /// The last batch was committed.
    pub healthy: AtomicBool,
    pub measures: Arc<Measures>,
}

/// The state of the sequencer's thread; nobody else has it.
#[derive(Debug)]
pub(crate) struct Sequencer {
    pub shared: Arc<Shared>,
    pub active: Active,
    /// Calls that have begun and have no leaf yet.
    pub open: HashMap<Uuid, Begun>,
    /// Records that could not be written. Their callers wait; the next segment takes them.
    pub stalled: Vec<Op>,
    pub buffer: Vec<u8>,
    /// Wakes the publisher, so that it hashes leaves.
    pub publisher: SyncSender<()>,
}

/// A call that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    place: Place,
    commitments: Commitments,
}

/// What a batch will have done once it is durable.
#[derive(Debug)]
enum Done {
    Intent { id: Uuid, place: Place, commitments: Commitments, reply: Reply<()> },
    Leaf { id: Uuid, place: Place, intent: Option<Place>, receipt: Receipt, reply: Reply<Receipt> },
}

impl Begun {
    pub(crate) const fn new(place: Place, commitments: Commitments) -> Self {
        Self { place, commitments }
    }
}

impl Sequencer {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let mut pace = Pace::new(Instant::now());
        let mut expected = 1;
        loop {
            let patience = (!self.stalled.is_empty()).then_some(RETRY);
            let taken = self.shared.queue.take(patience, expected, pace::GRACE);
            let closing = matches!(taken, Taken::Closed);
            let mut ops = std::mem::take(&mut self.stalled);
            if let Taken::Ops(new) = taken {
                pace.came(new.len(), Instant::now());
                ops.extend(new);
            }
            let answered = ops.len();
            self.rotate_as_asked();
            self.work(ops);
            expected = pace.expected(answered.max(self.open.len()));
            if closing {
                break;
            }
        }
        // What is still stalled was never acknowledged. Its intents are durable, so the next start closes the calls.
        self.stalled.into_iter().for_each(|op| refuse(op, &Error::Closed));
    }

    fn work(&mut self, ops: Vec<Op>) {
        let mut ops = ops.into_iter().peekable();
        while ops.peek().is_some() {
            let mut bytes = 0;
            let mut batch = Vec::new();
            while let Some(op) = ops.next_if(|op| batch.is_empty() || bytes + op.bytes().len() <= BATCH_MAX) {
                bytes += op.bytes().len();
                batch.push(op);
            }
            let batch = self.admit(batch);
            if batch.is_empty() {
                continue;
            }
            let committed = self.commit(batch);
            self.shared.healthy.store(committed.is_ok(), Ordering::Release);
            if let Err((batch, error)) = committed {
                self.shared.measures.failed();
                tracing::error!(%error, "the log cannot be written");
                self.stall(batch, &error);
            }
        }
    }

    /// Refuses the operations of a batch that do not fit the calls that are open.
    fn admit(&self, batch: Vec<Op>) -> Vec<Op> {
        let mut calls = HashMap::new();
        let objections: Vec<_> = batch.iter().map(|op| self.objection(op, &mut calls)).collect();
        let admitted = batch.into_iter().zip(objections).filter_map(|(op, objection)| match objection {
            None => Some(op),
            Some(error) => {
                refuse(op, &error);
                None
            }
        });
        admitted.collect()
    }

    /// Why an operation is refused: its call is open already, or its record leaves out what is in no open intent, so that
    /// it would be nowhere. `calls` is what the batch changes: calls that it begins, and `None` for those that it ends.
    fn objection<'a>(&'a self, op: &'a Op, calls: &mut HashMap<Uuid, Option<&'a Commitments>>) -> Option<Error> {
        let open = |id: &Uuid| match calls.get(id) {
            Some(changed) => *changed,
            None => self.open.get(id).map(|begun| &begun.commitments),
        };
        match op {
            Op::Intent { id, .. } if open(id).is_some() => return Some(Error::Begun(*id)),
            Op::Intent { id, commitments, .. } => drop(calls.insert(*id, Some(commitments))),
            Op::Leaf { prepared, .. } => {
                let intent = open(&prepared.id);
                if prepared.needs_intent && !intent.is_some_and(|intent| prepared.completes(intent)) {
                    return Some(Error::Unavailable("the beginning of the call is not on record".into()));
                }
                if intent.is_some() {
                    calls.insert(prepared.id, None);
                }
            }
        }
        None
    }

    /// Commits a batch; if the segment fails, once more in a new segment.
    fn commit(&mut self, batch: Vec<Op>) -> Result<(), (Vec<Op>, Error)> {
        match self.attempt(batch) {
            Err((batch, error)) if self.active.failed => {
                tracing::warn!(%error, segment = %self.active.path.display(), "a segment failed, trying a new one");
                self.attempt(batch)
            }
            other => other,
        }
    }

    fn attempt(&mut self, batch: Vec<Op>) -> Result<(), (Vec<Op>, Error)> {
        let need: usize = batch.iter().map(|op| HEADER + LEAF_HEAD + op.bytes().len()).sum();
        if (self.active.failed || self.active.end + need as u64 > self.active.capacity)
            && let Err(error) = self.rotate(need as u64)
        {
            // The head of the next segment may be on the disk. It says where this one ends, so nothing may be added here.
            self.active.failed = true;
            return Err((batch, error));
        }
        let committed_at = clock::now();
        let leaves = self.layout(&batch, committed_at);
        // A crash before the sync returns leaves a torn or whole batch that nobody was told of; recovery keeps the
        // frames up to the first bad one. A crash after it finds the whole batch.
        if let Err(error) = self.write() {
            self.active.failed = true;
            return Err((batch, error));
        }
        let done = self.advance(batch, committed_at, leaves);
        done.into_iter().for_each(Done::answer);
        Ok(())
    }

    /// Encodes the batch into the buffer. Gives the place of each operation and of the intent that it needs, if it does.
    fn layout(&mut self, batch: &[Op], committed_at: i64) -> Vec<(Place, Option<Place>)> {
        self.buffer.clear();
        let (start, mark) = (self.active.end, self.active.mark);
        let mut index = self.shared.wal.read().size();
        let mut begun = HashMap::new();
        let mut places = Vec::with_capacity(batch.len());
        for op in batch {
            let place = Place { segment: self.active.number, offset: (start + self.buffer.len() as u64) as u32 };
            let mut intent = None;
            match op {
                Op::Intent { id, bytes, .. } => {
                    begun.insert(*id, place);
                    frame::write(&mut self.buffer, mark, start as u32, FrameKind::Intent, [bytes, &[]]);
                }
                Op::Leaf { prepared, .. } => {
                    if prepared.needs_intent {
                        let before = || self.open.get(&prepared.id).map(|begun| begun.place);
                        intent = begun.get(&prepared.id).copied().or_else(before);
                    }
                    let head = LeafHead { index, committed_at, intent }.to_bytes();
                    frame::write(&mut self.buffer, mark, start as u32, FrameKind::Leaf, [&head, &prepared.bytes]);
                    index += 1;
                }
            }
            places.push((place, intent));
        }
        places
    }

    fn write(&mut self) -> Result<(), Error> {
        let Active { file, path, end, written, capacity, .. } = &mut self.active;
        let batch = self.buffer.len();
        let batch_end = *end + batch as u64;
        // A sync of blocks that were never written also writes the file system's journal, which takes as long again. So
        // zeros are written ahead now and then, and the batches after them only overwrite.
        if batch_end > *written {
            let ahead = (batch as u64 * AHEAD_BATCHES).clamp(AHEAD_MIN, AHEAD_MAX);
            *written = (batch_end + ahead).min((*capacity).max(batch_end));
            self.buffer.resize((*written - *end) as usize, 0);
        }
        let stored = file.write_at(*end, &self.buffer).map_err(|e| Error::io("write", path, &e));
        self.buffer.truncate(batch);
        stored?;
        let begun = Instant::now();
        file.sync().map_err(|e| Error::io("sync", path, &e))?;
        self.shared.measures.syncs.observe(begun.elapsed());
        *end = batch_end;
        Ok(())
    }

    /// The batch is durable: brings the tree, the places and the open calls up to it.
    fn advance(&mut self, batch: Vec<Op>, committed_at: i64, places: Vec<(Place, Option<Place>)>) -> Vec<Done> {
        let first = self.shared.wal.read().size();
        let (mut done, mut leaves) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for (op, (place, intent)) in batch.into_iter().zip(places) {
            done.push(match op {
                Op::Intent { id, commitments, reply, .. } => Done::Intent { id, place, commitments, reply },
                Op::Leaf { prepared, reply, .. } => {
                    let id = prepared.id;
                    let receipt = Receipt { index: first + leaves.len() as u64, committed_at };
                    leaves.push(prepared.into_leaf(committed_at));
                    Done::Leaf { id, place, intent, receipt, reply }
                }
            });
        }
        let unhashed = self.shared.tree.add(leaves);
        if unhashed > UNHASHED_MAX {
            drop(self.shared.tree.hashed());
        } else if unhashed > UNHASHED {
            // It is awake already if it is not told.
            _ = self.publisher.try_send(());
        }
        self.enter(&mut done);
        done
    }

    fn enter(&mut self, done: &mut [Done]) {
        let mut index = self.shared.wal.write();
        if let Some(segment) = index.segments.get_mut(&self.active.number) {
            segment.end = self.active.end;
        }
        for done in done {
            match done {
                Done::Intent { id, place, commitments, .. } => {
                    self.open.insert(*id, Begun { place: *place, commitments: std::mem::take(commitments) });
                    index.begun(*place);
                }
                Done::Leaf { id, place, intent, .. } => {
                    let ended = self.open.remove(id).map(|begun| begun.place);
                    index.committed(*id, *place, *intent, ended);
                }
            }
        }
    }

    /// Begins a new segment for those who want that what was written before can be removed.
    fn rotate_as_asked(&mut self) {
        for reply in self.shared.queue.take_rotate() {
            let rotated = self.rotate(0);
            // The head of the next segment may be on the disk.
            self.active.failed |= rotated.is_err();
            drop(reply.send(rotated));
        }
    }

    /// Goes on in a new segment with room for `need` bytes.
    fn rotate(&mut self, need: u64) -> Result<(), Error> {
        let head = SegmentHead {
            number: self.active.number + 1,
            previous: self.active.number,
            previous_end: self.active.end,
            first_index: self.shared.wal.read().size(),
            origin: self.shared.origin,
            mark: self.shared.new_mark()?,
        };
        let next = self.shared.create_segment(head, need)?;
        let full = std::mem::replace(&mut self.active, next);
        self.shared.free_tail(full.number);
        Ok(())
    }

    /// Intents are refused, so that no model is called without its record, and what others send. The other records wait
    /// for the next attempt.
    fn stall(&mut self, batch: Vec<Op>, error: &Error) {
        for op in batch {
            match op {
                Op::Leaf { waits: true, .. } if self.stalled.len() < STALLED_MAX => self.stalled.push(op),
                _ => refuse(op, &Error::Unavailable(error.to_string())),
            }
        }
    }
}

impl Shared {
    /// Gives back the space behind the last frame that counts of a segment that is not written any more. Only now: its
    /// successor says where it ends. That it happens is not important.
    pub(crate) fn free_tail(&self, number: u64) {
        let segment = self.wal.read().segments.get(&number).cloned();
        if let Some(segment) = segment
            && let Err(error) = segment.file.set_len(segment.end)
        {
            tracing::warn!(%error, segment = %segment.path.display(), "space of a full segment is not given back");
        }
    }

    /// The mark of a segment that is to be created.
    pub(crate) fn new_mark(&self) -> Result<Mark, Error> {
        random(&*self.disk).map(Mark::from_bytes)
    }

    /// Creates a segment and makes its head durable. A file that an earlier attempt left behind is stepped over.
    pub(crate) fn create_segment(&self, mut head: SegmentHead, need: u64) -> Result<Active, Error> {
        loop {
            let path = self.segments.join(segment::name(head.number));
            let frame = head.to_frame();
            let capacity = self.segment_size.max(frame.len() as u64 + need);
            let file: Arc<dyn DiskFile> = match self.disk.create(&path, capacity) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    head.number += 1;
                    continue;
                }
                created => created.map_err(|e| Error::io("create", &path, &e))?.into(),
            };
            if let Err(e) = file.write_at(0, &frame).and_then(|()| file.sync()) {
                // Best effort, so that attempts on a bad disk do not fill it. A head that is there after all is stepped
                // over, like every file that a failed attempt left behind.
                drop(self.disk.remove(&path));
                return Err(Error::io("write", &path, &e));
            }
            let end = frame.len() as u64;
            let SegmentHead { number, first_index, mark, .. } = head;
            let segment =
                Segment { path: path.clone(), file: Arc::clone(&file), mark, end, needed: first_index, open: 0 };
            self.wal.write().segments.insert(number, segment);
            return Ok(Active { number, path, file, mark, end, capacity, written: end, failed: false });
        }
    }
}

impl Done {
    /// Whoever does not wait any more does not need the answer.
    fn answer(self) {
        match self {
            Self::Intent { reply, .. } => drop(reply.send(Ok(()))),
            Self::Leaf { receipt, reply, .. } => drop(reply.send(Ok(receipt))),
        }
    }
}

fn refuse(op: Op, error: &Error) {
    match op {
        Op::Intent { reply, .. } => drop(reply.send(Err(error.clone()))),
        Op::Leaf { reply, .. } => drop(reply.send(Err(error.clone()))),
    }
}
