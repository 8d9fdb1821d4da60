//! Erasure: the groups of records and their salts gone from the data files.

use std::sync::Arc;
use std::time::Duration;

use onrecord_ledger::Committed;
use onrecord_proof::{Group, GroupSet};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::leaves::LeafSet;
use crate::rewrite::{Change, Rewritten};
use crate::selection::any_open;

/// How often a look is taken whether the last reader of a replaced file has ended.
const LOOK: Duration = Duration::from_millis(20);

/// What an erasure has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Records of which something was erased now, and not before.
    pub records: u64,
    /// Data files that were written again.
    pub files: usize,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes after.
    pub bytes_after: u64,
}

impl Lake {
    /// Erases `groups`, as far as they are there, from the records of `leaves`, which must be committed; `disposal` is the
    /// record that says why. Hot rows are sealed first.
    ///
    /// When this returns, the values and the salts are gone from the lake: data files were written again without them, and
    /// the old ones were removed, for which it waits until nobody reads them. The log is told to let go of its segments.
    /// What was erased before, by this disposal or another, stays as it is, so that an erasure that was cut off can be
    /// done again.
    pub async fn erase(&self, leaves: &LeafSet, groups: GroupSet, disposal: Uuid) -> Result<Erased> {
        let (lake, leaves) = (self.clone(), leaves.clone());
        let work = async move { lake.erase_here(&leaves, groups, disposal).await };
        self.inner.engine.spawn(work).await
    }

    async fn erase_here(&self, leaves: &LeafSet, groups: GroupSet, disposal: Uuid) -> Result<Erased> {
        while self.inner.versions.current().cursor < leaves.end() {
            if self.seal().await?.is_none() {
                return Err(Error::corrupt("an erasure", format!("leaf {} is not committed", leaves.end() - 1)));
            }
        }
        let rewriting = self.inner.rewriting.lock().await;
        self.clear_leftovers().await?;
        let sealed = self.inner.versions.current();
        let files: Vec<_> = sealed.own_files().iter().filter(|f| leaves.touches(&f.leaves)).map(Arc::clone).collect();
        drop(sealed);
        let mut done = Erased::default();
        for file in files {
            let rows = self.select_within(file.leaves.clone(), &any_open(groups)).await?.and(leaves);
            if rows.is_empty() {
                continue;
            }
            let records = rows.len();
            let mut change = Erase { rows, groups, disposal };
            let Rewritten { bytes, .. } = self.rewrite(std::slice::from_ref(&file), &mut change).await?;
            done.records += records;
            done.files += 1;
            done.bytes_before += file.size;
            done.bytes_after += bytes;
        }
        drop(rewriting);
        self.inner.log.release(self.inner.versions.releasable());
        while self.remove_unread().await? > 0 {
            tokio::time::sleep(LOOK).await;
        }
        Ok(done)
    }

    /// Seals everything that is committed now, on the threads for queries.
    pub async fn seal_all(&self) -> Result<()> {
        let (lake, until) = (self.clone(), self.inner.log.size());
        let work = async move {
            while lake.inner.versions.current().cursor < until && lake.seal().await?.is_some() {}
            Ok(())
        };
        self.inner.engine.spawn(work).await
    }

    /// Tells the log what it may let go of. Readers that have ended may have kept it from that.
    pub fn release(&self) {
        self.inner.log.release(self.inner.versions.releasable());
    }
}

/// Takes groups out of rows.
struct Erase {
    rows: LeafSet,
    groups: GroupSet,
    disposal: Uuid,
}

impl Change for Erase {
    fn change(&mut self, row: &mut Committed) {
        if self.rows.contains(row.index) {
            for group in Group::ALL.into_iter().filter(|group| self.groups.contains(*group)) {
                row.record.erase(group, self.disposal);
            }
        }
    }

    fn erases(&self) -> bool {
        true
    }
}
