//! A witness: cosigns checkpoints of the logs that it knows, each only if its tree begins with the last one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use onrecord_proof::cosignature::Cosigner;
use onrecord_proof::merkle::{check_consistency, empty_root};
use onrecord_proof::note::{Note, SignatureLine};
use onrecord_proof::{Checkpoint, KeyHistory, Malformed, cosignature};

use super::AddCheckpoint;
use crate::disk::{Disk, RealDisk};
use crate::identity::random;
use crate::lock::{Lock, lock};
use crate::segment::origin_hash;
use crate::{Error, clock};

/// The witness's secret key, readable by its owner alone.
const KEY: &str = "key";
/// Its public key, for those who configure it.
const PUBLIC_KEY: &str = "key.pub";
/// The folder with the last checkpoint of each log.
const LOGS: &str = "logs";

/// A witness with its memory in a folder. One process at a time can have it open.
#[derive(Debug)]
pub struct Witness {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    cosigner: Cosigner,
    /// The keys of the logs that it cosigns for.
    logs: Vec<KeyHistory>,
    /// The last checkpoint of each log, by origin. Held from the comparison until the new one is durable: otherwise a
    /// smaller tree could take the place of a larger one that was cosigned in between.
    last: Mutex<BTreeMap<String, Checkpoint>>,
    _lock: Option<Lock>,
}

/// Why a checkpoint was not cosigned, by the status that the specification gives it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400: it is no request, or its old size is beyond its checkpoint.
    #[error("{0}")]
    Bad(Malformed),
    /// 404: the witness does not know the log.
    #[error("this witness does not cosign for {0:?}")]
    UnknownLog(String),
    /// 403: no key of the log signed it.
    #[error("no known key of the log {0:?} has signed it")]
    Forbidden(String),
    /// 409: the last tree that was cosigned has another size.
    #[error("the last cosigned tree has {0} leaves")]
    OtherSize(u64),
    /// 409: the last tree that was cosigned has this size and another root.
    #[error("another tree of {0} leaves was cosigned")]
    OtherRoot(u64),
    /// 422: the tree does not begin with the last one that was cosigned.
    #[error("{0}")]
    Inconsistent(Malformed),
    /// 500: what was seen could not be made durable.
    #[error("{0}")]
    Storage(String),
}

impl Witness {
    /// Opens the witness in `dir` for logs with these keys, creating it under `name` if there is none.
    pub fn open(dir: &Path, name: Option<&str>, logs: Vec<KeyHistory>) -> Result<Self, Error> {
        let lock = lock(dir)?;
        Self::open_with(Arc::new(RealDisk), dir, name, logs, Some(lock))
    }

    /// Opens a witness on a disk of the caller's. Nothing keeps others from opening it too.
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, name: Option<&str>, logs: Vec<KeyHistory>) -> Result<Self, Error> {
        Self::open_with(disk, dir, name, logs, None)
    }

    fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        name: Option<&str>,
        logs: Vec<KeyHistory>,
        lock: Option<Lock>,
    ) -> Result<Self, Error> {
        let folder = dir.join(LOGS);
        disk.create_dir(&folder).map_err(|e| Error::io("create", &folder, &e))?;
        let cosigner = cosigner(&*disk, dir, name)?;
        let last = read_all(&*disk, &folder, &cosigner.witness())?;
        Ok(Self { disk, dir: dir.to_owned(), cosigner, logs, last: Mutex::new(last), _lock: lock })
    }

    /// The witness's public key.
    pub fn witness(&self) -> cosignature::Witness {
        self.cosigner.witness()
    }

    /// The last checkpoint of each log that was cosigned.
    pub fn last(&self) -> Vec<Checkpoint> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Answers the body of an `add-checkpoint` with a cosignature. What it has seen is durable before it answers.
    pub fn add_checkpoint(&self, body: &str) -> Result<SignatureLine, Refusal> {
        let request: AddCheckpoint = body.parse().map_err(Refusal::Bad)?;
        let checkpoint = self.authentic(&request.note)?;
        if request.old > checkpoint.size {
            let problem = format!("the old size {} is beyond its {} leaves", request.old, checkpoint.size);
            return Err(Refusal::Bad(Malformed { what: "request", problem }));
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        follows(last.get(&checkpoint.origin), &request, &checkpoint)?;
        let line = self.cosigner.cosign(&request.note.text, clock::now().max(0).unsigned_abs() / 1_000_000);
        if last.get(&checkpoint.origin) != Some(&checkpoint) {
            self.store(&checkpoint, request.note, &line).map_err(|error| Refusal::Storage(error.to_string()))?;
            last.insert(checkpoint.origin.clone(), checkpoint);
        }
        Ok(line)
    }

    /// The checkpoint, if a key of a known log signed it.
    fn authentic(&self, note: &Note) -> Result<Checkpoint, Refusal> {
        let origin = Checkpoint::from_text(&note.text).map_err(Refusal::Bad)?.origin;
        let mut keys = self.logs.iter().filter(|key| key.name() == origin).peekable();
        if keys.peek().is_none() {
            return Err(Refusal::UnknownLog(origin));
        }
        let opened = keys.find_map(|keys| keys.open(note).ok());
        opened.ok_or(Refusal::Forbidden(origin))
    }

    /// Either the old or the new checkpoint is there after a crash. It is not yet cosigned when it is written, so that a
    /// crash in between only makes the log ask again.
    fn store(&self, checkpoint: &Checkpoint, mut note: Note, line: &SignatureLine) -> Result<(), Error> {
        note.signatures.retain(|line| line.name == checkpoint.origin);
        note.signatures.push(line.clone());
        let path = self.dir.join(LOGS).join(file_name(&checkpoint.origin));
        let stored = self.disk.replace(&path, note.to_string().as_bytes(), 0o644);
        stored.map_err(|e| Error::io("write", &path, &e))
    }
}

/// Refuses a checkpoint that does not go on from the last one.
fn follows(last: Option<&Checkpoint>, request: &AddCheckpoint, new: &Checkpoint) -> Result<(), Refusal> {
    let (size, root) = last.map_or((0, empty_root()), |last| (last.size, last.root));
    if request.old != size {
        return Err(Refusal::OtherSize(size));
    }
    if new.size == size && new.root != root {
        return Err(Refusal::OtherRoot(size));
    }
    check_consistency(size, new.size, &request.proof, &root, &new.root).map_err(Refusal::Inconsistent)
}

/// A name is not fit to be one of a file; its hash is.
fn file_name(origin: &str) -> String {
    origin_hash(origin).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// A witness that has forgotten a tree would cosign another one, so what cannot be read is no reason to begin anew.
fn read_all(
    disk: &dyn Disk,
    folder: &Path,
    witness: &cosignature::Witness,
) -> Result<BTreeMap<String, Checkpoint>, Error> {
    let mut all = BTreeMap::new();
    let names = disk.list(folder).map_err(|e| Error::io("list", folder, &e))?;
    for name in names.into_iter().filter(|name| Path::new(name).extension().is_none()) {
        let path = folder.join(&name);
        let bytes = disk.read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let corrupt = |problem: &str| Error::corrupt(&path, 0, problem);
        let text = String::from_utf8(bytes).map_err(|_| corrupt("it is not UTF-8"))?;
        let note: Note = text.parse().map_err(|e: Malformed| corrupt(&e.to_string()))?;
        let checkpoint = Checkpoint::from_text(&note.text).map_err(|e| corrupt(&e.to_string()))?;
        if witness.cosigned(&note).is_none() || file_name(&checkpoint.origin) != name {
            return Err(corrupt("this is no checkpoint that this witness has cosigned"));
        }
        all.insert(checkpoint.origin.clone(), checkpoint);
    }
    Ok(all)
}

fn cosigner(disk: &dyn Disk, dir: &Path, name: Option<&str>) -> Result<Cosigner, Error> {
    let path = dir.join(KEY);
    let bytes = match disk.read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return create(disk, dir, name),
        other => other.map_err(|e| Error::io("read", &path, &e))?,
    };
    let parsed = String::from_utf8_lossy(&bytes).parse::<Cosigner>();
    let cosigner = parsed.map_err(|problem| Error::Invalid { path: path.clone(), problem })?;
    let found = cosigner.witness().name().to_owned();
    match name.filter(|wanted| *wanted != found) {
        Some(wanted) => Err(Error::corrupt(&path, 0, format!("it is the key of {found:?}, not of {wanted:?}"))),
        None => Ok(cosigner),
    }
}

fn create(disk: &dyn Disk, dir: &Path, name: Option<&str>) -> Result<Cosigner, Error> {
    if disk.list(&dir.join(LOGS)).is_ok_and(|names| !names.is_empty()) {
        let problem = format!("{} is missing, but {LOGS}/ holds checkpoints", dir.join(KEY).display());
        return Err(Error::Rollback { problem });
    }
    let (seed, suffix) = (random(disk)?, random::<8>(disk)?);
    let generated = || format!("onrecord.local/witness-{:016x}", u64::from_be_bytes(suffix));
    let cosigner = Cosigner::from_seed(&name.map_or_else(generated, str::to_owned), &seed)?;
    // The secret key last: with it the folder counts as a witness.
    for (file, text, mode) in
        [(PUBLIC_KEY, cosigner.witness().to_string(), 0o644), (KEY, cosigner.to_secret_text(), 0o600)]
    {
        let path = dir.join(file);
        disk.replace(&path, format!("{text}\n").as_bytes(), mode).map_err(|e| Error::io("write", &path, &e))?;
    }
    Ok(cosigner)
}
