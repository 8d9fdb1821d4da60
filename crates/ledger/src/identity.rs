//! Which log a folder holds: its origin, its format and its keys.

use std::io;
use std::path::Path;
use std::sync::Arc;

use onrecord_proof::KeyHistory;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::disk::Disk;
use crate::keys::{self, Holder, Keys};

/// The newest format of a ledger's folder that this program knows.
const FORMAT: u64 = 1;
const NAME: &str = "log.json";

#[derive(Debug, Serialize, Deserialize)]
struct LogFile {
    format: u64,
    origin: String,
}

/// Opens the identity of the log in `dir`, or creates it in a folder that holds none. `origin` names a log that is to be
/// created, and must match one that is there. Without a `holder` the secret key is in the folder.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    origin: Option<&str>,
    holder: Option<Arc<dyn Holder>>,
) -> Result<Keys, Error> {
    let path = dir.join(NAME);
    let bytes = match disk.read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return create(disk, dir, origin, holder),
        other => other.map_err(|e| Error::io("read", &path, &e))?,
    };
    let log = parse(&path, &bytes)?;
    if let Some(wanted) = origin.filter(|wanted| *wanted != log.origin) {
        return Err(Error::OtherOrigin { path, found: log.origin, wanted: wanted.to_owned() });
    }
    let keys = Keys::open(disk, dir, holder)?;
    if keys.history.name() != log.origin {
        let problem = format!("its key is that of {:?}, the log is {:?}", keys.history.name(), log.origin);
        return Err(Error::OtherKey { path: dir.to_owned(), problem });
    }
    Ok(keys)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<LogFile, Error> {
    let log: LogFile = serde_json::from_slice(bytes).map_err(|e| Error::corrupt(path, 0, e.to_string()))?;
    match log.format {
        0 => Err(Error::corrupt(path, 0, "there is no format 0")),
        1..=FORMAT => Ok(log),
        found => Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT }),
    }
}

/// A folder with data but no identity is half a copy of a log; a new key would fork its history, so it is refused.
fn create(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    origin: Option<&str>,
    holder: Option<Arc<dyn Holder>>,
) -> Result<Keys, Error> {
    for part in crate::FOLDERS {
        if disk.list(&dir.join(part)).is_ok_and(|names| !names.is_empty()) {
            let problem = format!("{} is missing, but {part}/ holds data", dir.join(NAME).display());
            return Err(Error::Rollback { problem });
        }
    }
    let held = holder.as_ref().map(|holder| holder.verifier().name().to_owned());
    if let (Some(held), Some(wanted)) = (&held, origin.filter(|wanted| Some(*wanted) != held.as_deref())) {
        let problem = format!("its key is that of {held:?}, the log is to be {wanted:?}");
        return Err(Error::OtherKey { path: dir.to_owned(), problem });
    }
    let suffix = random::<8>(&**disk)?;
    let generated = || format!("onrecord.local/{:016x}", u64::from_be_bytes(suffix));
    let origin = origin.map(str::to_owned).or(held).unwrap_or_else(generated);
    let keys = Keys::create(disk, dir, &origin, holder)?;
    // The identity comes last: with it the folder counts as a log, so the keys must be there.
    let log = serde_json::to_vec_pretty(&LogFile { format: FORMAT, origin }).unwrap_or_default();
    let path = dir.join(NAME);
    disk.replace(&path, &log, 0o644).map_err(|e| Error::io("write", &path, &e))?;
    Ok(keys)
}

/// Bytes that nobody else has, for a key, a name or the mark of a segment.
pub(crate) fn random<const N: usize>(disk: &dyn Disk) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    disk.random(&mut bytes).map_err(|e| Error::Unavailable(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

/// The public keys of the log in `dir`, without creating anything. The files of the identity must agree.
pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<KeyHistory, Error> {
    let keys = keys::public(disk, dir)?;
    let path = dir.join(NAME);
    let bytes = disk.read(&path).map_err(|e| Error::io("read", &path, &e))?;
    let log = parse(&path, &bytes)?;
    if log.origin != keys.name() {
        return Err(Error::corrupt(&path, 0, format!("it names {:?}, the key is of {:?}", log.origin, keys.name())));
    }
    Ok(keys)
}
