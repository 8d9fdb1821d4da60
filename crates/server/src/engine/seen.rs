//! What a verification needs to know of a record, so that its contents are let go of on the thread that reads them.

use onrecord_ledger::Committed;
use onrecord_proof::{Group, GroupSet, GroupState, Hash};
use uuid::Uuid;

/// What was seen of a record.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub index: u64,
    pub id: Uuid,
    /// Its leaf hash, computed from its contents.
    pub leaf: Hash,
    /// The groups that it has, with their values.
    pub open: GroupSet,
    /// Those that were erased, and by which disposal.
    pub erased: Vec<(Group, Uuid)>,
}

impl Seen {
    pub(super) fn of(committed: &Committed) -> Self {
        let Committed { index, record, .. } = committed;
        let erased = |(group, state): (Group, &GroupState)| match state {
            GroupState::Erased { disposal, .. } => Some((group, *disposal)),
            GroupState::Open(_) => None,
        };
        let is_open = |(group, state): (Group, &GroupState)| matches!(state, GroupState::Open(_)).then_some(group);
        Self {
            index: *index,
            id: record.id,
            leaf: committed.leaf().hash(),
            open: record.groups().filter_map(is_open).collect(),
            erased: record.groups().filter_map(erased).collect(),
        }
    }
}
