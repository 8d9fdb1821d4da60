//! Checks a log as it is on disk, without changing anything: checkpoints, tree and segments against each other.
//!
//! What this does not see are the rows in the lake; whoever has them compares their leaf hashes with
//! [`Reader::hashes`](crate::Reader) or [`Checked::leaves`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use onrecord_proof::merkle::Frontier;
use onrecord_proof::note::Verifier;
use onrecord_proof::{Hash, KeyHistory};

use crate::checkpoints::{Checkpoints, Day, Published, shortest};
use crate::disk::{Disk, DiskFile};
use crate::recovery::{Chain, Scan};
use crate::tree::read_hashes;
use crate::{Error, Offline, cosigned, identity};

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.problem)
    }
}

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// The public key of the log.
    pub verifier: Verifier,
    /// The last signed checkpoint.
    pub last: Option<Published>,
    /// How many checkpoints were checked.
    pub checkpoints: u64,
    /// Leaves that are committed; those behind the last checkpoint are in segments only.
    pub committed: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What a crash has left unfinished. It holds nothing; the next start removes it.
    pub unfinished: Vec<Problem>,
    /// The stored tree is the one that the checkpoints were signed over.
    pub tree_is_whole: bool,
    /// Size and root of each checkpoint, in order. 40 bytes each, 3.5 MB for a day in which one was signed every second.
    pub roots: Vec<(u64, Hash)>,
    /// What is in the log, to be read.
    pub log: Offline,
}

/// Leaves behind the last checkpoint, at most: checkpoints are signed every second or so.
const UNSIGNED_MOST: u64 = 1 << 26;
/// Hashes read at a time: 2 MiB, two for each level in memory.
const CHUNK: usize = 65_536;

/// Checks the log in `dir`. `progress` is told how many of how many leaves are done.
///
/// An error means that the check could not be made; what is wrong with the log is in [`Checked::problems`].
pub fn check(disk: &Arc<dyn Disk>, dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked, Error> {
    let keys = identity::read(&**disk, dir)?;
    let (mut problems, mut unfinished) = (Vec::new(), Vec::new());
    // Before the checkpoints: what is cosigned while they are checked is none that they lack.
    let cosigned = read_cosigned(disk, dir, &keys, &mut problems, &mut unfinished)?;
    let signed = Signed::read(disk, &dir.join("checkpoints"), &keys, &mut problems, &mut unfinished)?;
    let Signed { roots, last } = signed;
    let size = last.as_ref().map_or(0, |last| last.checkpoint.size);
    let before = problems.len();
    check_tree(&**disk, &dir.join("tree"), &roots, progress, &mut problems)?;
    let tree_is_whole = problems.len() == before;
    behind_the_checkpoint(&**disk, &dir.join("tree"), size, &mut unfinished)?;
    check_cosigned(dir, &cosigned, &roots, &mut problems);
    // Beside a damaged tree it is the rows that say what is right, not the other way round.
    let compared = if tree_is_whole { size } else { 0 };
    let (scan, behind) = check_segments(&**disk, dir, keys.name(), (size, compared), &mut problems, &mut unfinished)?;
    let (origin, leaves) = (keys.name().to_owned(), dir.join("tree").join("0"));
    let log = Offline::new(origin, scan.index, Arc::clone(disk), leaves, size, behind);
    let (verifier, checkpoints, committed) = (keys.current().clone(), roots.len() as u64, log.size());
    Ok(Checked { verifier, last, checkpoints, committed, problems, unfinished, tree_is_whole, roots, log })
}

/// An error that says what is wrong with the log becomes a problem; the operating system's stay errors.
fn note<T>(result: Result<T, Error>, path: &Path, problems: &mut Vec<Problem>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Corrupt { path, offset, problem }) => {
            problems.push(Problem { path, problem: format!("at byte {offset}: {problem}") });
            Ok(None)
        }
        Err(Error::Invalid { path, problem }) => {
            problems.push(Problem { path, problem: problem.to_string() });
            Ok(None)
        }
        Err(Error::Rollback { problem }) => {
            problems.push(Problem { path: path.to_owned(), problem });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Size and root of the checkpoints that witnesses have cosigned.
fn read_cosigned(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    keys: &KeyHistory,
    problems: &mut Vec<Problem>,
    unfinished: &mut Vec<Problem>,
) -> Result<Vec<(u64, Hash)>, Error> {
    let path = cosigned::folder(dir);
    if disk.list(&path).is_err() {
        return Ok(Vec::new());
    }
    Ok(Signed::read(disk, &path, keys, problems, unfinished)?.roots)
}

/// What the witnesses have cosigned is what the log has signed.
fn check_cosigned(dir: &Path, cosigned: &[(u64, Hash)], roots: &[(u64, Hash)], problems: &mut Vec<Problem>) {
    for cosigned in cosigned.iter().filter(|cosigned| roots.binary_search(cosigned).is_err()) {
        let problem =
            format!("the cosigned checkpoint over {} leaves is not among the checkpoints of the log", cosigned.0);
        problems.push(Problem { path: cosigned::folder(dir), problem });
    }
}

/// What the checkpoints in a folder say.
#[derive(Default)]
struct Signed {
    roots: Vec<(u64, Hash)>,
    last: Option<Published>,
}

impl Signed {
    fn read(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        keys: &KeyHistory,
        problems: &mut Vec<Problem>,
        unfinished: &mut Vec<Problem>,
    ) -> Result<Self, Error> {
        let files = Checkpoints::new(Arc::clone(disk), dir);
        let mut all = Self::default();
        for name in files.days()? {
            let Some(day) = note(read_day(&files, &name, keys), dir, problems)? else { continue };
            for published in day.published {
                let (size, root) = (published.checkpoint.size, published.checkpoint.root);
                if all.roots.last().is_some_and(|(before, _)| *before >= size) {
                    let problem = format!("the checkpoint over {size} leaves is out of order");
                    problems.push(Problem { path: day.path.clone(), problem });
                }
                all.roots.push((size, root));
                all.last = Some(published);
            }
            if let Some((at, bytes)) = day.torn {
                let last = all.last.as_ref().map_or(1, |last| last.checkpoint.size);
                let is_cut = bytes < shortest(keys.name(), last);
                let problem = format!("at byte {at}: the checkpoint is not whole, as a crash can leave it");
                let place = if is_cut { &mut *unfinished } else { &mut *problems };
                place.push(Problem { path: day.path, problem });
            }
        }
        Ok(all)
    }
}

/// How long the writing of a checkpoint takes at most, on a disk that is not busy. There are thousands of damaged ones in the tests.
const UNDER_THE_PEN: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 50 });

/// Reads a file of checkpoints, once more if its last one may be under the pen just now.
fn read_day(files: &Checkpoints, name: &str, keys: &KeyHistory) -> Result<Day, Error> {
    let day = files.read(name, keys)?;
    if day.torn.is_none() {
        return Ok(day);
    }
    std::thread::sleep(UNDER_THE_PEN);
    files.read(name, keys)
}

/// Rebuilds the tree from its leaf hashes and compares every stored hash and the root of every checkpoint.
fn check_tree(
    disk: &dyn Disk,
    dir: &Path,
    roots: &[(u64, Hash)],
    progress: &mut dyn FnMut(u64, u64),
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let size = roots.iter().map(|(size, _)| *size).max().unwrap_or(0);
    let mut stored = Stored { dir, disk, levels: Vec::new() };
    let (mut frontier, mut roots, mut strayed) = (Frontier::default(), roots.iter().peekable(), false);
    while frontier.size() < size {
        let count = (size - frontier.size()).min(CHUNK as u64) as usize;
        let Some(leaves) = note(stored.read(0, frontier.size(), count), dir, problems)? else { return Ok(()) };
        for leaf in leaves {
            let mut above = Vec::new();
            frontier.push(leaf, |level, hash| {
                if level > 0 {
                    above.push((level, hash));
                }
            });
            for (level, hash) in above {
                let at = (frontier.size() >> (8 * level)) - 1;
                let Some(found) = note(stored.one(level, at), dir, problems)? else { return Ok(()) };
                if found != hash {
                    let problem = format!("hash {at} is not that of the level below");
                    problems.push(Problem { path: dir.join(level.to_string()), problem });
                }
            }
            while let Some((size, root)) = roots.next_if(|(size, _)| *size <= frontier.size()) {
                // Nor do they then lead to any later root.
                if *size == frontier.size() && *root != frontier.root() && !std::mem::replace(&mut strayed, true) {
                    let problem = format!("its hashes do not lead to the root of the checkpoint over {size} leaves");
                    problems.push(Problem { path: dir.join("0"), problem });
                }
            }
        }
        progress(frontier.size(), size);
    }
    Ok(())
}

/// The files of the tree's levels, read in chunks.
struct Stored<'d> {
    dir: &'d Path,
    disk: &'d dyn Disk,
    levels: Vec<(Box<dyn DiskFile>, u64, Vec<Hash>)>,
}

impl Stored<'_> {
    fn read(&mut self, level: u32, start: u64, count: usize) -> Result<Vec<Hash>, Error> {
        let path = self.dir.join(level.to_string());
        while self.levels.len() <= level as usize {
            let path = self.dir.join(self.levels.len().to_string());
            let file = self.disk.open(&path).map_err(|e| Error::corrupt(&path, 0, e.to_string()))?;
            self.levels.push((file, 0, Vec::new()));
        }
        read_hashes(&*self.levels[level as usize].0, &path, start, count)
    }

    /// One hash; they are asked for in order, so a chunk of them is read ahead.
    fn one(&mut self, level: u32, at: u64) -> Result<Hash, Error> {
        const AHEAD: u64 = 256;
        if let Some((_, start, chunk)) = self.levels.get(level as usize)
            && let Some(hash) = at.checked_sub(*start).and_then(|i| chunk.get(i as usize))
        {
            return Ok(*hash);
        }
        let path = self.dir.join(level.to_string());
        let last = self.read(level, at, 1)?;
        let len = self.levels[level as usize].0.len().map_err(|e| Error::io("read", &path, &e))?;
        let chunk = self.read(level, at, AHEAD.min(len / 32 - at) as usize)?;
        let entry = &mut self.levels[level as usize];
        (entry.1, entry.2) = (at, chunk);
        last.first().copied().ok_or(Error::NotHere(at))
    }
}

/// Hashes behind the last checkpoint, which a crash between the two leaves there.
fn behind_the_checkpoint(disk: &dyn Disk, dir: &Path, size: u64, unfinished: &mut Vec<Problem>) -> Result<(), Error> {
    let names = match disk.list(dir) {
        // Without its folder, all of the tree is missing, which is told where it is read.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(|e| Error::io("list", dir, &e))?,
    };
    for (name, level) in names.iter().filter_map(|name| Some((name, name.parse::<u32>().ok()?))) {
        let path = dir.join(name);
        let len = disk.open(&path).and_then(|file| file.len()).map_err(|e| Error::io("read", &path, &e))?;
        let wanted = size.checked_shr(8 * level).unwrap_or(0) * 32;
        if len > wanted {
            let problem = format!("{} bytes behind the last checkpoint; the segments have what they say", len - wanted);
            unfinished.push(Problem { path, problem });
        }
    }
    Ok(())
}

/// Checks every frame, and the hash of every record in the segments below `compared` against the tree. Gives what is in the
/// segments, and the hashes of the leaves behind the last checkpoint, which is over `signed` leaves.
fn check_segments(
    disk: &dyn Disk,
    dir: &Path,
    origin: &str,
    (signed, compared): (u64, u64),
    problems: &mut Vec<Problem>,
    unfinished: &mut Vec<Problem>,
) -> Result<(Scan, Vec<Hash>), Error> {
    let path = dir.join("segments");
    let (mut scan, mut behind) = (Scan::beside_a_writer(signed), Vec::new());
    let Some(mut chain) = note(Chain::find(disk, &path, origin), &path, problems)? else { return Ok((scan, behind)) };
    let leftovers = chain.leftovers().iter();
    let never_used = |path: &PathBuf| Problem { path: path.clone(), problem: "a segment that was never used".into() };
    unfinished.extend(leftovers.map(never_used));
    let mut stored = Stored { dir: &dir.join("tree"), disk, levels: Vec::new() };
    let mut wrong = Vec::new();
    while let Some(link) = chain.next() {
        let file = link.path.clone();
        if link.head.first_index > signed.saturating_add(UNSIGNED_MOST) {
            // Whoever made this head also made its checksum; room for so many leaves is not even tried for.
            let first = link.head.first_index;
            let problem =
                format!("it says that leaf {first} is its first; the last checkpoint is over {signed} leaves");
            problems.push(Problem { path: file, problem });
            break;
        }
        if !scan.index.segments.is_empty() && link.head.first_index > scan.index.size() {
            // What is readable of the segments behind a damaged one is read all the same.
            let (from, until) = (scan.index.size(), link.head.first_index);
            let problem = format!("records {from} to {} are in no segment before it", until - 1);
            problems.push(Problem { path: file.clone(), problem });
            scan.index.skip_to(until);
        }
        let read = scan.segment(disk, link, 0, &mut |index, hash| {
            if index >= signed {
                behind.resize((index - signed) as usize, [0; 32]);
                behind.push(hash);
            } else if index < compared && stored.one(0, index).is_ok_and(|have| have != hash) {
                wrong.push(Problem {
                    path: file.clone(),
                    problem: format!("record {index} is not the one in the tree"),
                });
            }
        });
        match read {
            // The lake has what was in it; the log released it while we were reading.
            Err(Error::Io { kind: std::io::ErrorKind::NotFound, .. }) if scan.index.segments.is_empty() => {}
            other => drop(note(other, &path, problems)?),
        }
    }
    problems.append(&mut wrong);
    if scan.index.first > signed {
        let problem = format!("leaves {signed} to {} are in no segment", scan.index.first - 1);
        problems.push(Problem { path: path.clone(), problem });
    }
    if scan.index.size() < signed {
        let problem = format!("the segments end at leaf {}, a checkpoint over {signed} was signed", scan.index.size());
        problems.push(Problem { path, problem });
    }
    Ok((scan, behind))
}
