//! What others have seen of the log: a copy of its last checkpoint on other storage, and witnesses that cosign its
//! checkpoints, and an authority that stamps their time. The first two are asked before the log is written to, so that a folder that was put back to an older state is
//! refused.

mod anchor;
mod witnesses;

use std::sync::Arc;
use std::time::Duration;

use onrecord_ledger::{Found, Reader};
use tokio_util::sync::CancellationToken;

use crate::timestamp::Timestamps;

pub(crate) use anchor::Anchor;
pub(crate) use witnesses::{WitnessSettings, Witnesses};

/// Those outside that this log has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outside {
    pub anchor: Option<Arc<Anchor>>,
    pub witnesses: Option<Arc<Witnesses>>,
    pub timestamps: Option<Arc<Timestamps>>,
    /// Whether witnesses are asked when the log is opened. A command on a stopped folder does not wait for them.
    pub ask_first: bool,
}

impl Outside {
    /// Refuses a log that is behind what others have seen of it.
    pub(crate) async fn check(&self, found: &Found) -> anyhow::Result<()> {
        if let Some(anchor) = &self.anchor {
            anchor.check(found).await?;
        }
        if let Some(witnesses) = &self.witnesses {
            witnesses.begin(found.cosigned().as_ref()).await;
            if self.ask_first {
                witnesses.check(found).await?;
            }
        }
        Ok(())
    }

    /// Shows new checkpoints to those outside until it is told to stop.
    pub(crate) fn tasks(&self, reader: &Reader, stop: &CancellationToken) -> Vec<impl Future<Output = ()> + use<>> {
        let each = |every: Duration, who: Who| follow(reader.clone(), every, stop.clone(), who);
        let anchor = self.anchor.clone().map(|anchor| each(anchor.every, Who::Anchor(anchor)));
        let witnesses = self.witnesses.clone().map(|all| each(all.every, Who::Witnesses(all)));
        let timestamps = self.timestamps.clone().map(|all| each(all.every, Who::Timestamps(all)));
        anchor.into_iter().chain(witnesses).chain(timestamps).collect()
    }
}

/// How long after the start those outside are shown a checkpoint, at most.
const SOON: Duration = Duration::from_secs(2);

enum Who {
    Anchor(Arc<Anchor>),
    Witnesses(Arc<Witnesses>),
    Timestamps(Arc<Timestamps>),
}

/// A checkpoint is durable here before anybody else sees it: it is read from what was published.
async fn follow(reader: Reader, every: Duration, stop: CancellationToken, who: Who) {
    // The first time soon: a log that never runs for long would else be shown to nobody.
    let mut wait = every.min(SOON);
    while tokio::time::timeout(wait, stop.cancelled()).await.is_err() {
        wait = every;
        let Some(last) = reader.checkpoint() else { continue };
        match &who {
            Who::Anchor(anchor) => anchor.keep(&last).await,
            // Evidence has one checkpoint, so it is best if it is the one that is cosigned too.
            Who::Timestamps(timestamps) => timestamps.stamp_if_new(reader.cosigned().unwrap_or(last)).await,
            Who::Witnesses(witnesses) => drop(witnesses.round_if_new(&reader, last).await),
        }
    }
}
