//! Who signs for the log: its keys so far, the holder of the newest, and the change from one to the next.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onrecord_proof::note::{Note, Signer, Verifier};
use onrecord_proof::{Checkpoint, KeyHistory, Malformed, Rotation};

use crate::Error;
use crate::checkpoints::Checkpoints;
use crate::disk::Disk;
use crate::identity::random;

/// The secret key, readable by its owner alone.
const KEY: &str = "key";
/// The key that a rotation goes to, until it is [`KEY`].
const NEXT_KEY: &str = "key.next";
/// The public key, for whoever checks the log.
const PUBLIC_KEY: &str = "key.pub";
/// All keys, once there is more than one.
const HISTORY: &str = "key.history";

/// Who has a secret key: this process, or something that signs for it.
pub trait Holder: Debug + Send + Sync {
    /// The public half.
    fn verifier(&self) -> Verifier;
    /// Signs a text.
    fn sign(&self, text: String) -> Result<Note, Error>;
}

impl Holder for Signer {
    fn verifier(&self) -> Verifier {
        Self::verifier(self)
    }

    fn sign(&self, text: String) -> Result<Note, Error> {
        Ok(Self::sign(self, text))
    }
}

/// The keys of a log that is open.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    holder: Arc<dyn Holder>,
    pub history: KeyHistory,
    /// The secret key is in the folder.
    is_file: bool,
}

impl Keys {
    /// The keys of the log in `dir`. Without a `holder` the secret key is in the folder.
    pub(crate) fn open(disk: &Arc<dyn Disk>, dir: &Path, holder: Option<Arc<dyn Holder>>) -> Result<Self, Error> {
        let history = history(&**disk, dir)?;
        let is_file = holder.is_none();
        let holder = match holder {
            Some(holder) => holder,
            None => Arc::new(secret(&**disk, dir, history.as_ref())?),
        };
        let history = match history {
            None if !is_file => public(&**disk, dir)?,
            history => history.unwrap_or_else(|| holder.verifier().into()),
        };
        if *history.current() != holder.verifier() {
            let problem = format!("the key at hand is {}, the log's is {}", holder.verifier(), history.current());
            return Err(Error::OtherKey { path: dir.to_owned(), problem });
        }
        Ok(Self { disk: Arc::clone(disk), dir: dir.to_owned(), holder, history, is_file })
    }

    /// The first key of a new log.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        name: &str,
        holder: Option<Arc<dyn Holder>>,
    ) -> Result<Self, Error> {
        let is_file = holder.is_none();
        let holder = if let Some(holder) = holder {
            holder
        } else {
            let signer = Signer::from_seed(name, &random(&**disk)?)?;
            write_secret(&**disk, &dir.join(KEY), &signer)?;
            Arc::new(signer)
        };
        let history = holder.verifier().into();
        let keys = Self { disk: Arc::clone(disk), dir: dir.to_owned(), holder, history, is_file };
        write_public(&**disk, dir, &keys.holder.verifier())?;
        Ok(keys)
    }

    pub(crate) fn sign(&self, checkpoint: &Checkpoint) -> Result<Note, Error> {
        self.holder.sign(checkpoint.to_text())
    }

    /// The key that a rotation goes to, made durable before anything names it. One that an earlier attempt left is taken.
    pub(crate) fn next(&self) -> Result<Signer, Error> {
        if !self.is_file {
            let problem = "only a key that is in the data folder can be rotated; yours is held elsewhere ([key])";
            return Err(Error::Unavailable(problem.into()));
        }
        let path = self.dir.join(NEXT_KEY);
        if let Some(left) = read(&*self.disk, &path)? {
            let left: Signer = left.parse().map_err(|problem| Error::Invalid { path: path.clone(), problem })?;
            // One that is in force already only could not be removed.
            if left.verifier() != *self.history.current() {
                return Ok(left);
            }
        }
        let signer = Signer::from_seed(self.history.name(), &random(&*self.disk)?)?;
        write_secret(&*self.disk, &path, &signer)?;
        Ok(signer)
    }

    /// Gives the log over to the next key. The old one has signed a last tree of `size` leaves, in which its record is. An
    /// error leaves it open on the disk which of them is in force, so nothing may be signed before the next start.
    ///
    /// In this order: the history names the new key, which is in force then; its secret takes the place of the old one; it
    /// is removed from where it was kept meanwhile. A crash before the first step leaves the old key; after it the next
    /// start does the rest.
    pub(crate) fn rotate(&mut self, to: Signer, size: u64) -> Result<(), Error> {
        let mut note = self.holder.sign(Rotation::text(&self.holder.verifier(), &to.verifier(), size))?;
        note.signatures.extend(to.sign(note.text.clone()).signatures);
        let mut history = self.history.clone();
        history.rotate(Rotation::open(&note)?)?;
        let path = self.dir.join(HISTORY);
        let written = self.disk.replace(&path, history.to_string().as_bytes(), 0o644);
        written.map_err(|e| Error::io("write", &path, &e))?;
        self.history = history;
        complete(&*self.disk, &self.dir, &to)?;
        self.holder = Arc::new(to);
        Ok(())
    }
}

fn write_public(disk: &dyn Disk, dir: &Path, public: &Verifier) -> Result<(), Error> {
    let path = dir.join(PUBLIC_KEY);
    disk.replace(&path, format!("{public}\n").as_bytes(), 0o644).map_err(|e| Error::io("write", &path, &e))
}

/// The text of a small file, if it is there.
fn read(disk: &dyn Disk, path: &Path) -> Result<Option<String>, Error> {
    match disk.read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => {
            let bytes = other.map_err(|e| Error::io("read", path, &e))?;
            String::from_utf8(bytes).map(Some).map_err(|e| Error::corrupt(path, 0, e.to_string()))
        }
    }
}

fn history(disk: &dyn Disk, dir: &Path) -> Result<Option<KeyHistory>, Error> {
    let path = dir.join(HISTORY);
    let Some(text) = read(disk, &path)? else { return Ok(None) };
    let history: KeyHistory = text.parse().map_err(|problem| Error::Invalid { path: path.clone(), problem })?;
    // Nobody but the log writes it, so other white space is damage.
    if history.to_string() != text {
        return Err(Error::corrupt(&path, 0, "it is not as it was written"));
    }
    Ok(Some(history))
}

/// The secret key. If the history names the next one already, the rotation to it is completed.
fn secret(disk: &dyn Disk, dir: &Path, history: Option<&KeyHistory>) -> Result<Signer, Error> {
    let parse = |path: PathBuf, text: &str| text.parse::<Signer>().map_err(|problem| Error::Invalid { path, problem });
    let (path, next) = (dir.join(KEY), dir.join(NEXT_KEY));
    let Some(text) = read(disk, &path)? else {
        return Err(Error::io("read", &path, &io::ErrorKind::NotFound.into()));
    };
    let signer = parse(path, &text)?;
    let Some(history) = history.filter(|history| *history.current() != signer.verifier()) else { return Ok(signer) };
    let Some(text) = read(disk, &next)? else { return Ok(signer) };
    let to = parse(next, &text)?;
    if to.verifier() == *history.current() {
        complete(disk, dir, &to)?;
        return Ok(to);
    }
    Ok(signer)
}

/// The new key takes the place of the old one, of which nothing is left.
fn complete(disk: &dyn Disk, dir: &Path, to: &Signer) -> Result<(), Error> {
    write_public(disk, dir, &to.verifier())?;
    write_secret(disk, &dir.join(KEY), to)?;
    let next = dir.join(NEXT_KEY);
    disk.remove(&next).map_err(|e| Error::io("remove", &next, &e))
}

fn write_secret(disk: &dyn Disk, path: &Path, signer: &Signer) -> Result<(), Error> {
    let text = format!("{}\n", signer.to_secret_text());
    disk.replace(path, text.as_bytes(), 0o600).map_err(|e| Error::io("write", path, &e))
}

/// Writes `key.pub` again if it is gone or cannot be read: from the history of keys, or else from the secret key. Only if the
/// log's last checkpoint is signed by that. True if it was written.
pub(crate) fn restore_public(disk: &Arc<dyn Disk>, dir: &Path) -> Result<bool, Error> {
    let is_key = |text: String| text.parse::<Verifier>().is_ok();
    if read(&**disk, &dir.join(PUBLIC_KEY)).is_ok_and(|text| text.is_some_and(is_key)) {
        return Ok(false);
    }
    let history = match history(&**disk, dir)? {
        Some(history) => history,
        None => secret(&**disk, dir, None)?.verifier().into(),
    };
    let checkpoints = Checkpoints::new(Arc::clone(disk), &dir.join("checkpoints"));
    let newest = checkpoints.days()?.pop().map(|day| checkpoints.read(&day, &history)).transpose()?;
    let signs = newest.is_some_and(|day| !day.published.is_empty());
    if signs {
        write_public(&**disk, dir, history.current())?;
    }
    Ok(signs)
}

/// The public keys of the log in `dir`, without changing anything. The files must agree.
pub(crate) fn public(disk: &dyn Disk, dir: &Path) -> Result<KeyHistory, Error> {
    let path = dir.join(PUBLIC_KEY);
    let text = read(disk, &path)?.ok_or_else(|| Error::io("read", &path, &io::ErrorKind::NotFound.into()))?;
    let public: Verifier = text.parse().map_err(|problem: Malformed| Error::Invalid { path: path.clone(), problem })?;
    let history = history(disk, dir)?.unwrap_or_else(|| public.clone().into());
    if !history.keys().any(|key| *key == public) {
        return Err(Error::corrupt(&path, 0, format!("the key {public} is not in the history of keys")));
    }
    // Whoever only checks a copy may not have the secret key, and it may be elsewhere. A rotation that was cut short has the
    // one before.
    let path = dir.join(KEY);
    let text = match read(disk, &path) {
        Err(Error::Io { .. }) => None,
        found => found?,
    };
    if let Some(text) = text {
        let signer: Signer = text.parse().map_err(|problem| Error::Invalid { path: path.clone(), problem })?;
        if !history.keys().any(|key| *key == signer.verifier()) {
            return Err(Error::corrupt(&path, 0, format!("it does not belong to the public key {public}")));
        }
    }
    Ok(history)
}
