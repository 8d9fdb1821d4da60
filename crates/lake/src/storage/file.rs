//! Files of the local disk. All that writes, syncs or removes one is here.

#![allow(clippy::disallowed_methods, reason = "this is the module that they are left to")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// The end of the name of a file that is being written.
const UNFINISHED: &str = ".tmp";

/// A file on its way to its place: it gets its name when everything is on the disk. If it does not get one, it is removed
/// with this, since what was written of it may be erased elsewhere.
#[derive(Debug)]
pub(crate) struct NewFile {
    file: File,
    unfinished: PathBuf,
    has_name: bool,
    hash: Sha256,
    size: u64,
}

impl NewFile {
    /// Begins to write the file that is going to be at `place`, or beside it.
    pub(crate) fn create(place: &Path) -> Result<Self> {
        let folder = parent(place);
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let unfinished = unfinished(place);
        let file = File::create(&unfinished).map_err(Error::io(&unfinished))?;
        Ok(Self { file, unfinished, has_name: false, hash: Sha256::new(), size: 0 })
    }

    /// Makes the file durable under its name; gives its size in bytes and its SHA-256.
    pub(crate) fn finish(mut self, place: &Path) -> Result<(u64, [u8; 32])> {
        self.file.sync_all().map_err(Error::io(&self.unfinished))?;
        fs::rename(&self.unfinished, place).map_err(Error::io(place))?;
        self.has_name = true;
        sync_folders(place).map_err(Error::io(place))?;
        Ok(self.written())
    }

    /// Where it is while it is written.
    pub(super) fn unfinished(&self) -> &Path {
        &self.unfinished
    }

    /// Its size in bytes and its SHA-256.
    pub(super) fn written(&self) -> (u64, [u8; 32]) {
        (self.size, self.hash.clone().finalize().into())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.has_name {
            return;
        }
        match fs::remove_file(&self.unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = self.unfinished.display();
                tracing::error!(%path, %error, "an unfinished file cannot be removed; the next start tries again");
            }
            _ => {}
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a small file durably, in place of what is there.
pub(crate) fn write(place: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = NewFile::create(place)?;
    file.write_all(bytes).map_err(Error::io(place))?;
    file.finish(place).map(|_| ())
}

/// Makes a file durable that somebody else has written.
pub(crate) fn sync(place: &Path) -> Result<()> {
    let synced = File::open(place).and_then(|file| file.sync_all()).and_then(|()| sync_folders(place));
    synced.map_err(Error::io(place))
}

/// Removes a file for good.
pub(crate) fn remove(place: &Path) -> Result<()> {
    fs::remove_file(place).and_then(|()| sync_folders(place)).map_err(Error::io(place))
}

/// Removes everything below a folder.
pub(crate) fn remove_below(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::io(&path))?;
    }
    Ok(())
}

/// Creates a folder that lasts.
pub(crate) fn create_folder(place: &Path) -> Result<()> {
    fs::create_dir_all(place).and_then(|()| sync_folders(place)).map_err(Error::io(place))
}

/// Every file below `root`, as paths relative to it, sorted.
pub(crate) fn files(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io(&folder))? {
            let entry = entry.map_err(Error::io(&folder))?;
            if entry.file_type().map_err(Error::io(&folder))?.is_dir() {
                folders.push(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// True for the name of a file that was being written when the program stopped.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED)
}

/// The size and the SHA-256 of a file.
pub(super) fn digest(place: &Path) -> io::Result<(u64, [u8; 32])> {
    let mut hash = HashWriter(Sha256::new());
    let size = io::copy(&mut File::open(place)?, &mut hash)?;
    Ok((size, hash.0.finalize().into()))
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn parent(place: &Path) -> &Path {
    // The parent of a bare name is the working folder, spelt "".
    place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What the file that is going to be at `place` is called while it is written.
pub(crate) fn unfinished(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// Makes the entry of `place` in its folder durable, and that folder's own in the one above, which may be new too.
pub(super) fn sync_folders(place: &Path) -> io::Result<()> {
    let folder = parent(place);
    File::open(folder)?.sync_all()?;
    File::open(parent(folder))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("below/file");
        let mut file = NewFile::create(&place).unwrap();
        file.write_all(b"secret").unwrap();
        assert_eq!(files(folder.path()).unwrap(), ["below/file.tmp"]);
        drop(file);
        assert!(files(folder.path()).unwrap().is_empty());
        write(&place, b"kept").unwrap();
        assert_eq!(files(folder.path()).unwrap(), ["below/file"]);
    }
}
