//! Erasure on request.

use std::sync::Arc;

use onrecord_lake::{Erased, LeafSet, Selection};
use onrecord_proof::{Group, GroupSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::{Access, Engine, Reading};
use super::carry_out::Rest;
use super::disposal::{Cause, record};
use super::retention::younger_than;
use super::{PAYLOAD, Refused, names};

/// Ranges of leaves that one disposal record names at most; more are split into several.
const RANGES: usize = 65_536;

/// A request for an erasure.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Erase {
    /// An SQL condition over the columns of `table`.
    #[serde(rename = "where")]
    pub condition: String,
    /// A view or `records`.
    #[serde(default = "interactions")]
    pub table: String,
    /// The groups to erase.
    pub fields: Vec<String>,
    pub reason: String,
    /// On whose behalf.
    #[serde(default)]
    pub by: Option<String>,
    /// Only count.
    #[serde(default)]
    pub dry_run: bool,
}

pub(crate) fn interactions() -> String {
    "interactions".to_owned()
}

/// What an erasure has done, or would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Outcome {
    pub dry_run: bool,
    /// The records that the condition means and that still had one of the groups.
    pub records: u64,
    pub groups: Vec<String>,
    /// Bytes of their bodies, as they went over the wire.
    pub payload_bytes: u64,
    /// Leaves of the disposal records; empty if there was nothing to erase.
    pub disposals: Vec<u64>,
    /// Data files that were written again.
    pub files: usize,
    /// Their bytes before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// The table is in a bucket that keeps versions: the old files are in it until a rule of the bucket removes them.
    pub old_versions_stay: bool,
}

/// The groups of these names.
pub(super) fn groups_of(fields: &[String]) -> Result<Vec<Group>, Refused> {
    let all = || Group::ALL.map(Group::name).join(", ");
    let one = |name: &String| {
        let unknown = || Refused::Wrong(format!("there is no group {name:?}; there are {}", all()));
        Group::from_name(name.trim()).ok_or_else(unknown)
    };
    let groups: std::collections::BTreeSet<Group> = fields.iter().map(one).collect::<Result<_, _>>()?;
    if groups.is_empty() {
        return Err(Refused::Wrong(format!("name what is to be erased, of {}", all())));
    }
    Ok(groups.into_iter().collect())
}

impl Engine {
    /// Erases groups of records, or says what it would erase. Refused while one of the records is under a legal hold, or
    /// younger than the floor of the retention policy.
    pub(crate) async fn erase(self: &Arc<Self>, reading: &Reading, ask: &Erase) -> anyhow::Result<Outcome> {
        let groups = groups_of(&ask.fields)?;
        if ask.reason.trim().is_empty() {
            return Err(Refused::Wrong("an erasure needs a reason, which goes on record with it".into()).into());
        }
        let statement = format!("{} FROM {} WHERE {}", names(&groups), ask.table, ask.condition);
        self.accessed(reading, Access { event: "erase_plan", statement: &statement }, None).await?;
        let one = self.disposing.lock().await;
        let set: GroupSet = groups.iter().copied().collect();
        let selection = self.lake.select(&ask.table, &ask.condition, set, &LeafSet::default()).await?;
        let mut outcome = Outcome::of(&selection, &groups, ask.dry_run);
        outcome.old_versions_stay = self.lake.keeps_what_is_removed();
        self.check_floor(&selection.leaves, &groups).await?;
        if let Some(held) = self.held(&selection.leaves).await? {
            return Err(held.into());
        }
        if ask.dry_run || selection.leaves.is_empty() {
            return Ok(outcome);
        }
        let cause = Cause {
            event: "erase",
            table: &ask.table,
            condition: &ask.condition,
            reason: &ask.reason,
            requested_by: ask.by.as_deref(),
            rule: None,
        };
        let rest = self.erase_in_parts(reading, cause, &selection, &groups, &mut outcome).await?;
        drop(one);
        rest.done().await?;
        Ok(outcome)
    }

    /// Whoever calls this holds `disposing`.
    pub(super) async fn erase_in_parts(
        self: &Arc<Self>,
        reading: &Reading,
        cause: Cause<'_>,
        selection: &Selection,
        groups: &[Group],
        outcome: &mut Outcome,
    ) -> anyhow::Result<Rest> {
        let mut rest = Rest::default();
        for leaves in selection.leaves.in_parts(RANGES) {
            let ids: &[Uuid] = if leaves == selection.leaves { &selection.ids } else { &[] };
            let (disposal, erased, more) = self.dispose(record(reading, cause, &leaves, ids, groups)).await?;
            outcome.add(disposal.leaf_index, erased);
            rest.add(more);
        }
        Ok(rest)
    }

    /// The floor holds for whoever asks: it can be lowered only where the policy is written.
    async fn check_floor(&self, leaves: &LeafSet, groups: &[Group]) -> anyhow::Result<()> {
        let Some(policy) = &self.retention else { return Ok(()) };
        let metadata = groups.iter().any(|group| !PAYLOAD.contains(group));
        let payload = groups.iter().any(|group| PAYLOAD.contains(group));
        let floors = [(payload, policy.floor_payload, "payload"), (metadata, policy.floor_metadata, "metadata")];
        for (_, days, what) in floors.into_iter().filter(|(concerned, days, _)| *concerned && *days > 0) {
            let young = self.lake.select_any("records", &younger_than(days, onrecord_ledger::now())).await?;
            let records = leaves.and(&young).len();
            if records > 0 {
                return Err(Refused::Floor { records, days, what, policy: policy.source.clone() }.into());
            }
        }
        Ok(())
    }
}

impl Outcome {
    pub(super) fn of(selection: &Selection, groups: &[Group], dry_run: bool) -> Self {
        Self {
            dry_run,
            records: selection.leaves.len(),
            groups: groups.iter().map(|group| group.name().to_owned()).collect(),
            payload_bytes: selection.bytes,
            disposals: Vec::new(),
            files: 0,
            bytes_before: 0,
            bytes_after: 0,
            old_versions_stay: false,
        }
    }

    fn add(&mut self, leaf: u64, erased: Erased) {
        self.disposals.push(leaf);
        self.files += erased.files;
        self.bytes_before += erased.bytes_before;
        self.bytes_after += erased.bytes_after;
    }
}
