//! The thread that seals in the background, at the lowest priority.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot::Receiver;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::timeout;

use crate::background::Background;
use crate::error::{Error, Result};
use crate::lake::Lake;

/// So many records since the last look, and calls need the machine more than sealing does: some hundred a second keep a
/// small model busy.
const BUSY: u64 = 1000;
/// Then so many times as much may wait. Queries read it from the log meanwhile, so it is a few hundred MiB at most.
const PUT_OFF: u64 = 8;
/// After a seal that failed, the next one waits for so long.
const PAUSE: Duration = Duration::from_secs(10);

/// When hot rows are sealed: as soon as one of the limits is reached.
#[derive(Debug, Clone, Copy)]
pub struct SealPolicy {
    /// So many rows are waiting.
    pub rows: u64,
    /// About so many bytes are waiting.
    pub bytes: u64,
    /// The oldest one was committed so long ago.
    pub age: Duration,
    /// How often that is looked at.
    pub every: Duration,
}

impl SealPolicy {
    /// While calls need the machine, more may wait; the age limit stays.
    fn put_off(self) -> Self {
        Self { rows: self.rows.saturating_mul(PUT_OFF), bytes: self.bytes.saturating_mul(PUT_OFF), ..self }
    }
}

impl Default for SealPolicy {
    fn default() -> Self {
        Self { rows: 32_768, bytes: 32 << 20, age: Duration::from_mins(1), every: Duration::from_secs(1) }
    }
}

/// The sealing thread of a lake. Stops when it is dropped.
#[derive(Debug)]
pub struct Sealer(Background);

impl Sealer {
    /// Starts the thread.
    pub fn start(lake: Lake, policy: SealPolicy) -> Result<Self> {
        let work = move |stopped| async move { work(&lake, policy, stopped).await };
        Background::start("lake-sealer", work).map(Self)
    }

    /// Stops the thread, after the file that it may be writing. Blocks so long.
    pub fn stop(self) {
        drop(self.0);
    }
}

pub(crate) async fn work(lake: &Lake, policy: SealPolicy, mut stopped: Receiver<()>) {
    let mut pause = policy.every;
    let mut oldest = Oldest::default();
    let mut size = lake.inner.log.size();
    // What has been told to stop between two files must not wait for that again.
    while !stopped.is_terminated() && timeout(pause, &mut stopped).await.is_err() {
        let before = std::mem::replace(&mut size, lake.inner.log.size());
        let now = if size - before > BUSY { policy.put_off() } else { policy };
        let done = seal_what_is_due(lake, now, &mut oldest, &mut stopped).await;
        lake.note_seal(&done);
        pause = match done {
            Ok(()) => policy.every,
            Err(error) => {
                tracing::error!(%error, "sealing failed, trying again; the records stay in the log meanwhile");
                PAUSE.max(policy.every)
            }
        };
    }
}

async fn seal_what_is_due(
    lake: &Lake,
    policy: SealPolicy,
    oldest: &mut Oldest,
    stopped: &mut Receiver<()>,
) -> Result<()> {
    // Readers that have ended since the last seal may have kept segments.
    lake.inner.log.release(lake.inner.versions.releasable());
    while is_due(lake, policy, oldest)? {
        if let Some(seal) = lake.seal().await? {
            tracing::debug!(seal.from, seal.until, seal.bytes, seal.version, "sealed");
        }
        if stopped.try_recv() != Err(TryRecvError::Empty) {
            break;
        }
    }
    Ok(())
}

/// The oldest hot row: its leaf index and its time of commit.
#[derive(Debug, Default)]
struct Oldest(Option<(u64, i64)>);

impl Oldest {
    fn committed_at(&mut self, lake: &Lake, cursor: u64) -> Result<i64> {
        if let Some((index, at)) = self.0
            && index == cursor
        {
            return Ok(at);
        }
        let rows = lake.inner.log.read(cursor, cursor + 1, 1).map_err(Error::Log)?;
        let at = rows.first().map_or(0, |row| row.committed_at);
        self.0 = Some((cursor, at));
        Ok(at)
    }
}

fn is_due(lake: &Lake, policy: SealPolicy, oldest: &mut Oldest) -> Result<bool> {
    let cursor = lake.inner.versions.current().cursor;
    let log = &lake.inner.log;
    let rows = log.size().saturating_sub(cursor);
    if rows == 0 {
        return Ok(false);
    }
    Ok(rows >= policy.rows
        || log.bytes_from(cursor) >= policy.bytes
        || age(oldest.committed_at(lake, cursor)?) >= policy.age)
}

fn age(committed_at: i64) -> Duration {
    let then = UNIX_EPOCH + Duration::from_micros(committed_at.max(0) as u64);
    SystemTime::now().duration_since(then).unwrap_or_default()
}
