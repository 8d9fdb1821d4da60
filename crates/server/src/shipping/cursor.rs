//! How far each destination has come: a small file in the data folder, durable before the log goes on from it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use onrecord_ledger::disk::{Disk as _, RealDisk};
use serde::{Deserialize, Serialize};

/// Where a destination has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The name of the log.
    pub origin: String,
    /// The first leaf that it has not taken.
    pub next: u64,
    /// Where the batch began that it took last.
    pub before: u64,
    /// Records that it has taken.
    pub sent: u64,
    /// Records that it refused, each by itself.
    pub refused: u64,
    /// Records that went out without something that was disposed of before.
    pub erased: u64,
    /// Leaves whose record was gone.
    pub missing: u64,
}

/// The file of a destination.
pub(super) fn path(data: &Path, name: &str) -> PathBuf {
    data.join("forward").join(format!("{name}.json"))
}

impl Cursor {
    /// `None` if nothing was ever sent to the destination.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let bytes = match RealDisk.read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("reading {}", path.display()))?,
        };
        let read = serde_json::from_slice(&bytes).with_context(|| {
            format!("{} is damaged; remove it, and what `from` of the destination says is sent again", path.display())
        });
        read.map(Some)
    }

    /// Refuses the place in another log, or behind the end of this one.
    pub(super) fn check(&self, path: &Path, origin: &str, size: u64) -> anyhow::Result<()> {
        let Self { origin: of, next, .. } = self;
        let path = path.display();
        ensure!(
            of == origin,
            "{path} is a place in the log {of}, and this one is {origin}; remove it if that is right"
        );
        ensure!(
            *next <= size,
            "{path} says that {next} records were sent, and the log has {size}: it was put back to an older state. \
             Put the newest copy of the data folder back, or remove that file if nothing is missing"
        );
        Ok(())
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let write = || {
            path.parent().map_or(Ok(()), |folder| RealDisk.create_dir(folder))?;
            RealDisk.replace(path, &serde_json::to_vec(self)?, 0o600)
        };
        write().with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_in_its_own_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "siem");
        assert_eq!(Cursor::read(&path).unwrap(), None);
        let cursor = Cursor { origin: "a".into(), next: 5, before: 3, sent: 4, ..Cursor::default() };
        cursor.write(&path).unwrap();
        assert_eq!(Cursor::read(&path).unwrap(), Some(cursor.clone()));
        cursor.check(&path, "a", 5).unwrap();
        let problem = |origin, size| format!("{:#}", cursor.check(&path, origin, size).unwrap_err());
        assert!(problem("b", 5).contains("is a place in the log a, and this one is b"), "{}", problem("b", 5));
        assert!(problem("a", 4).contains("put back to an older state"), "{}", problem("a", 4));
        std::fs::write(&path, "{").unwrap();
        assert!(format!("{:#}", Cursor::read(&path).unwrap_err()).contains("is damaged; remove it"));
    }
}
