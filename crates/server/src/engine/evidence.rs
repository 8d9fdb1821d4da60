//! Evidence about records, for somebody who trusts nothing but the log's public key.

use std::sync::Arc;

use futures::TryStreamExt as _;
use onrecord_ledger::Committed;
use onrecord_proof::evidence::{Evidence, Proved};
use onrecord_proof::{Group, GroupSet, GroupState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Access, Engine, Reading, Receipt, Refused, Wanted};

/// Records of one bundle at most. Each takes some hundred bytes besides what is revealed of it.
const RECORDS_MAX: u64 = 10_000;
/// Bytes of the records of one bundle at most: it is made in memory, in which it stands up to three times, once in Base64.
const BYTES_MAX: usize = 128 << 20;

/// What evidence is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prove {
    /// Ids or leaf indexes.
    #[serde(default)]
    pub records: Vec<String>,
    /// And the records that an SQL condition over the columns of `table` means.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// A view or `records`.
    #[serde(default = "super::interactions")]
    pub table: String,
    /// The groups to show.
    #[serde(default)]
    pub reveal: Vec<String>,
}

impl Engine {
    /// Evidence that records are in the log, under one checkpoint. Of the disposals that have erased something of them it
    /// shows the context: what they are about, and why. Also says if its checkpoint lacks cosignatures.
    pub(crate) async fn prove(
        self: &Arc<Self>,
        reading: &Reading,
        ask: &Prove,
    ) -> anyhow::Result<(Evidence, Option<String>)> {
        let reveal = groups(&ask.reveal)?;
        let records = self.wanted(ask).await?;
        can_reveal(&records, &reveal)?;
        let statement = format!("{} reveal={}", named(ask, &records), ask.reveal.join(","));
        self.accessed(reading, Access { event: "prove", statement: &statement }, Some(records.len() as i64)).await?;
        let disposals = self.disposals_of(&records).await?;
        let size = records.iter().chain(&disposals).map(|committed| committed.index + 1).max().unwrap_or_default();
        let receipt = self.receipt(size).await?.ok_or_else(|| Refused::Wrong("the log is empty".into()))?;
        let unwitnessed = receipt.unwitnessed.clone();
        let engine = Arc::clone(self);
        let made = move || engine.evidence(&records, reveal.into_iter().collect(), &disposals, &receipt);
        Ok((tokio::task::spawn_blocking(made).await??, unwitnessed))
    }

    /// The records that are meant, each once, in the order of the log.
    async fn wanted(&self, ask: &Prove) -> anyhow::Result<Vec<Committed>> {
        let mut found = Found::default();
        for text in &ask.records {
            let wanted: Wanted = text.parse().map_err(|problem: String| Refused::Wrong(problem))?;
            let none = || Refused::Missing(format!("there is no record {text}"));
            found.add(self.find(wanted).await?.ok_or_else(none)?)?;
        }
        if let Some(condition) = &ask.condition {
            let leaves = self.lake.select_any(&ask.table, condition).await?;
            found.check(leaves.len())?;
            for range in leaves.ranges() {
                let mut records = self.lake.records(range.clone());
                while let Some(committed) = records.try_next().await? {
                    found.add(committed)?;
                }
            }
        }
        if found.records.is_empty() {
            return Err(Refused::Missing("no record is meant; name ids, or a condition that some fulfil".into()).into());
        }
        found.records.sort_by_key(|committed| committed.index);
        found.records.dedup_by_key(|committed| committed.index);
        Ok(found.records)
    }

    /// The disposals that say why something of these records was erased.
    async fn disposals_of(&self, records: &[Committed]) -> onrecord_lake::Result<Vec<Committed>> {
        let groups = records.iter().flat_map(|committed| committed.record.groups());
        let erased = groups.filter_map(|(_, state)| match state {
            GroupState::Erased { disposal, .. } => Some(*disposal),
            GroupState::Open(_) => None,
        });
        let mut found = Vec::new();
        for disposal in erased.collect::<std::collections::BTreeSet<_>>() {
            found.extend(self.lake.find(disposal).await?);
        }
        // One that is to be proved itself is there already.
        found.retain(|disposal| !records.iter().any(|committed| committed.index == disposal.index));
        Ok(found)
    }

    pub(super) fn evidence(
        &self,
        records: &[Committed],
        reveal: GroupSet,
        disposals: &[Committed],
        receipt: &Receipt,
    ) -> anyhow::Result<Evidence> {
        let size = receipt.published.checkpoint.size;
        let proved: Vec<_> = records.iter().map(|committed| self.proved(committed, size)).collect::<Result<_, _>>()?;
        let mut evidence = Evidence::new(&receipt.published.note, &proved, reveal);
        for disposal in disposals {
            evidence = evidence.and(&self.proved(disposal, size)?, [Group::Context].into_iter().collect());
        }
        Ok(evidence.with_keys(&self.reader().keys()).with_timestamp(receipt.timestamp.clone()))
    }

    fn proved<'r>(&self, committed: &'r Committed, size: u64) -> Result<Proved<'r>, onrecord_ledger::Error> {
        let Committed { index, committed_at, record } = committed;
        let proof = self.reader().inclusion_proof(*index, size)?;
        Ok(Proved { index: *index, committed_at: *committed_at, record, proof })
    }
}

/// Records for a bundle, as long as it does not become too large.
#[derive(Default)]
struct Found {
    records: Vec<Committed>,
    bytes: usize,
}

impl Found {
    fn add(&mut self, committed: Committed) -> Result<(), Refused> {
        self.bytes += committed.record.to_bytes().len();
        self.records.push(committed);
        self.check(0)
    }

    fn check(&self, more: u64) -> Result<(), Refused> {
        let count = self.records.len() as u64 + more;
        if count > RECORDS_MAX || self.bytes > BYTES_MAX {
            let limits = format!("{RECORDS_MAX} records and {} MiB", BYTES_MAX >> 20);
            return Err(Refused::Wrong(format!(
                "that is more than one bundle takes, {limits}; ask for less at a time"
            )));
        }
        Ok(())
    }
}

fn groups(names: &[String]) -> Result<Vec<Group>, Refused> {
    let wanted = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    let one = |name| {
        let all = || Group::ALL.map(Group::name).join(", ");
        Group::from_name(name).ok_or_else(|| Refused::Wrong(format!("there is no group {name:?}; there are {}", all())))
    };
    wanted.map(one).collect()
}

/// What was asked for, for the record of the access.
fn named(ask: &Prove, records: &[Committed]) -> String {
    match (&ask.condition, records) {
        (Some(condition), _) => format!("FROM {} WHERE {condition}", ask.table),
        (None, [one]) => one.record.id.to_string(),
        (None, _) => ask.records.join(" "),
    }
}

/// Evidence that silently left out what was asked for would be mistaken for evidence that it is not there. Of several
/// records one at least must have the group: the others show by their leaves that they do not have it, or that it is
/// hidden, and by whom it was erased.
fn can_reveal(records: &[Committed], groups: &[Group]) -> Result<(), Refused> {
    let state = |committed: &Committed, group: Group| {
        let mut groups = committed.record.groups();
        groups.find(|(have, _)| *have == group).map(|(_, state)| matches!(state, GroupState::Open(_)))
    };
    let has = |group: &Group| records.iter().any(|committed| state(committed, *group) == Some(true));
    let Some(group) = groups.iter().find(|group| !has(group)) else { return Ok(()) };
    let erased = records.iter().any(|committed| state(committed, *group).is_some());
    let why = if erased { "it was erased" } else { "there is no such group" };
    let have: Vec<_> = Group::ALL.into_iter().filter(has).map(Group::name).collect();
    let have = if have.is_empty() { "nothing".to_owned() } else { have.join(", ") };
    let whose = match records {
        [one] => format!("record {}", one.record.id),
        several => format!("none of these {} records", several.len()),
    };
    Err(Refused::Wrong(format!("{whose} cannot reveal `{group}`: {why}; it has {have}")))
}
