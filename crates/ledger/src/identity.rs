//! Which log a folder holds: its origin, its format and its key.

use std::io;
use std::path::Path;

use onrecord_proof::note::{Signer, Verifier};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::disk::Disk;

/// The newest format of a ledger's folder that this program knows.
const FORMAT: u64 = 1;
const NAME: &str = "log.json";
/// The secret key, readable by its owner alone.
const KEY: &str = "key";
/// The public key, for whoever checks the log.
const PUBLIC_KEY: &str = "key.pub";

#[derive(Debug, Serialize, Deserialize)]
struct LogFile {
    format: u64,
    origin: String,
}

/// Opens the identity of the log in `dir`, or creates it in a folder that holds none. `origin` names a log that is to be
/// created, and must match one that is there.
pub(crate) fn open(disk: &dyn Disk, dir: &Path, origin: Option<&str>) -> Result<Signer, Error> {
    let path = dir.join(NAME);
    let bytes = match disk.read(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return create(disk, dir, origin),
        other => other.map_err(|e| Error::io("read", &path, &e))?,
    };
    let log = parse(&path, &bytes)?;
    if let Some(wanted) = origin.filter(|wanted| *wanted != log.origin) {
        return Err(Error::OtherOrigin { path, found: log.origin, wanted: wanted.to_owned() });
    }
    let signer = read_key(disk, dir)?;
    if signer.verifier().name() != log.origin {
        let problem = format!("its key is that of {:?}, the log is {:?}", signer.verifier().name(), log.origin);
        return Err(Error::corrupt(&dir.join(KEY), 0, problem));
    }
    Ok(signer)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<LogFile, Error> {
    let log: LogFile = serde_json::from_slice(bytes).map_err(|e| Error::corrupt(path, 0, e.to_string()))?;
    match log.format {
        0 => Err(Error::corrupt(path, 0, "there is no format 0")),
        1..=FORMAT => Ok(log),
        found => Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT }),
    }
}

fn read_key(disk: &dyn Disk, dir: &Path) -> Result<Signer, Error> {
    let path = dir.join(KEY);
    let bytes = disk.read(&path).map_err(|e| Error::io("read", &path, &e))?;
    let text = String::from_utf8_lossy(&bytes);
    text.parse().map_err(|problem| Error::Invalid { path, problem })
}

/// A folder with data but no identity is half a copy of a log; a new key would fork its history, so it is refused.
fn create(disk: &dyn Disk, dir: &Path, origin: Option<&str>) -> Result<Signer, Error> {
    for part in crate::FOLDERS {
        if disk.list(&dir.join(part)).is_ok_and(|names| !names.is_empty()) {
            let problem = format!("{} is missing, but {part}/ holds data", dir.join(NAME).display());
            return Err(Error::Rollback { problem });
        }
    }
    let (seed, suffix) = (random()?, random::<8>()?);
    let generated = || format!("onrecord.local/{:016x}", u64::from_be_bytes(suffix));
    let origin = origin.map_or_else(generated, str::to_owned);
    let signer = Signer::from_seed(&origin, &seed)?;
    // The identity comes last: with it the folder counts as a log, so the keys must be there.
    let log = serde_json::to_vec_pretty(&LogFile { format: FORMAT, origin }).unwrap_or_default();
    for (name, bytes, mode) in [
        (KEY, format!("{}\n", signer.to_secret_text()).into_bytes(), 0o600),
        (PUBLIC_KEY, format!("{}\n", signer.verifier()).into_bytes(), 0o644),
        (NAME, log, 0o644),
    ] {
        let path = dir.join(name);
        disk.replace(&path, &bytes, mode).map_err(|e| Error::io("write", &path, &e))?;
    }
    Ok(signer)
}

/// Bytes for a key or a name that nobody else has.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Unavailable(format!("no random numbers: {e}")))?;
    Ok(bytes)
}

/// The public key of the log in `dir`, without creating anything. The files of the identity must agree.
pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Verifier, Error> {
    let read = |name: &str| {
        let path = dir.join(name);
        let bytes = disk.read(&path).map_err(|e| Error::io("read", &path, &e))?;
        String::from_utf8(bytes).map(|text| (path.clone(), text)).map_err(|e| Error::corrupt(&path, 0, e.to_string()))
    };
    let (path, public) = read(PUBLIC_KEY)?;
    let verifier: Verifier = public.parse().map_err(|problem| Error::Invalid { path, problem })?;
    let (path, log) = read(NAME)?;
    let log = parse(&path, log.as_bytes())?;
    if log.origin != verifier.name() {
        return Err(Error::corrupt(
            &path,
            0,
            format!("it names {:?}, the key is of {:?}", log.origin, verifier.name()),
        ));
    }
    // Whoever only checks a copy may not have the secret key.
    match disk.open(&dir.join(KEY)).and_then(|_| disk.read(&dir.join(KEY))) {
        Ok(_) if read_key(disk, dir)?.verifier() != verifier => {
            Err(Error::corrupt(&dir.join(KEY), 0, format!("it does not belong to the public key {verifier}")))
        }
        _ => Ok(verifier),
    }
}
