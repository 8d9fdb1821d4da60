//! Legal holds: what they cover cannot be erased, by request or by retention. A hold is a record of kind `system` with the
//! event `hold`; a record with the event `hold_release` that refers to it ends it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::TryStreamExt;
use onrecord_lake::LeafSet;
use onrecord_proof::{Group, Kind, Ref, Rel, field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::{Engine, Reading};
use super::Refused;
use super::disposal::{TABLE, record_by};

const ADDED: &str = "hold";
const RELEASED: &str = "hold_release";

/// A request for a hold.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddHold {
    /// An SQL condition over the columns of `table`. It also covers records that come later.
    #[serde(rename = "where")]
    pub condition: String,
    /// A view or `records`.
    #[serde(default = "super::erase::interactions")]
    pub table: String,
    pub reason: String,
    /// On whose behalf.
    #[serde(default)]
    pub by: Option<String>,
}

/// A hold that is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Hold {
    pub id: Uuid,
    pub leaf_index: u64,
    /// RFC 3339, UTC.
    pub since: String,
    pub table: String,
    #[serde(rename = "where")]
    pub condition: String,
    pub reason: String,
    pub principal: String,
    pub by: Option<String>,
}

impl Engine {
    /// Puts a hold on record. With the answer it is in force. Gives it, and how many records it covers now.
    pub(crate) async fn add_hold(&self, reading: &Reading, ask: &AddHold) -> anyhow::Result<(Hold, u64)> {
        if ask.reason.trim().is_empty() {
            return Err(Refused::Wrong("a hold needs a reason, which every refusal names".into()).into());
        }
        let _one = self.disposing.lock().await;
        let covered = self.lake.select_any(&ask.table, &ask.condition).await?.len();
        let mut record = record_by(Kind::System, ADDED, reading);
        record.set(&field::STATEMENT, ask.condition.as_str());
        record.set(&field::PURPOSE, ask.reason.as_str());
        record.set_named(Group::Context, TABLE, ask.table.as_str());
        if let Some(by) = &ask.by {
            record.set(&field::REQUESTED_BY, by.as_str());
        }
        let receipt = self.ledger.append(&record)?.await?;
        let since = crate::render::time(record.captured_at);
        let hold = Hold {
            id: record.id,
            leaf_index: receipt.index,
            since,
            table: ask.table.clone(),
            condition: ask.condition.clone(),
            reason: ask.reason.clone(),
            principal: reading.principal.clone(),
            by: ask.by.clone(),
        };
        Ok((hold, covered))
    }

    /// Ends a hold.
    pub(crate) async fn release_hold(&self, reading: &Reading, id: Uuid) -> anyhow::Result<Hold> {
        let _one = self.disposing.lock().await;
        let hold = self.holds().await?.into_iter().find(|hold| hold.id == id);
        let hold = hold.ok_or_else(|| Refused::Missing(format!("there is no hold {id} in force")))?;
        let mut record = record_by(Kind::System, RELEASED, reading);
        if let Some(purpose) = &reading.purpose {
            record.set(&field::PURPOSE, purpose.as_str());
        }
        record.refs = vec![Ref { rel: Rel::Supersedes, id }];
        self.ledger.append(&record)?.await?;
        Ok(hold)
    }

    /// The holds that are in force, oldest first.
    pub(crate) async fn holds(&self) -> anyhow::Result<Vec<Hold>> {
        let condition = format!("kind = 'system' AND onrecord_event IN ('{ADDED}', '{RELEASED}')");
        let leaves = self.lake.select_any("records", &condition).await?;
        let mut holds = BTreeMap::new();
        for range in leaves.ranges() {
            let mut records = self.lake.records(range.clone());
            while let Some(committed) = records.try_next().await? {
                let record = &committed.record;
                let text = |field| record.text(field).unwrap_or_default().to_owned();
                if record.text(&field::EVENT) == Some(RELEASED) {
                    record.refs.iter().for_each(|reference| drop(holds.remove(&reference.id)));
                    continue;
                }
                let table = record.group(Group::Context).and_then(|context| context.get(TABLE)?.as_text());
                let hold = Hold {
                    id: record.id,
                    leaf_index: committed.index,
                    since: crate::render::time(record.captured_at),
                    table: table.unwrap_or("records").to_owned(),
                    condition: text(&field::STATEMENT),
                    reason: text(&field::PURPOSE),
                    principal: text(&field::PRINCIPAL),
                    by: record.text(&field::REQUESTED_BY).map(str::to_owned),
                };
                holds.insert(record.id, hold);
            }
        }
        let mut holds: Vec<_> = holds.into_values().collect();
        holds.sort_by_key(|hold| hold.leaf_index);
        Ok(holds)
    }

    /// What each hold covers. A hold that cannot be evaluated covers nothing, so it is an error.
    pub(super) async fn covered(&self) -> anyhow::Result<Vec<(Hold, LeafSet)>> {
        let mut covered = Vec::new();
        for hold in self.holds().await? {
            let leaves = self.lake.select_any(&hold.table, &hold.condition).await;
            let leaves = leaves.with_context(|| format!("what the hold {} covers cannot be found out", hold.id))?;
            covered.push((hold, leaves));
        }
        Ok(covered)
    }

    /// The refusal by the first hold that covers one of `leaves`.
    pub(super) async fn held(&self, leaves: &LeafSet) -> anyhow::Result<Option<Refused>> {
        if leaves.is_empty() {
            return Ok(None);
        }
        let refusals = self.covered().await?.into_iter().filter_map(|(hold, covered)| {
            let records = leaves.and(&covered).len();
            (records > 0).then_some(Refused::Held { hold: hold.id, reason: hold.reason, records })
        });
        Ok(refusals.into_iter().next())
    }
}
