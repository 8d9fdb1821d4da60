//! Verification of what was erased: each erased group names a disposal record that is about it, and what a disposal was
//! to erase is gone.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::path::Path;

use futures::TryStreamExt as _;
use onrecord_lake::Lake;
use onrecord_proof::Group;
use uuid::Uuid;

use super::report::{Erasure, PROBLEMS_MAX, Report, place};
use super::seen::Seen;
use super::{Disposal, disposals, keep};

/// So much is looked at once more at the end; what is beyond counts as it was seen.
const DOUBTS: usize = 1 << 16;

/// The disposals of a log, and how many records they have been found to have erased from.
pub(super) struct Erasures {
    disposals: Vec<Disposal>,
    at: HashMap<Uuid, usize>,
    records: Vec<u64>,
    about: About,
    /// Disposals that are being carried out.
    unfinished: HashSet<Uuid>,
    /// What a disposal that began, or ended, in the meantime may explain.
    doubts: Vec<Doubt>,
}

/// Something that is wrong unless a disposal has changed it while the records were read.
struct Doubt {
    index: u64,
    id: Uuid,
    group: Group,
    disposal: Uuid,
    is_there: bool,
}

fn unknown(group: Group, disposal: &Uuid) -> String {
    format!("its group {group} is erased, but the log has no disposal record {disposal} about it")
}

fn not_erased(group: Group, leaf: u64) -> String {
    format!("its group {group} is there, and the disposal at leaf {leaf} says that it is erased")
}

/// Which disposals are about a record, for records in the order of the log: none is looked at before its next leaf comes.
#[derive(Debug, Default)]
struct About {
    /// Of each disposal that has leaves still to come, the first of its next range, itself and which range that is.
    coming: BinaryHeap<Reverse<(u64, usize, usize)>>,
    /// Disposals that are about the record before this one, each with its range.
    now: Vec<(usize, usize)>,
}

impl About {
    fn new(disposals: &[Disposal]) -> Self {
        let mut about = Self::default();
        (0..disposals.len()).for_each(|at| about.await_range(disposals, at, 0));
        about
    }

    fn await_range(&mut self, disposals: &[Disposal], disposal: usize, range: usize) {
        if let Some(leaves) = disposals[disposal].leaves.ranges().get(range) {
            self.coming.push(Reverse((leaves.start, disposal, range)));
        }
    }

    /// The disposals about record `index`, which is not before that of the last call.
    fn record(&mut self, disposals: &[Disposal], index: u64) -> impl Iterator<Item = usize> {
        let over = |(disposal, range): &mut (usize, usize)| disposals[*disposal].leaves.ranges()[*range].end <= index;
        for (disposal, range) in self.now.extract_if(.., over).collect::<Vec<_>>() {
            self.await_range(disposals, disposal, range + 1);
        }
        while let Some(Reverse((start, disposal, range))) = self.coming.peek().copied()
            && start <= index
        {
            self.coming.pop();
            if disposals[disposal].leaves.ranges()[range].end > index {
                self.now.push((disposal, range));
            } else {
                self.await_range(disposals, disposal, range + 1);
            }
        }
        self.now.iter().map(|(disposal, _)| *disposal)
    }
}

/// True if a record has the values of a group now.
async fn has(lake: &Lake, index: u64, group: Group) -> anyhow::Result<bool> {
    let found = lake.records(index..index + 1).try_next().await?;
    Ok(found.is_some_and(|found| found.record.group(group).is_some()))
}

impl Erasures {
    /// Reads the disposals. Whether their records are those of the tree is found out with all others.
    pub(super) async fn read(lake: &Lake, data: &Path) -> anyhow::Result<Self> {
        // In this order: a disposal that ends in between is looked at as one that is not finished.
        let unfinished = keep::noted(data)?.into_iter().collect();
        let disposals = disposals(lake).await?;
        let at = disposals.iter().enumerate().map(|(at, disposal)| (disposal.id, at)).collect();
        let about = About::new(&disposals);
        Ok(Self { records: vec![0; disposals.len()], disposals, at, about, unfinished, doubts: Vec::new() })
    }

    /// Compares one record with what the disposals say. Records come in the order of the log.
    pub(super) fn record(&mut self, seen: &Seen, report: &mut Report) {
        let Seen { index, id, .. } = *seen;
        let mut by = HashSet::new();
        for (group, disposal) in &seen.erased {
            let group = *group;
            by.insert(*disposal);
            let problem = match self.at.get(disposal).map(|at| &self.disposals[*at]) {
                None if self.doubts.len() < DOUBTS => {
                    self.doubts.push(Doubt { index, id, group, disposal: *disposal, is_there: false });
                    continue;
                }
                None => unknown(group, disposal),
                Some(told) if !told.leaves.contains(index) || !told.groups.contains(&group) => {
                    format!("its group {group} is erased, but the disposal at leaf {} is not about it", told.leaf_index)
                }
                Some(_) => continue,
            };
            report.tampered += 1;
            report.problem("TAMPERED", place(index, id), problem);
        }
        report.erased += u64::from(!by.is_empty());
        for at in by.iter().filter_map(|disposal| self.at.get(disposal)) {
            self.records[*at] += 1;
        }
        self.still_there(seen, report);
    }

    /// What was to be erased and is there still.
    fn still_there(&mut self, seen: &Seen, report: &mut Report) {
        let Seen { index, id, open, .. } = *seen;
        for disposal in self.about.record(&self.disposals, index).map(|at| &self.disposals[at]) {
            if self.unfinished.contains(&disposal.id) {
                continue;
            }
            for group in disposal.groups.iter().copied().filter(|group| open.contains(*group)) {
                if self.doubts.len() < DOUBTS {
                    self.doubts.push(Doubt { index, id, group, disposal: disposal.id, is_there: true });
                } else {
                    report.problem("NOT ERASED", place(index, id), not_erased(group, disposal.leaf_index));
                }
            }
        }
    }

    /// Reports what is doubtful and cannot be explained by what has happened since the records began to be read.
    pub(super) async fn settle(&mut self, lake: &Lake, data: &Path, report: &mut Report) -> anyhow::Result<()> {
        let doubts = std::mem::take(&mut self.doubts);
        if doubts.is_empty() {
            return Ok(());
        }
        // In this order, as before.
        let later = Self::read(lake, data).await?;
        for Doubt { index, id, group, disposal, is_there } in doubts {
            let told = later.at.get(&disposal).map(|at| &later.disposals[*at]);
            let leaf = told.map_or(0, |told| told.leaf_index);
            if !is_there {
                if told.is_none_or(|told| !told.leaves.contains(index) || !told.groups.contains(&group)) {
                    report.tampered += 1;
                    report.problem("TAMPERED", place(index, id), unknown(group, &disposal));
                }
            } else if !later.unfinished.contains(&disposal) && has(lake, index, group).await? {
                report.problem("NOT ERASED", place(index, id), not_erased(group, leaf));
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use onrecord_proof::{Kind, Record, field};

    use super::super::keep::Erase;
    use super::super::{Engine, Reading, new_record};
    use super::*;
    use crate::config::{self, Overrides};

    async fn engine(data: &Path) -> std::sync::Arc<Engine> {
        let flags = Overrides { data: Some(data.to_owned()), ..Overrides::default() };
        let options = crate::server::engine_options(&config::load_only(&flags).unwrap()).unwrap();
        Engine::open(data, options).await.unwrap()
    }

    async fn erasures(engine: &Engine) -> Erasures {
        Erasures::read(&engine.lake, &engine.dir).await.unwrap()
    }

    async fn seen(engine: &Engine, index: u64) -> Seen {
        engine.lake.look_at(index..index + 1, Seen::of).try_next().await.unwrap().unwrap()
    }

    fn call() -> Record {
        let mut record = new_record(Kind::Interaction);
        record.set(&field::INPUT_TEXT, "Is it in stock?");
        record.set(&field::OUTCOME, "completed");
        record
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_erasure_beside_a_verification_is_no_tampering() {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path()).await;
        let index = engine.ledger.append(&call()).unwrap().await.unwrap().index;
        let (early, before) = (erasures(&engine).await, seen(&engine, index).await);
        let reading = Reading { principal: "p".into(), address: None, purpose: None, user: None };
        let ask = Erase {
            condition: format!("leaf_index = {index}"),
            table: "interactions".into(),
            fields: vec!["input".into()],
            reason: "r".into(),
            by: None,
            dry_run: false,
        };
        engine.erase(&reading, &ask).await.unwrap();
        let (late, after) = (erasures(&engine).await, seen(&engine, index).await);
        // The disposals were read before it and the record after it, or the other way round.
        for (mut erasures, seen) in [(early, &after), (late, &before)] {
            let mut report = Report::default();
            erasures.record(seen, &mut report);
            assert_eq!(erasures.doubts.len(), 1);
            erasures.settle(&engine.lake, &engine.dir, &mut report).await.unwrap();
            assert_eq!((report.tampered, report.problems.len()), (0, 0), "{:?}", report.problems);
        }
        // What no disposal explains is found all the same.
        let mut forged = after.clone();
        forged.open.remove(Group::Outcome);
        forged.erased.push((Group::Outcome, Uuid::nil()));
        let (mut erasures, mut report) = (erasures(&engine).await, Report::default());
        erasures.record(&forged, &mut report);
        erasures.settle(&engine.lake, &engine.dir, &mut report).await.unwrap();
        assert_eq!((report.tampered, report.problems.len()), (1, 1), "{:?}", report.problems);
        engine.close().await.unwrap();
    }

    #[test]
    fn a_disposal_is_found_at_each_of_its_leaves_and_at_no_other() {
        let sets = ["0-3,7,9-12", "3-8", "", "11", "2,4,6,8,10,12", "20-22"];
        let disposal = |(leaf_index, text): (u64, &&str)| Disposal {
            id: Uuid::from_u128(leaf_index.into()),
            leaf_index,
            leaves: text.parse().unwrap(),
            groups: Vec::new(),
            reason: String::new(),
        };
        let disposals: Vec<_> = (0..).zip(&sets).map(disposal).collect();
        // Some records may be missing.
        for step in 1..5 {
            let mut about = About::new(&disposals);
            for index in (0..25).step_by(step) {
                let mut found: Vec<_> = about.record(&disposals, index).collect();
                found.sort_unstable();
                let expected: Vec<_> = (0..sets.len()).filter(|at| disposals[*at].leaves.contains(index)).collect();
                assert_eq!(found, expected, "record {index}");
            }
        }
    }
}
