//! The table's folder as a prefix of a bucket. An object is there whole or not at all, and durable once the store has
//! answered; a commit is put on the condition that nobody else has put that version.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use futures::{TryStreamExt, future};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart};
use sha2::{Digest, Sha256};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::connect::connect;
use super::file::NewFile;
use super::{Sha, Storage};
use crate::error::{Error, Result};

/// Bytes of one request. Of a larger file, so many are sent or read at a time, and again if that fails.
const PART: usize = 8 << 20;
/// Parts of a file that are sent at the same time.
const PARTS_AT_ONCE: usize = 2;

/// A prefix of a bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    url: Url,
    whole: Arc<dyn ObjectStore>,
    /// The same from the table's prefix on.
    store: Arc<dyn ObjectStore>,
    drafts: PathBuf,
    /// What is replaced or removed stays there as an older version.
    is_versioned: AtomicBool,
    /// Where connections live: longer than whoever asks, and never behind the work of a thread of low priority.
    threads: Option<Runtime>,
}

impl Bucket {
    /// The prefix that `url` names. Files are written in the folder `drafts` before they go there.
    pub(crate) fn connect(url: &Url, drafts: PathBuf) -> Result<Self> {
        let io = |source| Error::Io { path: "the thread for the object store".into(), source };
        let threads =
            Builder::new_multi_thread().worker_threads(1).thread_name("lake-store").enable_all().build().map_err(io)?;
        let wrong = |source| Error::store(url, source);
        let connected = connect(url, threads.handle()).and_then(|bucket| Ok((bucket, prefix(url)?)));
        match connected {
            Ok((bucket, prefix)) => {
                let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&bucket), prefix));
                let (url, is_versioned) = (url.clone(), AtomicBool::new(false));
                Ok(Self { url, whole: bucket, store, drafts, is_versioned, threads: Some(threads) })
            }
            Err(error) => {
                // A runtime must not be dropped where others work.
                threads.shutdown_background();
                Err(wrong(error))
            }
        }
    }

    fn error(&self, path: &str) -> impl FnOnce(StoreError) -> Error {
        let place = self.place(path);
        move |source| Error::store(place, source)
    }

    /// Sends a file in one request, or a large one in parts, of which the object is made when all are there.
    async fn upload(&self, draft: &std::path::Path, size: u64, path: &str) -> Result<()> {
        let (object, part) = (Path::from(path), PART as u64);
        let read = |from: u64| chunk(draft, from, PART.min((size - from) as usize));
        if size <= part {
            return self.store.put(&object, read(0)?.into()).await.map(drop).map_err(self.error(path));
        }
        let upload = self.store.put_multipart(&object).await.map_err(self.error(path))?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART);
        for from in (0..size).step_by(PART) {
            let sent = parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(self.error(path));
            match sent.and_then(|()| read(from)) {
                Ok(bytes) => parts.put(bytes),
                Err(error) => {
                    // What was sent of it costs money until a rule of the bucket removes it, if this fails too.
                    drop(parts.abort().await);
                    return Err(error);
                }
            }
        }
        parts.finish().await.map(drop).map_err(self.error(path))
    }
}

#[async_trait::async_trait]
impl Storage for Bucket {
    fn place(&self, path: &str) -> String {
        if path.is_empty() { self.url.to_string() } else { format!("{}/{path}", self.url) }
    }

    fn is_there(&self) -> bool {
        true
    }

    fn create(&self) -> Result<()> {
        Ok(())
    }

    async fn files(&self, start: &str) -> Result<Vec<String>> {
        let listed = match start.rsplit_once('/') {
            None => self.store.list(None),
            // Names are listed in their order, so those before the first one need not be.
            Some((folder, _)) => {
                let before = Path::from(&start[..start.len() - 1]);
                self.store.list_with_offset(Some(&Path::from(folder)), &before)
            }
        };
        let listed = listed.map_ok(|object| object.location.to_string());
        let listed = listed.try_filter(|path| future::ready(path.starts_with(start)));
        let mut files: Vec<_> = listed.try_collect().await.map_err(self.error(start))?;
        files.sort();
        Ok(files)
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        match self.store.get(&Path::from(path)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(self.error(path)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error(path)(error)),
        }
    }

    async fn digest(&self, path: &str) -> Result<Option<(u64, Sha)>> {
        let object = Path::from(path);
        let found = match self.store.get(&object).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.error(path)(error)),
        };
        let (size, part) = (found.meta.size, PART as u64);
        if size <= part {
            let bytes = found.bytes().await.map_err(self.error(path))?;
            return Ok(Some((size, Sha256::digest(&bytes).into())));
        }
        drop(found);
        let mut hash = Sha256::new();
        for start in (0..size).step_by(PART) {
            let end = size.min(start + part);
            hash.update(self.store.get_range(&object, start..end).await.map_err(self.error(path))?);
        }
        Ok(Some((size, hash.finalize().into())))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.store.put(&Path::from(path), bytes.into()).await.map(drop).map_err(self.error(path))
    }

    fn begin(&self, path: &str) -> Result<NewFile> {
        NewFile::create(&self.drafts.join(path.replace('/', "-")))
    }

    async fn finish(&self, file: NewFile, path: &str) -> Result<(u64, Sha)> {
        let (size, digest) = file.written();
        // With `file` the draft goes. It need not be kept for another try: the rows are still where they came from.
        self.upload(file.unfinished(), size, path).await?;
        Ok((size, digest))
    }

    async fn make_durable(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, path: &str) -> Result<()> {
        match self.store.delete(&Path::from(path)).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(path)(error)),
        }
    }

    fn delta_log(&self) -> Result<LogStoreRef> {
        let (store, bucket) = (Arc::clone(&self.store), Arc::clone(&self.whole));
        Ok(default_logstore(store, bucket, &self.url, &StorageConfig::default()))
    }

    /// Puts a file in its own place, which must be refused: a store that does not know the condition takes it. Looks at the
    /// same time whether the store keeps versions.
    async fn must_write_once(&self, written: &str) -> Result<()> {
        let object = Path::from(written);
        let found = self.store.get(&object).await.map_err(self.error(written))?;
        // Google Cloud Storage numbers objects in buckets without versions too.
        self.is_versioned.store(found.meta.version.is_some() && self.url.scheme() != "gs", Ordering::Relaxed);
        let bytes = found.bytes().await.map_err(self.error(written))?;
        match self.store.put_opts(&object, bytes.into(), PutOptions::from(PutMode::Create)).await {
            Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(self.error(written)(error)),
            Ok(_) => {
                let problem = "the store takes an object although there is one, so two writers could commit the same \
                               version; it must know conditional writes (If-None-Match)";
                Err(Error::corrupt(self.place(written), problem))
            }
        }
    }

    fn keeps_what_is_removed(&self) -> bool {
        self.is_versioned.load(Ordering::Relaxed)
    }

    fn at_once(&self) -> usize {
        16
    }
}

impl Drop for Bucket {
    /// Without waiting, which a runtime does that is dropped, and may not do inside of another.
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

fn prefix(url: &Url) -> object_store::Result<Path> {
    Ok(Path::from_url_path(url.path())?)
}

/// A piece of a file.
fn chunk(place: &std::path::Path, from: u64, bytes: usize) -> Result<Bytes> {
    let mut chunk = vec![0; bytes];
    let read = File::open(place).and_then(|file| file.read_exact_at(&mut chunk, from));
    read.map(|()| chunk.into()).map_err(Error::io(place))
}
