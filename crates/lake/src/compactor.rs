//! The thread that puts data files together in the background, at the lowest priority.

use std::time::Duration;

use crate::background::Background;
use crate::error::Result;
use crate::lake::Lake;

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
pub struct Compactor(Background);

impl Compactor {
    /// Starts the thread.
    pub fn start(lake: Lake, policy: CompactPolicy) -> Result<Self> {
        let work = move |stopped| async move {
            tokio::select! {
                biased;
                _ = stopped => {}
                () = work(&lake, policy) => {}
            }
        };
        Background::start("lake-compactor", work).map(Self)
    }

    /// Stops the thread, in the middle of its work if need be: what it leaves is what a crash would leave.
    pub fn stop(self) {
        drop(self.0);
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
    lake.remove_unread().await?;
    while let Some(done) = lake.compact().await? {
        tracing::debug!(done.files, done.bytes_before, done.bytes, done.version, "put data files together");
    }
    Ok(())
}
