//! Evidence about one record, for somebody who trusts nothing but the log's public key.

use onrecord_ledger::Committed;
use onrecord_proof::evidence::{Evidence, Proved};
use onrecord_proof::{Group, GroupSet, GroupState};

use super::Engine;

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
    /// Evidence that `committed` is in the log, under a checkpoint that covers it, with the groups in `reveal` shown.
    pub(crate) fn evidence(&self, committed: &Committed, reveal: &[Group]) -> Result<Evidence, NotProved> {
        for group in reveal {
            can_reveal(committed, *group)?;
        }
        let published = self.reader().checkpoint_now()?.ok_or(onrecord_ledger::Error::NotHere(committed.index))?;
        let proof = self.reader().inclusion_proof(committed.index, published.checkpoint.size)?;
        let proved =
            Proved { index: committed.index, committed_at: committed.committed_at, record: &committed.record, proof };
        let reveal: GroupSet = reveal.iter().copied().collect();
        Ok(Evidence::new(&published.note, &[proved], reveal))
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
