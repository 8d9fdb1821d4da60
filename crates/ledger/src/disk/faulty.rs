//! A disk in memory that fails when it is told to.
//!
//! Fault model:
//! - Each operation that changes something counts as one step: create_dir, create, write, sync, set_len, replace, remove.
//! - The step that is armed fails once with an error, and has no effect ([`Fault::NotDone`]), its whole effect
//!   ([`Fault::Done`]), or half of it ([`Fault::Half`]): of a write its first half, of a creation an empty file, of a
//!   replacement the temporary file, which nobody reads. Or the disk is full for a while
//!   ([`Fault::Full`]): this and the next attempts that need space fail; what overwrites goes on.
//! - A sync that fails loses the changes that it should have made durable, as Linux may drop dirty pages: they stay
//!   readable, but a crash takes them away even if a later sync succeeds, unless they were made again before it.
//! - [`crash`](FaultyDisk::crash) keeps what was synced. Of the writes and changes of length since, it keeps an arbitrary
//!   subset, each write whole or cut in the middle: they reach the platter in any order. Of two that overlap the later one
//!   wins, since a page is written as it is in memory. The choice comes from the seed, so a case can be run again.
//! - Creation, replacement and removal are durable when they return, as [`Disk`] demands of a real disk.
//! - Random bytes are the same each time: those of a disk come from a seed, which is 0 unless it is [set](FaultyDisk::seed).
//! - Reading does not fail, and what is durable does not change by itself: see [`flip`](FaultyDisk::flip).

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

/// How an armed step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It reports an error and did nothing.
    NotDone,
    /// It reports an error and did everything.
    Done,
    /// It reports an error and did half.
    Half,
    /// There is no space for this and the next five attempts that need some.
    Full,
}

/// How many attempts a disk is full for: longer than a batch is tried in a row.
const FULL_FOR: u32 = 5;

/// A disk in memory that fails when it is told to. Clones share the disk.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Content>,
    dirs: HashSet<PathBuf>,
    steps: u64,
    armed: Option<(u64, Fault)>,
    full: bool,
    /// Further attempts that need space and fail.
    full_for: u32,
    /// Where the random bytes come from.
    random: u64,
}

#[derive(Debug, Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// What was changed since the last good sync.
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

impl Change {
    fn apply(&self, onto: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => overlay(onto, *offset, bytes),
            Self::Length(len) => onto.resize(*len as usize, 0),
        }
    }

    fn half(&self) -> Self {
        match self {
            Self::Write { offset, bytes } => Self::Write { offset: *offset, bytes: bytes[..bytes.len() / 2].to_vec() },
            Self::Length(len) => Self::Length(*len),
        }
    }
}

impl Content {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            change.apply(&mut self.durable);
        }
    }

    fn crash(&mut self, seed: &mut u64) {
        for change in std::mem::take(&mut self.pending) {
            match next(seed) % 3 {
                0 => {}
                1 => change.half().apply(&mut self.durable),
                _ => change.apply(&mut self.durable),
            }
        }
        self.now.clone_from(&self.durable);
    }
}

fn overlay(onto: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (from, until) = (offset as usize, offset as usize + bytes.len());
    onto.resize(onto.len().max(until), 0);
    onto[from..until].copy_from_slice(bytes);
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded and good enough to choose writes.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl FaultyDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the step `in_steps` steps from now fail, 0 being the next one.
    pub fn arm(&self, in_steps: u64, fault: Fault) {
        let mut state = self.state();
        state.armed = Some((state.steps + in_steps, fault));
    }

    /// True if the armed step has not come yet.
    pub fn is_armed(&self) -> bool {
        self.state().armed.is_some()
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Lets other random bytes come than from a disk with another seed.
    pub fn seed(&self, seed: u64) {
        self.state().random = seed;
    }

    /// A full disk: nothing can be created or grow until it is told otherwise.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// Loses what was not synced, as the fault model above says. A step that is still armed is not, and there is space.
    pub fn crash(&self, mut seed: u64) {
        let mut state = self.state();
        (state.armed, state.full, state.full_for) = (None, false, 0);
        state.files.values_mut().for_each(|content| content.crash(&mut seed));
    }

    /// Another disk with the same contents, written and synced to the same degree.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let state = self.state();
        let (files, dirs, random) = (state.files.clone(), state.dirs.clone(), state.random);
        Self(Arc::new(Mutex::new(State { files, dirs, random, ..State::default() })))
    }

    /// Flips the lowest bit of a byte of a file, durably.
    pub fn flip(&self, path: &Path, offset: usize) {
        self.flip_bit(path, offset, 0);
    }

    /// Flips one bit of a byte of a file, durably.
    pub fn flip_bit(&self, path: &Path, offset: usize, bit: u32) {
        if let Some(content) = self.state().files.get_mut(path) {
            content.now[offset] ^= 1 << bit;
            content.durable[offset] ^= 1 << bit;
        }
    }

    /// The files and their lengths.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        self.state().files.iter().map(|(path, content)| (path.clone(), content.now.len())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a step and runs it as the armed fault demands: all of it, half of it or none.
    fn step(&self, grows: bool, run: impl FnOnce(&mut State, bool) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        let now = state.steps;
        state.steps += 1;
        let fault = state.armed.take_if(|(at, _)| *at == now).map(|(_, fault)| fault);
        if fault == Some(Fault::Full) {
            state.full_for = FULL_FOR + 1;
        }
        if grows && (state.full || state.full_for > 0) {
            state.full_for = state.full_for.saturating_sub(1);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let Some(fault) = fault.filter(|fault| *fault != Fault::Full) else { return run(&mut state, true) };
        match fault {
            Fault::NotDone | Fault::Full => {}
            Fault::Done => run(&mut state, true)?,
            Fault::Half => run(&mut state, false)?,
        }
        Err(io::Error::other(format!("injected at step {now}")))
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Disk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        // One that is there needs no space and changes nothing.
        if self.state().dirs.contains(path) {
            return Ok(());
        }
        self.step(true, |state, _| {
            state.dirs.insert(path.to_owned());
            Ok(())
        })
    }

    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn DiskFile>> {
        if self.state().files.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.step(true, |state, whole| {
            let zeros = vec![0; if whole { size as usize } else { 0 }];
            state.files.insert(path.to_owned(), Content { durable: zeros.clone(), now: zeros, ..Content::default() });
            Ok(())
        })?;
        self.open(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let there = self.state().files.contains_key(path);
        if there { Ok(Box::new(FaultyFile { disk: self.clone(), path: path.to_owned() })) } else { Err(missing(path)) }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().files.get(path).map(|content| content.now.clone()).ok_or_else(|| missing(path))
    }

    fn replace(&self, path: &Path, bytes: &[u8], _mode: u32) -> io::Result<()> {
        self.step(true, |state, whole| {
            // Half of a replacement is the temporary file, which nobody reads.
            if whole {
                let content = Content { now: bytes.to_vec(), durable: bytes.to_vec(), ..Content::default() };
                state.files.insert(path.to_owned(), content);
            }
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(false, |state, _| state.files.remove(path).map(drop).ok_or_else(|| missing(path)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        let inside = state.files.keys().filter(|file| file.parent() == Some(path));
        Ok(inside.filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn random(&self, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state();
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&next(&mut state.random).to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
}

impl FaultyFile {
    /// A file that was removed stays usable for whoever has it open; its writes then matter to nobody.
    fn with<T: Default>(&self, run: impl FnOnce(&mut Content) -> T) -> T {
        self.disk.state().files.get_mut(&self.path).map(run).unwrap_or_default()
    }

    fn step(&self, grows: bool, run: impl FnOnce(&mut Content, bool)) -> io::Result<()> {
        self.disk.step(grows, |state, whole| {
            if let Some(content) = state.files.get_mut(&self.path) {
                run(content, whole);
            }
            Ok(())
        })
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let grows = offset + bytes.len() as u64 > self.len()?;
        self.step(grows, |content, whole| {
            let bytes = bytes[..if whole { bytes.len() } else { bytes.len() / 2 }].to_vec();
            content.change(Change::Write { offset, bytes });
        })
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        Ok(self.with(|content| {
            let from = (offset as usize).min(content.now.len());
            let len = out.len().min(content.now.len() - from);
            out[..len].copy_from_slice(&content.now[from..from + len]);
            len
        }))
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.step(false, |content, whole| {
            if whole {
                content.sync();
            }
        });
        if synced.is_err() {
            self.with(|content| content.pending.clear());
        }
        synced
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|content| content.now.len() as u64))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(len > self.len()?, |content, _| content.change(Change::Length(len)))
    }
}
