//! Carries a disposal out: from the record that orders it to the last byte that is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use onrecord_lake::Erased;
use onrecord_ledger::disk::{Disk, RealDisk};
use onrecord_proof::Record;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::super::Engine;
use super::Disposal;

/// Until a look is taken whether the log could let go of its segments; each time twice as long, up to [`LOOK_MAX`].
const LOOK: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_secs(5);

/// The folder with a file for each disposal that is not carried out yet, named by its id. It says where to look; what is
/// to be done stands in the record.
const FOLDER: &str = "disposing";

/// What is left of disposals once their rows are erased: the log lets go of its segments. It goes on by itself, and is
/// done when nothing is left anywhere.
#[derive(Default)]
#[must_use = "whoever asked for a disposal waits for it, without holding `disposing`"]
pub(super) struct Rest(Vec<JoinHandle<anyhow::Result<()>>>);

impl Rest {
    pub(super) fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(super) async fn done(self) -> anyhow::Result<()> {
        for work in self.0 {
            work.await??;
        }
        Ok(())
    }
}

impl Engine {
    /// Commits the record of a disposal and erases its rows; what follows is left to the [`Rest`]. In this order:
    ///
    /// 1. The note of its id. A crash after it leaves a note without a record, which the next start removes.
    /// 2. The record is durable. From here on nothing but its completion ends it: a crash leaves it to the next start.
    /// 3. The rows are sealed, their data files written again, the old ones gone: each of these can be done again.
    /// 4. The log's segments go, then the note. This waits for calls under way, which may take hours, so it is not done by
    ///    whoever holds `disposing`.
    pub(super) async fn dispose(self: &Arc<Self>, record: Record) -> anyhow::Result<(Disposal, Erased, Rest)> {
        let engine = Arc::clone(self);
        // A caller that goes away does not stop it half-way.
        let work = tokio::spawn(async move {
            engine.note(record.id)?;
            let receipt = engine.ledger.append(&record)?.await?;
            let committed =
                onrecord_ledger::Committed { index: receipt.index, committed_at: receipt.committed_at, record };
            let disposal = Disposal::of(&committed).context("the disposal does not say what it erases")?;
            let erased = engine.erase_rows(&disposal).await?;
            let (id, end) = (disposal.id, disposal.leaves.end());
            let rest = Rest(vec![tokio::spawn(async move { engine.let_go(id, end).await })]);
            Ok((disposal, erased, rest))
        });
        work.await?
    }

    async fn erase_rows(&self, disposal: &Disposal) -> anyhow::Result<Erased> {
        Ok(self.lake.erase(&disposal.leaves, disposal.group_set(), disposal.id).await?)
    }

    /// Waits until the log has let go of what a disposal erased, whose leaves end at `end`: nothing is left of it anywhere.
    async fn let_go(self: &Arc<Self>, disposal: Uuid, end: u64) -> anyhow::Result<()> {
        let (mut told, mut look) = (false, LOOK);
        loop {
            self.lake.release();
            let engine = Arc::clone(self);
            if tokio::task::spawn_blocking(move || engine.ledger.forget(end)).await?? {
                break;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!(%disposal, "waiting for calls and queries that still need the log's segments");
            }
            tokio::time::sleep(look).await;
            look = LOOK_MAX.min(2 * look);
            // A call that began in one of these segments may have ended since; its record needs them until it is sealed.
            self.lake.seal_all().await?;
        }
        self.forget_note(disposal)
    }

    /// Completes the disposals that an earlier run did not.
    pub(in crate::engine) async fn resume_disposals(self: &Arc<Self>) -> anyhow::Result<()> {
        let one = self.disposing.lock().await;
        let mut erased = Vec::new();
        for id in self.noted()? {
            let Some(committed) = self.lake.find(id).await? else {
                self.forget_note(id)?;
                continue;
            };
            let disposal = Disposal::of(&committed).with_context(|| format!("the record {id} is no disposal"))?;
            tracing::warn!(disposal = %id, records = disposal.leaves.len(), "completing a disposal that was interrupted");
            self.erase_rows(&disposal).await?;
            erased.push((id, disposal.leaves.end()));
        }
        drop(one);
        for (id, end) in erased {
            self.let_go(id, end).await?;
        }
        Ok(())
    }

    /// The ids of disposals that are not carried out yet.
    pub(in crate::engine) fn noted(&self) -> anyhow::Result<Vec<Uuid>> {
        noted(&self.dir)
    }

    fn note(&self, id: Uuid) -> anyhow::Result<()> {
        let folder = self.notes();
        let written = RealDisk.create_dir(&folder);
        let written = written.and_then(|()| RealDisk.replace(&folder.join(id.to_string()), b"\n", 0o600));
        written.with_context(|| format!("writing to {}", folder.display()))
    }

    fn forget_note(&self, id: Uuid) -> anyhow::Result<()> {
        let path = self.notes().join(id.to_string());
        match RealDisk.remove(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn notes(&self) -> PathBuf {
        self.dir.join(FOLDER)
    }
}

/// The ids of disposals that are not carried out yet in the folder `data`.
pub(in crate::engine) fn noted(data: &Path) -> anyhow::Result<Vec<Uuid>> {
    let folder = data.join(FOLDER);
    match RealDisk.list(&folder) {
        Ok(names) => Ok(names.iter().filter_map(|name| Uuid::try_parse(name).ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| folder.display().to_string()),
    }
}
