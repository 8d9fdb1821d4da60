//! Checks a log as it is on disk, without changing anything: checkpoints, tree and segments against each other.
//!
//! What this does not see are the rows in the lake; whoever has them compares their leaf hashes with
//! [`Reader::hashes`](crate::Reader) or [`Checked::leaves`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onrecord_proof::merkle::Frontier;
use onrecord_proof::note::Verifier;
use onrecord_proof::{Hash, KeyHistory};

use crate::checkpoints::{Checkpoints, Day, Published};
use crate::disk::{Disk, DiskFile};
use crate::recovery::{Chain, Scan};
use crate::tree::read_hashes;
use crate::{Error, cosigned, identity};

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
    /// The first leaf that is still in segments.
    pub first_in_segments: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Hashes read at a time: 2 MiB, two for each level in memory.
const CHUNK: usize = 65_536;

/// Checks the log in `dir`. `progress` is told how many of how many leaves are done.
///
/// An error means that the check could not be made; what is wrong with the log is in [`Checked::problems`].
pub fn check(disk: &Arc<dyn Disk>, dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked, Error> {
    let keys = identity::read(&**disk, dir)?;
    let mut problems = Vec::new();
    let checkpoints = read_checkpoints(disk, &dir.join("checkpoints"), &keys, &mut problems)?;
    let last = checkpoints.last().cloned();
    let signed = last.as_ref().map_or(0, |last| last.checkpoint.size);
    check_tree(&**disk, &dir.join("tree"), &checkpoints, progress, &mut problems)?;
    check_cosigned(disk, dir, &keys, &checkpoints, &mut problems)?;
    let scan = check_segments(&**disk, dir, keys.name(), signed, &mut problems)?;
    Ok(Checked {
        verifier: keys.current().clone(),
        checkpoints: checkpoints.len() as u64,
        committed: scan.index.size().max(signed),
        first_in_segments: scan.index.first,
        last,
        problems,
    })
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

/// What the witnesses have cosigned is what the log has signed.
fn check_cosigned(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    keys: &KeyHistory,
    checkpoints: &[Published],
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let path = cosigned::folder(dir);
    if disk.list(&path).is_err() {
        return Ok(());
    }
    for cosigned in read_checkpoints(disk, &path, keys, problems)? {
        let size = cosigned.checkpoint.size;
        let signed = checkpoints.binary_search_by_key(&size, |published| published.checkpoint.size);
        if signed.ok().map(|at| checkpoints[at].checkpoint.root) != Some(cosigned.checkpoint.root) {
            let problem = format!("the cosigned checkpoint over {size} leaves is not among the checkpoints of the log");
            problems.push(Problem { path: path.clone(), problem });
        }
    }
    Ok(())
}

fn read_checkpoints(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    keys: &KeyHistory,
    problems: &mut Vec<Problem>,
) -> Result<Vec<Published>, Error> {
    let files = Checkpoints::new(Arc::clone(disk), dir);
    let mut all = Vec::<Published>::new();
    for name in files.days()? {
        let Some(day) = note(read_day(&files, &name, keys), dir, problems)? else { continue };
        if let Some(at) = day.torn_at {
            let problem =
                format!("at byte {at}: the checkpoint is not whole; if a crash cut it off, the next start repairs it");
            problems.push(Problem { path: day.path.clone(), problem });
        }
        for published in day.published {
            if all.last().is_some_and(|last| last.checkpoint.size >= published.checkpoint.size) {
                let problem = format!("the checkpoint over {} leaves is out of order", published.checkpoint.size);
                problems.push(Problem { path: day.path.clone(), problem });
            }
            all.push(published);
        }
    }
    Ok(all)
}

/// Reads a file of checkpoints, once more if its last one may be under the pen just now.
fn read_day(files: &Checkpoints, name: &str, keys: &KeyHistory) -> Result<Day, Error> {
    let day = files.read(name, keys)?;
    if day.torn_at.is_none() {
        return Ok(day);
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    files.read(name, keys)
}

/// Rebuilds the tree from its leaf hashes and compares every stored hash and the root of every checkpoint.
fn check_tree(
    disk: &dyn Disk,
    dir: &Path,
    checkpoints: &[Published],
    progress: &mut dyn FnMut(u64, u64),
    problems: &mut Vec<Problem>,
) -> Result<(), Error> {
    let size = checkpoints.iter().map(|published| published.checkpoint.size).max().unwrap_or(0);
    let mut stored = Stored { dir, disk, levels: Vec::new() };
    let (mut frontier, mut roots) = (Frontier::default(), checkpoints.iter().peekable());
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
                let Some(found) = note(stored.one(level, at), dir, problems)? else { continue };
                if found != hash {
                    let problem = format!("hash {at} is not that of the level below");
                    problems.push(Problem { path: dir.join(level.to_string()), problem });
                }
            }
            while let Some(published) = roots.next_if(|p| p.checkpoint.size <= frontier.size()) {
                if published.checkpoint.size == frontier.size() && published.checkpoint.root != frontier.root() {
                    let problem =
                        format!("its hashes do not lead to the root of the checkpoint over {} leaves", frontier.size());
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

/// Checks every frame, and the hash of every record in the segments against the tree.
fn check_segments(
    disk: &dyn Disk,
    dir: &Path,
    origin: &str,
    signed: u64,
    problems: &mut Vec<Problem>,
) -> Result<Scan, Error> {
    let path = dir.join("segments");
    let mut scan = Scan::new(signed);
    let Some(mut chain) = note(Chain::find(disk, &path, origin), &path, problems)? else { return Ok(scan) };
    let mut stored = Stored { dir: &dir.join("tree"), disk, levels: Vec::new() };
    let mut wrong = Vec::new();
    while let Some(link) = chain.next() {
        let file = link.path.clone();
        let read = scan.segment(disk, link, 0, &mut |index, hash| {
            if index < signed && stored.one(0, index).is_ok_and(|have| have != hash) {
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
    if scan.index.size() < signed {
        let problem = format!("the segments end at leaf {}, a checkpoint over {signed} was signed", scan.index.size());
        problems.push(Problem { path, problem });
    }
    Ok(scan)
}
