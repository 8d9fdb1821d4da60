//! The `disposal` record: what is erased, why, by whom. FORMAT.md section 4 says what it must hold.

use futures::TryStreamExt;
use onrecord_lake::{Lake, LeafSet};
use onrecord_ledger::Committed;
use onrecord_proof::{Group, GroupSet, Kind, Record, Ref, Rel, Value, field};
use uuid::Uuid;

use super::super::{Reading, new_record};

/// The field with the leaves of a disposal. It has no column: it can be long, and nobody filters by it.
pub(crate) const LEAVES: &str = "onrecord.disposal.leaves";
/// The field with the table that a condition is about.
pub(crate) const TABLE: &str = "onrecord.table";

/// What a disposal is about.
#[derive(Debug, Clone)]
pub(crate) struct Disposal {
    pub id: Uuid,
    /// Its own leaf.
    pub leaf_index: u64,
    pub leaves: LeafSet,
    pub groups: Vec<Group>,
    pub reason: String,
}

/// Why, besides the records themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cause<'a> {
    /// `erase` or `retention`.
    pub event: &'a str,
    pub table: &'a str,
    pub condition: &'a str,
    pub reason: &'a str,
    pub requested_by: Option<&'a str>,
    /// The rule, and the digest of the policy that it is from.
    pub rule: Option<(&'a str, &'a [u8; 32])>,
}

/// An empty record of that kind, done by `reading`.
pub(super) fn record_by(kind: Kind, event: &str, reading: &Reading) -> Record {
    let mut record = new_record(kind);
    record.set(&field::PRINCIPAL, reading.principal.as_str());
    if let Some(address) = &reading.address {
        record.set(&field::CLIENT_ADDRESS, address.as_str());
    }
    record.set(&field::EVENT, event);
    record
}

/// The record of a disposal. It refers to the records themselves as far as a record can have references.
pub(super) fn record(reading: &Reading, cause: Cause<'_>, leaves: &LeafSet, ids: &[Uuid], groups: &[Group]) -> Record {
    let mut record = record_by(Kind::Disposal, cause.event, reading);
    if let Some(by) = cause.requested_by {
        record.set(&field::REQUESTED_BY, by);
    }
    record.set(&field::STATEMENT, cause.condition);
    record.set(&field::PURPOSE, cause.reason);
    record.set(&field::DISPOSAL_GROUPS, groups.iter().map(|group| Value::from(group.name())).collect::<Vec<_>>());
    record.set(&field::DISPOSAL_RECORDS, leaves.len() as i64);
    if let Some((rule, policy)) = cause.rule {
        record.set(&field::RETENTION_RULE, rule);
        record.set(&field::POLICY_SHA256, policy.to_vec());
    }
    record.set_named(Group::Context, TABLE, cause.table);
    record.set_named(Group::Context, LEAVES, leaves.to_string());
    if leaves.len() <= ids.len() as u64 {
        record.refs = ids.iter().map(|id| Ref { rel: Rel::Subject, id: *id }).collect();
    }
    record
}

impl Disposal {
    /// Reads a disposal from its record; `None` if the record is no disposal or does not say what it erases.
    pub(crate) fn of(committed: &Committed) -> Option<Self> {
        let Committed { index, record, .. } = committed;
        if record.kind != Kind::Disposal {
            return None;
        }
        let leaves = record.group(Group::Context)?.get(LEAVES)?.as_text()?.parse().ok()?;
        let groups = record.get(&field::DISPOSAL_GROUPS)?.as_array()?;
        let groups = groups.iter().map(|name| Group::from_name(name.as_text()?)).collect::<Option<_>>()?;
        let reason = record.text(&field::PURPOSE).unwrap_or_default().to_owned();
        Some(Self { id: record.id, leaf_index: *index, leaves, groups, reason })
    }

    pub(crate) fn group_set(&self) -> GroupSet {
        self.groups.iter().copied().collect()
    }
}

/// Every disposal of the log, in its order.
pub(crate) async fn disposals(lake: &Lake) -> onrecord_lake::Result<Vec<Disposal>> {
    let leaves = lake.select_any("records", "kind = 'disposal'").await?;
    let mut found = Vec::new();
    for range in leaves.ranges() {
        let records: Vec<_> = lake.records(range.clone()).try_collect().await?;
        found.extend(records.iter().filter_map(Disposal::of));
    }
    Ok(found)
}
