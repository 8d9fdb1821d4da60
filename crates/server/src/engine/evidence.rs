//! Evidence about one record, for somebody who trusts nothing but the log's public key.

use onrecord_ledger::Committed;
use onrecord_proof::evidence::{Evidence, Proved};
use onrecord_proof::{Group, GroupSet, GroupState};

use super::{Engine, Receipt};

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotProved {
    /// A group that was to be revealed is not there to reveal.
    #[error("record {id} cannot reveal `{group}`: {why}; it has {has}")]
    NotThere { id: String, group: Group, why: &'static str, has: String },
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] onrecord_ledger::Error),
}

impl Engine {
    /// The disposals that say why something of `committed` was erased.
    pub(crate) async fn disposals_of(&self, committed: &Committed) -> onrecord_lake::Result<Vec<Committed>> {
        let erased = committed.record.groups().filter_map(|(_, state)| match state {
            GroupState::Erased { disposal, .. } => Some(*disposal),
            GroupState::Open(_) => None,
        });
        let mut found = Vec::new();
        for disposal in erased.collect::<std::collections::BTreeSet<_>>() {
            found.extend(self.lake.find(disposal).await?);
        }
        Ok(found)
    }

    /// Evidence that `committed` is in the log, under the checkpoint of `receipt`, which covers it, with the groups in `reveal` shown. Of
    /// the `disposals` that have erased others of its groups it shows the context: what they are about, and why.
    pub(crate) fn evidence(
        &self,
        committed: &Committed,
        reveal: &[Group],
        disposals: &[Committed],
        receipt: &Receipt,
    ) -> Result<Evidence, NotProved> {
        for group in reveal {
            can_reveal(committed, *group)?;
        }
        let published = &receipt.published;
        let size = published.checkpoint.size;
        let reveal: GroupSet = reveal.iter().copied().collect();
        let mut evidence = Evidence::new(&published.note, &[self.proved(committed, size)?], reveal);
        for disposal in disposals {
            evidence = evidence.and(&self.proved(disposal, size)?, [Group::Context].into_iter().collect());
        }
        Ok(evidence.with_keys(&self.reader().keys()))
    }

    fn proved<'r>(&self, committed: &'r Committed, size: u64) -> Result<Proved<'r>, NotProved> {
        let Committed { index, committed_at, record } = committed;
        let proof = self.reader().inclusion_proof(*index, size)?;
        Ok(Proved { index: *index, committed_at: *committed_at, record, proof })
    }
}

/// Evidence that silently left out what was asked for would be mistaken for evidence that it is not there.
fn can_reveal(committed: &Committed, group: Group) -> Result<(), NotProved> {
    let state = committed.record.groups().find(|(have, _)| *have == group).map(|(_, state)| state);
    let why = match state {
        Some(GroupState::Open(_)) => return Ok(()),
        Some(GroupState::Erased { .. }) => "it was erased",
        None => "the record has no such group",
    };
    let has = committed.record.groups().map(|(group, _)| group.name()).collect::<Vec<_>>().join(", ");
    Err(NotProved::NotThere { id: committed.record.id.to_string(), group, why, has })
}
