//! Verification of what was erased: each erased group names a disposal record that is about it, and what a disposal was
//! to erase is gone.

use std::collections::{HashMap, HashSet};

use onrecord_ledger::Committed;
use onrecord_proof::GroupState;
use uuid::Uuid;

use super::report::{Erasure, PROBLEMS_MAX, Report};
use super::{Disposal, Engine, disposals};

/// The disposals of a log, and how many records they have been found to have erased from.
pub(super) struct Erasures {
    disposals: Vec<Disposal>,
    at: HashMap<Uuid, usize>,
    records: Vec<u64>,
    /// Disposals that are being carried out.
    unfinished: HashSet<Uuid>,
}

impl Engine {
    /// Reads the disposals. Whether their records are those of the tree is found out with all others.
    pub(super) async fn erasures(&self) -> anyhow::Result<Erasures> {
        // In this order: a disposal that ends in between is looked at as one that is not finished.
        let unfinished = self.noted()?.into_iter().collect();
        let disposals = disposals(&self.lake).await?;
        let at = disposals.iter().enumerate().map(|(at, disposal)| (disposal.id, at)).collect();
        Ok(Erasures { records: vec![0; disposals.len()], disposals, at, unfinished })
    }
}

impl Erasures {
    /// Compares one record with what the disposals say.
    pub(super) fn record(&mut self, committed: &Committed, report: &mut Report) {
        let Committed { index, record, .. } = committed;
        let mut by = HashSet::new();
        for (group, state) in record.groups() {
            let GroupState::Erased { disposal, .. } = state else { continue };
            by.insert(*disposal);
            let problem = match self.at.get(disposal).map(|at| &self.disposals[*at]) {
                None => format!("its group {group} is erased, but the log has no disposal record {disposal}"),
                Some(told) if !told.leaves.contains(*index) || !told.groups.contains(&group) => {
                    format!("its group {group} is erased, but the disposal at leaf {} is not about it", told.leaf_index)
                }
                Some(_) => continue,
            };
            report.tampered += 1;
            report.problem("TAMPERED", format!("record {index} ({})", record.id), problem);
        }
        report.erased += u64::from(!by.is_empty());
        for at in by.iter().filter_map(|disposal| self.at.get(disposal)) {
            self.records[*at] += 1;
        }
        self.still_there(committed, report);
    }

    /// What was to be erased and is there still.
    fn still_there(&self, committed: &Committed, report: &mut Report) {
        let Committed { index, record, .. } = committed;
        let about = |disposal: &&Disposal| disposal.leaves.contains(*index) && !self.unfinished.contains(&disposal.id);
        for disposal in self.disposals.iter().filter(about) {
            for group in disposal.groups.iter().filter(|group| record.group(**group).is_some()) {
                let leaf = disposal.leaf_index;
                let problem =
                    format!("its group {group} is there, and the disposal at leaf {leaf} says that it is erased");
                report.problem("NOT ERASED", format!("record {index} ({})", record.id), problem);
            }
        }
    }

    pub(super) fn finish(self, report: &mut Report) {
        let all = self.disposals.into_iter().zip(self.records).rev().take(PROBLEMS_MAX);
        let erasure = |(disposal, records): (Disposal, u64)| Erasure {
            leaf: disposal.leaf_index,
            id: disposal.id.to_string(),
            records,
            groups: disposal.groups.iter().map(|group| group.name().to_owned()).collect(),
            reason: disposal.reason,
        };
        report.erasures = all.map(erasure).collect();
        report.erasures.reverse();
    }
}
