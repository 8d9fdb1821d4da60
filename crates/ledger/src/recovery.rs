//! Opening a log: from the last checkpoint and the segments to the state in which the sequencer goes on.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onrecord_proof::{Checkpoint, Hash, Record, merkle};
use uuid::Uuid;

use crate::checkpoints::{Checkpoints, Published};
use crate::cosigned::Cosigned;
use crate::disk::{Disk, DiskFile};
use crate::frame::{Frame, FrameKind};
use crate::keys::Keys;
use crate::ledger::Options;
use crate::segment::{self, LeafHead, Place, SegmentHead, record_id, walk};
use crate::tree::Tree;
use crate::wal::{Index, Segment, Wal, contents, frame_at};
use crate::{Error, identity};

/// A log as it was found, before anything new is written.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub keys: Keys,
    pub published: Option<Published>,
    pub checkpoints: Checkpoints,
    pub cosigned: Cosigned,
    pub tree: Tree,
    pub wal: Wal,
    /// The newest segment that counts, and where it ends; 0 and 0 in a new log.
    pub last: (u64, u64),
    /// The highest number that a file has, whether it counts or not.
    pub highest: u64,
    /// Calls that had begun when the log was last written, with what is known of them.
    pub open: Vec<(Place, Record)>,
}

/// Reads the log in `dir`.
pub(crate) fn open(disk: &Arc<dyn Disk>, dir: &Path, options: &Options) -> Result<Recovered, Error> {
    for part in crate::FOLDERS {
        let path = dir.join(part);
        disk.create_dir(&path).map_err(|e| Error::io("create", &path, &e))?;
    }
    let keys = identity::open(disk, dir, options.origin.as_deref(), options.key.clone())?;
    let checkpoints = Checkpoints::new(Arc::clone(disk), &dir.join("checkpoints"));
    let published = checkpoints.recover(&keys.history)?;
    let cosigned = Cosigned::open(disk, dir, &keys.history, published.as_ref())?;
    let tree = open_tree(disk, dir, published.as_ref())?;
    let mut chain = Chain::find(&**disk, &dir.join("segments"), keys.history.name())?;
    let covered = published.as_ref().map_or(0, |published| published.checkpoint.size);
    let mut scan = Scan::new(covered);
    while let Some(segment) = chain.next() {
        scan.segment(&**disk, segment, covered, &mut |_, hash| tree.push(hash))?;
    }
    scan.check(covered)?;
    chain.remove_leftovers(&**disk)?;
    let Scan { index, open, last, .. } = scan;
    let wal = Wal::new(index);
    let open = begun(&wal, open)?;
    Ok(Recovered { keys, published, checkpoints, cosigned, tree, wal, last, highest: chain.highest, open })
}

/// Puts the folder into the state in which [`open`] leaves it, without the secret key.
pub(crate) fn tidy(disk: &Arc<dyn Disk>, dir: &Path) -> Result<(), Error> {
    let keys = identity::read(&**disk, dir)?;
    let published = Checkpoints::new(Arc::clone(disk), &dir.join("checkpoints")).recover(&keys)?;
    Cosigned::open(disk, dir, &keys, published.as_ref())?;
    open_tree(disk, dir, published.as_ref())?;
    Chain::find(&**disk, &dir.join("segments"), keys.name())?.remove_leftovers(&**disk)
}

/// The tree must be the one that the last checkpoint was signed over.
fn open_tree(disk: &Arc<dyn Disk>, dir: &Path, published: Option<&Published>) -> Result<Tree, Error> {
    let path = dir.join("tree");
    let empty = Checkpoint { origin: String::new(), size: 0, root: merkle::empty_root() };
    let checkpoint = published.map_or(&empty, |published| &published.checkpoint);
    let tree = Tree::open(Arc::clone(disk), &path, checkpoint.size)?;
    if tree.root() != checkpoint.root {
        let problem = format!("the hashes do not lead to the root of the checkpoint over {} leaves", checkpoint.size);
        return Err(Error::corrupt(&path, 0, problem));
    }
    Ok(tree)
}

/// A segment that counts.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub path: PathBuf,
    pub head: SegmentHead,
    /// Where it ends, if a later segment says so.
    end: Option<u64>,
}

/// The segments that count, newest first: each names the one before it, and so on. Other files are what failed
/// attempts to create a segment left behind.
#[derive(Debug)]
pub(crate) struct Chain {
    links: Vec<Link>,
    leftovers: Vec<PathBuf>,
    highest: u64,
}

impl Chain {
    pub(crate) fn find(disk: &dyn Disk, dir: &Path, origin: &str) -> Result<Self, Error> {
        let names = disk.list(dir).map_err(|e| Error::io("list", dir, &e))?;
        let mut heads = BTreeMap::new();
        let mut leftovers = Vec::new();
        let mut highest = 0;
        for (name, number) in names.iter().filter_map(|name| Some((name, segment::number(name)?))) {
            let path = dir.join(name);
            highest = highest.max(number);
            match read_head(disk, &path, number, origin) {
                Ok(Some(head)) => drop(heads.insert(number, (path, head))),
                Ok(None) => leftovers.push(path),
                // A log that is in use has released it since; where one is missing among the others, the chain breaks.
                Err(Error::Io { kind: std::io::ErrorKind::NotFound, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut links = Vec::new();
        let (mut next, mut end) = (heads.last_key_value().map(|(number, _)| *number), None);
        while let Some((path, head)) = next.and_then(|number| heads.remove(&number)) {
            links.push(Link { path, head, end });
            (next, end) = (Some(head.previous), Some(head.previous_end));
        }
        // The oldest link names a segment that was released, and so is not there. If it is, its head was whole once.
        if let Some(path) = next.map(|number| dir.join(segment::name(number))).filter(|path| leftovers.contains(path)) {
            return Err(Error::corrupt(&path, 0, "its head is damaged, and a later segment goes on from it"));
        }
        for (path, head) in heads.into_values() {
            unused(disk, &path, &head)?;
            leftovers.push(path);
        }
        Ok(Self { links, leftovers, highest })
    }

    pub(crate) fn next(&mut self) -> Option<Link> {
        self.links.pop()
    }

    /// Files that the next start removes.
    pub(crate) fn leftovers(&self) -> &[PathBuf] {
        &self.leftovers
    }

    fn remove_leftovers(&self, disk: &dyn Disk) -> Result<(), Error> {
        for path in &self.leftovers {
            tracing::warn!(segment = %path.display(), "removing a segment that was never used");
            disk.remove(path).map_err(|e| Error::io("remove", path, &e))?;
        }
        Ok(())
    }
}

/// A segment that no later one goes on from is what a failed attempt left behind, and holds nothing. If it does hold
/// something, a segment between it and the later ones is missing.
fn unused(disk: &dyn Disk, path: &Path, head: &SegmentHead) -> Result<(), Error> {
    let bytes = disk.read(path).map_err(|e| Error::io("read", path, &e))?;
    let mut frames = 0;
    walk(path, &bytes, head, None, |_, _| {
        frames += 1;
        Ok(())
    })?;
    if frames > 0 {
        let problem = format!("segment {} holds records, but none of the later segments goes on from it", head.number);
        return Err(Error::Rollback { problem: format!("{problem}; one that came after it is missing") });
    }
    Ok(())
}

/// The head of a segment file; `None` if the file was never used as one.
fn read_head(disk: &dyn Disk, path: &Path, number: u64, origin: &str) -> Result<Option<SegmentHead>, Error> {
    let io = |e: std::io::Error| Error::io("read", path, &e);
    let mut start = [0; 256];
    let read = disk.open(path).and_then(|file| file.read_at(0, &mut start)).map_err(io)?;
    let Some(head) = SegmentHead::read(path, &start[..read])? else {
        let unused = segment::is_unused(&disk.read(path).map_err(io)?);
        return if unused {
            Ok(None)
        } else {
            Err(Error::corrupt(path, 0, "its head is damaged, and it was written to"))
        };
    };
    if head.number != number {
        return Err(Error::corrupt(path, 0, format!("the file is segment {}", head.number)));
    }
    if head.origin != segment::origin_hash(origin) {
        return Err(Error::corrupt(path, 0, format!("the segment is of another log than {origin:?}")));
    }
    Ok(Some(head))
}

/// What the segments hold.
#[derive(Debug)]
pub(crate) struct Scan {
    pub index: Index,
    pub open: HashMap<Uuid, Place>,
    pub last: (u64, u64),
    signed: u64,
    /// Somebody may be writing to the newest segment.
    beside_a_writer: bool,
}

/// Takes the index and the hash of a leaf.
pub(crate) type LeafSink<'s> = &'s mut dyn FnMut(u64, Hash);

impl Scan {
    /// `signed` is the size of the last checkpoint, where a log without segments goes on.
    pub(crate) fn new(signed: u64) -> Self {
        let index = Index { first: signed, ..Index::default() };
        Self { index, open: HashMap::new(), last: (0, 0), signed, beside_a_writer: false }
    }

    /// The same of a log that may be in use.
    pub(crate) fn beside_a_writer(signed: u64) -> Self {
        Self { beside_a_writer: true, ..Self::new(signed) }
    }

    /// Reads a segment. The hashes of its leaves from index `from` on are computed and given to `leaf`.
    pub(crate) fn segment(&mut self, disk: &dyn Disk, link: Link, from: u64, leaf: LeafSink<'_>) -> Result<(), Error> {
        let Link { path, head, end } = link;
        if self.index.segments.is_empty() {
            self.index.first = head.first_index;
        }
        if self.index.size() != head.first_index {
            let problem = format!("it begins with leaf {}, leaf {} comes next", head.first_index, self.index.size());
            return Err(Error::corrupt(&path, 0, problem));
        }
        let read = || disk.read(&path).map_err(|e| Error::io("read", &path, &e));
        let bytes = if self.beside_a_writer && end.is_none() { as_of(&read()?, read()?) } else { read()? };
        let file: Arc<dyn DiskFile> = disk.open(&path).map_err(|e| Error::io("open", &path, &e))?.into();
        let segment = Segment { path: path.clone(), file, mark: head.mark, end: 0, needed: head.first_index, open: 0 };
        self.index.segments.insert(head.number, segment);
        let end = walk(&path, &bytes, &head, end, |offset, frame| {
            let place = Place { segment: head.number, offset };
            let entered = self.frame(place, frame, from, leaf);
            entered.map_err(|problem| Error::corrupt(&path, offset.into(), problem))
        })?;
        if let Some(segment) = self.index.segments.get_mut(&head.number) {
            segment.end = end;
        }
        self.last = (head.number, end);
        Ok(())
    }

    fn frame(&mut self, place: Place, frame: Frame<'_>, from: u64, leaf: LeafSink<'_>) -> Result<(), String> {
        match frame.kind {
            FrameKind::Segment => {}
            FrameKind::Intent => {
                let before = self.open.insert(record_id(frame.bytes).ok_or("the intent has no id")?, place);
                if let Some(before) = before {
                    self.index.ended(before);
                }
                self.index.begun(place);
            }
            FrameKind::Leaf => {
                let (head, record) = LeafHead::split(frame.bytes).ok_or("the leaf is too short")?;
                if head.index != self.index.size() {
                    return Err(format!("leaf {} where leaf {} belongs", head.index, self.index.size()));
                }
                let id = record_id(record).ok_or("the leaf has no id")?;
                let ended = self.open.remove(&id);
                if head.index >= from && !self.is_released(&head) {
                    leaf(head.index, self.leaf_hash(&head, record)?);
                }
                self.index.committed(id, place, head.intent, ended);
            }
        }
        Ok(())
    }

    /// True if the record is in the lake already: the segment of its intent was let go of, its own holds others too.
    fn is_released(&self, head: &LeafHead) -> bool {
        let oldest = self.index.segments.first_key_value().map(|(number, _)| *number);
        head.index < self.signed && head.intent.is_some_and(|intent| Some(intent.segment) < oldest)
    }

    fn leaf_hash(&self, head: &LeafHead, record: &[u8]) -> Result<Hash, String> {
        let mut record = Record::from_bytes(record).map_err(|e| e.to_string())?;
        if let Some(place) = head.intent {
            let segment = self.index.segments.get(&place.segment).ok_or("its intent's segment is missing")?;
            let frame = frame_at(segment, place, FrameKind::Intent).map_err(|e| e.to_string())?;
            let begun = Record::from_bytes(contents(&frame)).map_err(|e| e.to_string())?;
            record = begun.completed_by(record).map_err(|e| e.to_string())?;
        }
        Ok(record.leaf(head.committed_at).hash())
    }

    /// What a checkpoint was signed over must be there.
    fn check(&self, signed: u64) -> Result<(), Error> {
        if self.index.first > signed {
            let problem = format!("leaves {signed} to {} are in no segment", self.index.first - 1);
            return Err(Error::Rollback { problem });
        }
        if self.index.size() < signed {
            let problem =
                format!("a checkpoint over {signed} leaves was signed, the segments end at {}", self.index.size());
            return Err(Error::Rollback { problem });
        }
        Ok(())
    }
}

/// What a file that grows held at some time between two readings. One reading alone can have a batch and lack some of the
/// batch before it, which was written while the reading went on; but whatever the first one has a part of was begun by
/// then, and so all before it is in the second one.
fn as_of(first: &[u8], mut second: Vec<u8>) -> Vec<u8> {
    let used = first.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    second.iter_mut().skip(used).for_each(|byte| *byte = 0);
    second
}

/// What the intents of calls without a leaf say.
fn begun(wal: &Wal, open: HashMap<Uuid, Place>) -> Result<Vec<(Place, Record)>, Error> {
    let mut open: Vec<_> = open.into_values().collect();
    open.sort_unstable_by_key(|place| (place.segment, place.offset));
    open.into_iter().map(|place| Ok((place, wal.intent(place)?))).collect()
}
