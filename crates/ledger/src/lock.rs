//! One writer per folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::Error;
use crate::disk::{Disk as _, RealDisk};

/// Held as long as the log is open. The kernel gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

/// Keeps everybody from opening the log in `dir` as long as the lock is held, without writing to the folder: it may be a
/// copy that cannot be written. Refused while a process has it open.
pub fn hold(dir: &Path) -> Result<Option<Lock>, Error> {
    let path = dir.join("lock");
    match File::open(&path) {
        // A copy without it was never open.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("lock", &path, &e)),
        Ok(file) => exclusive(file, dir).map(Some),
    }
}

fn exclusive(mut file: File, dir: &Path) -> Result<Lock, Error> {
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(Lock(file));
    }
    let mut pid = String::new();
    file.read_to_string(&mut pid).map_err(|e| Error::io("lock", &dir.join("lock"), &e))?;
    Err(Error::InUse { path: dir.to_owned(), pid: pid.trim().to_owned() })
}

#[expect(clippy::disallowed_methods, reason = "the lock file holds no data")]
pub(crate) fn lock(dir: &Path) -> Result<Lock, Error> {
    RealDisk.create_dir(dir).map_err(|e| Error::io("create", dir, &e))?;
    let path = dir.join("lock");
    let io = |e: std::io::Error| Error::io("lock", &path, &e);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(&path);
    let lock = exclusive(file.map_err(io)?, dir)?;
    let mut file = &lock.0;
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
    Ok(lock)
}
