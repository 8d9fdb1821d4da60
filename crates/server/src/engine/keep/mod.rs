//! Keeping and disposing: erasure, retention, legal holds. Each disposal is a record of the log before anything goes, and
//! the log itself says how far it must get: what a crash interrupts is completed from the record at the next start.

mod carry_out;
mod disposal;
mod erase;
mod hold;
mod retention;

pub(in crate::engine) use carry_out::noted;
pub(crate) use disposal::{Disposal, LEAVES as DISPOSAL_LEAVES, disposals};
pub(crate) use erase::{Erase, Outcome, interactions};
pub(crate) use hold::{AddHold, Hold};
pub(crate) use retention::{PlanLine, Retention, Rule};

use onrecord_proof::Group;

/// Why something is not disposed of or held.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// A legal hold protects some of the records.
    #[error(
        "{records} of these records are under the legal hold {hold} ({reason}); nothing was erased. `onrecord hold release {hold}` ends it"
    )]
    Held { hold: uuid::Uuid, reason: String, records: u64 },
    /// The policy's floor protects some of the records.
    #[error(
        "{records} of these records are younger than {days} days, the floor for {what} in the retention policy {policy}; nothing was erased. Only that file can lower it"
    )]
    Floor { records: u64, days: u32, what: &'static str, policy: String },
    /// The request makes no sense.
    #[error("{0}")]
    Wrong(String),
    /// What it is about is not there.
    #[error("{0}")]
    Missing(String),
}

/// The groups that hold what was said; the others say who, when, with which model, how long and how it ended.
pub(crate) const PAYLOAD: [Group; 3] = [Group::Input, Group::Output, Group::Decisions];

/// The names of groups, for people.
fn names(groups: &[Group]) -> String {
    groups.iter().map(|group| group.name()).collect::<Vec<_>>().join(", ")
}
