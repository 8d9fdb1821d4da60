//! The log, open for writing.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use onrecord_proof::note::Verifier;
use onrecord_proof::{KeyHistory, Record, field};

use crate::disk::{Disk, RealDisk};
use crate::found::Found;
use crate::keys::Holder;
use crate::lock::{Lock, lock};
use crate::pending::Pending;
use crate::publisher::Publisher;
use crate::queue::{Op, Queue, Receipt};
use crate::reader::Reader;
use crate::recovery::Recovered;
use crate::segment::{SegmentHead, origin_hash};
use crate::sequencer::{Begun, Sequencer, Shared};
use crate::{Error, Measures};

/// Offsets in a segment and lengths of frames have 32 bits. A segment is as large as the options say, or as the batch
/// that it was made for: one record, or several of some MiB together. With these limits both stay far below 4 GiB.
pub(crate) const SEGMENT_MAX: u64 = 2 << 30;
const RECORD_MAX: u64 = 1 << 30;

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of the log. One is made up for a new log if it is left out; it must match a log that is there.
    pub origin: Option<String>,
    /// Who signs, if the secret key is not in the folder.
    pub key: Option<Arc<dyn Holder>>,
    /// Size of a segment in bytes, at most 2 GiB; a record that is larger gets a segment of its own.
    pub segment_size: u64,
    /// How often a checkpoint is signed when the log has grown.
    pub checkpoint_interval: Duration,
    /// Bytes that may wait for the sequencer before new calls are refused.
    pub max_queued_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origin: None,
            key: None,
            segment_size: 64 << 20,
            checkpoint_interval: Duration::from_secs(1),
            max_queued_bytes: 256 << 20,
        }
    }
}

/// The log, open for writing. One process at a time can have it open.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    publisher: Arc<Publisher>,
    threads: Mutex<Option<Threads>>,
    interrupted: usize,
    _lock: Option<Lock>,
}

#[derive(Debug)]
struct Threads {
    sequencer: JoinHandle<()>,
    publisher: JoinHandle<()>,
    /// The publisher ends when neither this nor the sequencer's is left.
    wake: SyncSender<()>,
}

impl Ledger {
    /// Opens the log in `dir`, creating it if there is none. Calls that had begun when it was last written and did not
    /// end are closed as `interrupted`.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        Self::find(dir, options)?.start()
    }

    /// Reads the log in `dir`, creating it if there is none, without writing to it yet.
    pub fn find(dir: &Path, options: &Options) -> Result<Found, Error> {
        let lock = lock(dir)?;
        Found::read(Arc::new(RealDisk), dir, options, Some(lock))
    }

    /// Opens a log on a disk of the caller's. Nothing keeps others from opening it too.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: &Options) -> Result<Self, Error> {
        Found::read(disk, dir, options, None)?.start()
    }

    pub(crate) fn start(found: Found) -> Result<Self, Error> {
        let Found { recovered, disk, dir, options, lock } = found;
        let Recovered { keys, published, checkpoints, cosigned, tree, wal, last, highest, open } = recovered;
        let (tree, wal) = (Arc::new(tree), Arc::new(wal));
        let shared = Arc::new(Shared {
            disk: Arc::clone(&disk),
            segments: dir.join("segments"),
            segment_size: options.segment_size,
            origin: origin_hash(keys.history.name()),
            queue: Queue::new(options.max_queued_bytes),
            wal: Arc::clone(&wal),
            tree: Arc::clone(&tree),
            healthy: AtomicBool::new(true),
            measures: Arc::default(),
        });
        let measures = Arc::clone(&shared.measures);
        // A segment is never written again after a restart: what a torn batch left in it then needs no erasing.
        let head = SegmentHead {
            number: highest + 1,
            previous: last.0,
            previous_end: last.1,
            first_index: wal.read().size(),
            origin: shared.origin,
            mark: shared.new_mark()?,
        };
        let active = shared.create_segment(head, 0)?;
        shared.free_tail(last.0);
        let publisher = Arc::new(Publisher {
            turn: Mutex::default(),
            keys: RwLock::new(keys),
            disk,
            segments: shared.segments.clone(),
            kept: RwLock::default(),
            tree,
            wal,
            checkpoints,
            cosigned,
            last: RwLock::new(published),
            released: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            measures,
        });
        let (wake, woken) = sync_channel(1);
        let sequencer = Sequencer {
            shared: Arc::clone(&shared),
            active,
            open: open.iter().map(|(place, record)| (record.id, Begun::new(*place, record.commitments()))).collect(),
            stalled: Vec::new(),
            buffer: Vec::new(),
            publisher: wake.clone(),
        };
        let threads = Threads::start(sequencer, &publisher, (wake, woken), options.checkpoint_interval)?;
        let ledger =
            Self { shared, publisher, threads: Mutex::new(Some(threads)), interrupted: open.len(), _lock: lock };
        ledger.close_interrupted(open.into_iter().map(|(_, record)| record))?;
        Ok(ledger)
    }

    /// Closes the calls that had no end, by the same way as every other record.
    fn close_interrupted(&self, records: impl Iterator<Item = Record>) -> Result<(), Error> {
        let mut waiting = Vec::new();
        for mut record in records {
            record.to_intent()?;
            record.set(&field::OUTCOME, "interrupted");
            record.set(&field::ERROR_TYPE, "interrupted");
            record.set(&field::ERROR_STAGE, "gateway");
            record.set(&field::ERROR_MESSAGE, "the recorder stopped before the call ended");
            waiting.push(self.append(&record)?);
        }
        waiting.into_iter().try_for_each(|pending| pending.wait().map(|_| ()))
    }

    /// Makes the beginning of a call durable. Afterwards [`append`](Self::append) writes only the groups of `record`
    /// that change. Refused when too much is waiting, and for an id whose call is under way.
    pub fn begin(&self, record: &mut Record) -> Result<Pending<()>, Error> {
        let (reply, answer) = oneshot::async_channel();
        let (id, bytes) = (record.id, record.to_intent()?);
        fits(&bytes)?;
        self.shared.queue.begin(Op::Intent { id, bytes, commitments: record.commitments(), reply })?;
        Ok(Pending(answer))
    }

    /// Commits a record: with the answer it is durable and has its leaf index. This ends the call of its id, if one was
    /// begun.
    pub fn append(&self, record: &Record) -> Result<Pending<Receipt>, Error> {
        let (reply, answer) = oneshot::async_channel();
        let prepared = record.prepare()?;
        fits(&prepared.bytes)?;
        self.shared.queue.complete(Op::Leaf { prepared, waits: true, reply })?;
        self.shared.measures.took(record.kind);
        Ok(Pending(answer))
    }

    /// Commits a record that was not begun and comes from outside: refused when too much is waiting, and when the log
    /// cannot be written, so that what others send does not take the place of calls under way. Whoever sent it has it still.
    pub fn add(&self, record: &Record) -> Result<Pending<Receipt>, Error> {
        let (reply, answer) = oneshot::async_channel();
        let prepared = record.prepare()?;
        fits(&prepared.bytes)?;
        self.shared.queue.begin(Op::Leaf { prepared, waits: false, reply })?;
        self.shared.measures.took(record.kind);
        Ok(Pending(answer))
    }

    /// How many calls of an earlier run were closed as `interrupted` when the log was opened.
    pub const fn interrupted(&self) -> usize {
        self.interrupted
    }

    /// False while the log cannot be written, e.g. because the disk is full. It tries again with every batch.
    pub fn is_healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Acquire)
    }

    /// What the log has counted of its own work.
    pub fn measures(&self) -> &Measures {
        &self.shared.measures
    }

    /// How many operations wait to be written, and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        self.shared.queue.waiting()
    }

    /// Removes the segments that hold leaves below `below`, or the beginnings of their calls, and begins a new one if the
    /// segment that is written to is one of them. True if none is left. False while not all of these leaves were
    /// [released](Reader::release), or a call that began in one of the segments is under way. Blocks on the disk.
    pub fn forget(&self, below: u64) -> Result<bool, Error> {
        if self.shared.wal.read().newest_holds(below) {
            let (reply, answer) = oneshot::async_channel();
            self.shared.queue.rotate(reply)?;
            Pending(answer).wait()?;
        }
        self.publisher.publish()?;
        self.publisher.trim()?;
        let index = self.shared.wal.read();
        Ok(index.first >= below.min(index.size()))
    }

    /// Gives the log a new key. `record` makes the record that names it, which the old key signs. A second attempt after an
    /// error goes on with the same new key.
    pub fn rotate_key(&self, record: impl FnOnce(&Verifier) -> Record) -> Result<KeyHistory, Error> {
        let to = self.publisher.keys().next()?;
        self.append(&record(&to.verifier()))?.wait()?;
        self.publisher.rotate(to)?;
        Ok(self.reader().keys())
    }

    /// Reads what is committed.
    pub fn reader(&self) -> Reader {
        let (wal, publisher) = (Arc::clone(&self.shared.wal), Arc::clone(&self.publisher));
        Reader { wal, tree: Arc::clone(&self.shared.tree), publisher }
    }

    /// Ends the log: works off what is waiting and signs a last checkpoint. What comes after is refused. Also runs on drop.
    pub fn close(&self) -> Result<(), Error> {
        self.stop()
    }

    fn stop(&self) -> Result<(), Error> {
        // Held to the end: whoever closes at the same time waits until it is done.
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(threads) = threads.take() else { return Ok(()) };
        let finished = self.finish(threads);
        self.publisher.closed.store(true, Ordering::Release);
        finished
    }

    fn finish(&self, Threads { sequencer, publisher, wake }: Threads) -> Result<(), Error> {
        self.shared.queue.close();
        let worked = sequencer.join();
        drop(wake);
        let signed = publisher.join();
        if worked.is_err() || signed.is_err() {
            return Err(Error::Unavailable("a thread of the log failed".into()));
        }
        self.shared.free_tail(self.shared.wal.read().newest());
        self.publisher.publish().map(drop)
    }
}

fn fits(record: &[u8]) -> Result<(), Error> {
    Error::limit("record", record.len() as u64, RECORD_MAX)
}

impl Threads {
    fn start(
        sequencer: Sequencer,
        publisher: &Arc<Publisher>,
        (wake, woken): (SyncSender<()>, Receiver<()>),
        interval: Duration,
    ) -> Result<Self, Error> {
        let publisher = Arc::clone(publisher);
        let publish = move || publisher.run(&woken, interval);
        Ok(Self { sequencer: spawn("sequencer", || sequencer.run())?, publisher: spawn("publisher", publish)?, wake })
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|e| Error::Unavailable(format!("no thread for the {name}: {e}")))
}

impl Drop for Ledger {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the log was not closed cleanly; the next start recovers it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_more_than_a_gibibyte_is_refused() {
        // Zeros that nobody touches take no memory.
        assert!(fits(&vec![0; 1 << 30]).is_ok());
        let refused = fits(&vec![0; (1 << 30) + 1]).unwrap_err();
        assert_eq!(refused.to_string(), "record: 1073741825 bytes, the limit is 1073741824");
    }
}
