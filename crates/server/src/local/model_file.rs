//! A model's file: its header, and its digest, which is computed in the background and kept in the data folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onrecord_capture::serving::gguf::{self, Header};
use onrecord_ledger::disk::{Disk as _, RealDisk};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

/// The niceness that gives way to everything else.
const NICE: i32 = 19;
/// Read at once while hashing, in bytes.
const CHUNK: usize = 1 << 20;
/// Files that are remembered.
const FILES_MAX: usize = 256;

/// What is known of a model's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModelFile {
    pub size: i64,
    /// `None` while it is computed.
    pub sha256: Option<[u8; 32]>,
    /// Empty if it is no GGUF.
    pub header: Header,
}

/// A version of a file: whoever changes its contents changes one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Version {
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    version: Version,
    sha256: [u8; 32],
}

type Digests = BTreeMap<PathBuf, Known>;

/// The digests in a file, and the SHA-256 of these as JSON: a damaged one would go on record as that of a model.
#[derive(Serialize, Deserialize)]
struct Kept {
    files: Digests,
    sha256: [u8; 32],
}

impl Kept {
    fn new(files: Digests) -> serde_json::Result<Self> {
        let sha256 = Sha256::digest(serde_json::to_vec(&files)?).into();
        Ok(Self { files, sha256 })
    }

    /// What is in the file, if all of it is as it was written.
    fn read(bytes: &[u8]) -> Option<Digests> {
        let kept: Self = serde_json::from_slice(bytes).ok()?;
        let good = Self::new(kept.files).ok()?;
        (good.sha256 == kept.sha256).then_some(good.files)
    }
}

/// The digests of the files that were looked at.
#[derive(Debug)]
pub(crate) struct Files {
    cache: PathBuf,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    known: Digests,
    /// What a thread is hashing.
    busy: BTreeMap<PathBuf, Version>,
}

impl Version {
    fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some(Self { size: metadata.size(), modified: (metadata.mtime(), metadata.mtime_nsec()) })
    }
}

impl Files {
    /// With the digests that an earlier run has left in `cache`; without them, or if they are damaged, they are computed
    /// again.
    pub(crate) fn open(cache: PathBuf) -> Arc<Self> {
        let known = std::fs::read(&cache).ok().and_then(|bytes| Kept::read(&bytes)).unwrap_or_default();
        let state = Mutex::new(State { known, busy: BTreeMap::new() });
        Arc::new(Self { cache, state, news: Notify::new() })
    }

    /// A digest has been computed.
    pub(crate) async fn has_news(&self) {
        self.news.notified().await;
    }

    /// Looks at a file and waits at most `patience` for its digest. `None` if it cannot be read or is no file.
    pub(crate) async fn look(self: &Arc<Self>, path: &Path, patience: Duration) -> Option<ModelFile> {
        let owned = path.to_owned();
        let (version, header) = tokio::task::spawn_blocking(move || header(&owned)).await.ok()??;
        if self.digest(path, version).is_none() {
            self.compute(path, version);
            let deadline = tokio::time::Instant::now() + patience;
            while self.digest(path, version).is_none() && tokio::time::Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Some(ModelFile { size: i64::try_from(version.size).ok()?, sha256: self.digest(path, version), header })
    }

    fn digest(&self, path: &Path, version: Version) -> Option<[u8; 32]> {
        self.state().known.get(path).filter(|known| known.version == version).map(|known| known.sha256)
    }

    /// Hashes a file on a thread of lowest priority, unless one is at it.
    fn compute(self: &Arc<Self>, path: &Path, version: Version) {
        if self.state().busy.insert(path.to_owned(), version).is_some() {
            return;
        }
        let (files, hashed, path) = (Arc::clone(self), path.to_owned(), path);
        let hash = move || {
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%error, "hashing a model runs at the usual priority");
            }
            let digest = digest_of(&hashed, version);
            let mut state = files.state();
            state.busy.remove(&hashed);
            if let Some(sha256) = digest {
                state.known.insert(hashed, Known { version, sha256 });
                while state.known.len() > FILES_MAX {
                    state.known.pop_first();
                }
            }
            let saved = Kept::new(state.known.clone()).and_then(|kept| serde_json::to_vec(&kept));
            drop(state);
            if let Err(error) =
                saved.map_err(Into::into).and_then(|bytes| RealDisk.replace(&files.cache, &bytes, 0o600))
            {
                tracing::warn!(%error, "digests of models are not kept; they are computed again after a restart");
            }
            files.news.notify_one();
        };
        if let Err(error) = std::thread::Builder::new().name("model-digest".into()).spawn(hash) {
            tracing::warn!(%error, "no thread to hash a model; it is tried again with the next look");
            self.state().busy.remove(path);
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn header(path: &Path) -> Option<(Version, Header)> {
    let file = File::open(path).ok()?;
    Some((Version::of(&file)?, gguf::read(BufReader::with_capacity(64 << 10, file)).unwrap_or_default()))
}

/// `None` if the file cannot be read or changes meanwhile.
fn digest_of(path: &Path, version: Version) -> Option<[u8; 32]> {
    let mut file = File::open(path).ok()?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).ok()? {
            0 => break,
            len => hash.update(&chunk[..len]),
        }
    }
    (Version::of(&file) == Some(version)).then(|| hash.finalize().into())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_is_damaged_is_none() {
        let version = Version { size: 3, modified: (5, 7) };
        let files = Digests::from([("a/model".into(), Known { version, sha256: [118; 32] })]);
        let text = serde_json::to_string(&Kept::new(files).unwrap()).unwrap();
        assert_eq!(Kept::read(text.as_bytes()).unwrap()[Path::new("a/model")].sha256, [118; 32]);
        for (part, other) in [("118", "108"), ("model", "medel"), ("3", "2"), ("7", "6")] {
            assert!(Kept::read(text.replacen(part, other, 1).as_bytes()).is_none(), "{part}");
        }
    }

    #[tokio::test]
    async fn a_digest_is_computed_once_for_each_version_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (model, cache) = (folder.path().join("model"), folder.path().join("cache.json"));
        std::fs::write(&model, "one").unwrap();
        let patience = Duration::from_secs(30);
        let one: [u8; 32] = Sha256::digest("one").into();
        let files = Files::open(cache.clone());
        assert_eq!(files.look(&model, patience).await.unwrap().sha256, Some(one));
        files.has_news().await;
        // With no patience at all only what is known counts.
        let again = Files::open(cache);
        assert_eq!(again.look(&model, Duration::ZERO).await.unwrap().sha256, Some(one));
        std::fs::write(&model, "another").unwrap();
        assert_eq!(again.look(&model, patience).await.unwrap().sha256, Some(Sha256::digest("another").into()));
        assert_eq!(again.look(folder.path(), patience).await, None);
    }
}
