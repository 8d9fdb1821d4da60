//! Noticing that a file has changed while the program runs.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a file is looked at, at most. It bounds how long a revoked token or an old certificate stays in use.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// What tells one version of a file from another. The change time moves with every write, rename and change of mode,
/// also when a copy keeps the modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// The file's present version; none if it cannot be looked at. A stamp is taken before the file is read, so that
    /// a change in between is found the next time.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self { inode: metadata.ino(), size: metadata.len(), changed })
    }
}

/// Lets one caller in each interval do something, without a lock.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Instant,
    /// Milliseconds after `start` from which somebody may go again.
    next: AtomicU64,
    interval: Duration,
}

impl Pace {
    /// The first turn comes one interval from now.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { start: Instant::now(), next: AtomicU64::new(interval.as_millis() as u64), interval }
    }

    /// True for the one caller whose turn it is.
    pub(crate) fn is_due(&self) -> bool {
        let now = self.start.elapsed().as_millis() as u64;
        let next = self.next.load(Ordering::Relaxed);
        let later = now + self.interval.as_millis() as u64;
        now >= next && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    #[test]
    fn one_turn_in_each_interval() {
        let pace = Pace::new(Duration::from_millis(50));
        assert!(!pace.is_due());
        std::thread::sleep(Duration::from_millis(60));
        assert!(pace.is_due());
        assert!(!pace.is_due());
    }

    #[test]
    fn every_change_is_a_new_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(Stamp::of(&path), None);
        std::fs::write(&path, "one").unwrap();
        let first = Stamp::of(&path);
        assert_eq!(Stamp::of(&path), first);
        let other = folder.path().join("other");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(Stamp::of(&path), first);
    }
}
