//! The thread that puts data files together in the background, at the lowest priority.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot::{Sender, channel};

use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::sealer::{LOWEST, give_way};

/// How often a look is taken at what is due.
#[derive(Debug, Clone, Copy)]
pub struct CompactPolicy {
    /// The time between two looks.
    pub every: Duration,
}

impl Default for CompactPolicy {
    fn default() -> Self {
        Self { every: Duration::from_secs(30) }
    }
}

/// The compacting thread of a lake. Stops when it is dropped.
#[derive(Debug)]
pub struct Compactor {
    thread: Option<JoinHandle<()>>,
    stop: Option<Sender<()>>,
}

impl Compactor {
    /// Starts the thread.
    pub fn start(lake: Lake, policy: CompactPolicy) -> Result<Self> {
        let (stop, stopped) = channel();
        let no_thread = |source| Error::Io { path: "the compacting thread".into(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let run = move || {
            give_way(LOWEST);
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    () = work(&lake, policy) => {}
                }
            });
            // A read that is still under way on another thread is not waited for.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("lake-compactor".into()).spawn(run).map_err(no_thread)?;
        Ok(Self { thread: Some(thread), stop: Some(stop) })
    }

    /// Stops the thread, in the middle of its work if need be: what it leaves is what a crash would leave.
    pub fn stop(mut self) {
        self.join();
    }

    fn join(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the compacting thread of the lake failed");
        }
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.join();
    }
}

async fn work(lake: &Lake, policy: CompactPolicy) {
    loop {
        tokio::time::sleep(policy.every).await;
        if let Err(error) = compact_what_is_due(lake).await {
            tracing::error!(%error, "data files were not put together; trying again");
        }
    }
}

async fn compact_what_is_due(lake: &Lake) -> Result<()> {
    // Readers that have ended since the last time may have kept files.
    lake.remove_unread()?;
    while let Some(done) = lake.compact().await? {
        tracing::debug!(done.files, done.bytes_before, done.bytes, done.version, "put data files together");
    }
    Ok(())
}
