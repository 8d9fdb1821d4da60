//! The rows of a log against its tree: of every record the leaf hash is computed from its stored contents. Verification of
//! an open log and the check of a folder go the same way.

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt as _;
use onrecord_lake::{Lake, Log, LogError};
use onrecord_proof::Hash;
use onrecord_proof::merkle::Frontier;

use super::erasures::Erasures;
use super::report::{Report, place};
use super::seen::Seen;
use super::verify::{Progress, told};

/// Leaf hashes that are read at a time.
const HASHES: u64 = 4096;
/// Progress is told so often, in records.
const EVERY: u64 = 8192;
/// Records that are neither proved nor refuted yet and are named if they are refuted; more are counted.
const DOUBTS: usize = super::report::PROBLEMS_MAX;

/// Rows, and what says how they must be.
pub(super) struct Rows<'a> {
    pub lake: &'a Lake,
    pub log: Arc<dyn Log>,
    pub data: &'a Path,
    /// Leaves that there are.
    pub size: u64,
}

impl Rows<'_> {
    /// Recomputes the leaf hash of every record from its stored contents. If the stored tree is not what was signed,
    /// `rebuilt` decides by the roots which of the two is right.
    pub(super) async fn verify(&self, rebuilt: Option<Rebuilt>, progress: &Progress, report: &mut Report) -> bool {
        let mut erasures = match Erasures::read(self.lake, self.data).await {
            Ok(erasures) => Some(erasures),
            Err(error) => {
                report.problem("DAMAGED", "the disposal records", format!("{error:#}"));
                None
            }
        };
        let mut check = RecordCheck::new(Arc::clone(&self.log), self.size, rebuilt);
        while check.next < self.size {
            let from = check.next;
            let Err(error) = self.part(from, &mut check, erasures.as_mut(), progress, report).await else { break };
            report.problem("DAMAGED", format!("record {}", check.next), error.to_string());
            let next = self.lake.after_damage(check.next).min(self.size);
            check.missing(next, report);
        }
        let leads = check.finish(report);
        if let Some(mut erasures) = erasures {
            if let Err(error) = erasures.settle(self.lake, self.data, report).await {
                report.problem("DAMAGED", "the disposal records", format!("{error:#}"));
            }
            erasures.finish(report);
        }
        told(progress, "records", self.size, self.size);
        leads
    }

    /// As far as the rows can be read.
    async fn part(
        &self,
        from: u64,
        check: &mut RecordCheck,
        mut erasures: Option<&mut Erasures>,
        progress: &Progress,
        report: &mut Report,
    ) -> onrecord_lake::Result<()> {
        let mut records = self.lake.look_at(from..self.size, Seen::of);
        while let Some(seen) = records.try_next().await? {
            check.record(&seen, report);
            if let Some(erasures) = &mut erasures {
                erasures.record(&seen, report);
            }
            if seen.index % EVERY == 0 {
                told(progress, "records", seen.index, self.size);
            }
        }
        Ok(())
    }
}

/// The tree of the rows, beside one that is damaged: while it leads to the roots that were signed, a row that differs from
/// the stored hash is right, and the hash is wrong.
pub(super) struct Rebuilt {
    frontier: Frontier,
    roots: std::iter::Peekable<std::vec::IntoIter<(u64, Hash)>>,
    /// Rows that differ from the stored tree since the last root: some of them, and how many.
    doubts: (Vec<String>, u64),
    /// A row is missing, or a root was not led to.
    strayed: bool,
}

impl Rebuilt {
    pub(super) fn to(roots: Vec<(u64, Hash)>) -> Self {
        let roots = roots.into_iter().peekable();
        Self { frontier: Frontier::default(), roots, doubts: (Vec::new(), 0), strayed: false }
    }

    /// The next leaf, or `None` if it is nowhere. What was doubtful is decided at each root.
    fn push(&mut self, leaf: Option<Hash>, report: &mut Report) {
        let Some(leaf) = leaf else {
            self.strayed = true;
            return;
        };
        self.frontier.push(leaf, |_, _| ());
        while let Some((size, root)) = self.roots.next_if(|(size, _)| *size <= self.frontier.size()) {
            self.strayed |= size == self.frontier.size() && root != self.frontier.root();
            self.decide(report);
        }
    }

    fn doubt(&mut self, place: impl FnOnce() -> String) {
        self.doubts.1 += 1;
        if self.doubts.0.len() < DOUBTS {
            self.doubts.0.push(place());
        }
    }

    fn decide(&mut self, report: &mut Report) {
        let (places, count) = std::mem::take(&mut self.doubts);
        if !self.strayed {
            report.verified += count;
            return;
        }
        report.tampered += count;
        for place in places {
            report.problem("TAMPERED", place, "neither its contents nor the tree lead to what was signed");
        }
    }
}

/// Compares records, in order, with the leaf hashes of the tree.
struct RecordCheck {
    log: Arc<dyn Log>,
    size: u64,
    next: u64,
    hashes: (u64, Vec<Hash>),
    rebuilt: Option<Rebuilt>,
}

impl RecordCheck {
    fn new(log: Arc<dyn Log>, size: u64, rebuilt: Option<Rebuilt>) -> Self {
        Self { log, size, next: 0, hashes: (0, Vec::new()), rebuilt }
    }

    fn record(&mut self, seen: &Seen, report: &mut Report) {
        let Seen { index, id, leaf: own, .. } = *seen;
        self.missing(index, report);
        self.next = index + 1;
        let stored = self.hash(index);
        let place = || place(index, id);
        match (stored, &mut self.rebuilt) {
            (Ok(stored), _) if stored == own => report.verified += 1,
            (_, Some(rebuilt)) => rebuilt.doubt(place),
            (Ok(_), None) => {
                report.tampered += 1;
                report.problem("TAMPERED", place(), "its contents are not what the tree commits to");
            }
            (Err(error), None) => report.problem("DAMAGED", format!("leaf {index}"), error.to_string()),
        }
        if let Some(rebuilt) = &mut self.rebuilt {
            rebuilt.push(Some(own), report);
        }
    }

    /// Records between the last one and `until` are gone.
    fn missing(&mut self, until: u64, report: &mut Report) {
        if until <= self.next {
            return;
        }
        report.missing += until - self.next;
        let place = match until - self.next {
            1 => format!("record {}", self.next),
            _ => format!("records {} to {}", self.next, until - 1),
        };
        report.problem("MISSING", place, "the tree has the leaf, but the record is gone");
        if self.rebuilt.is_some() {
            for index in self.next..until {
                let stored = self.hash(index).ok();
                self.rebuilt.iter_mut().for_each(|rebuilt| rebuilt.push(stored, report));
            }
        }
        self.next = until;
    }

    fn hash(&mut self, index: u64) -> Result<Hash, LogError> {
        let (start, hashes) = &self.hashes;
        if let Some(hash) = index.checked_sub(*start).and_then(|at| hashes.get(at as usize)) {
            return Ok(*hash);
        }
        let count = HASHES.min(self.size - index) as usize;
        // Where the file of the tree is cut off, some of them are there.
        let read = self.log.leaf_hashes(index, count).or_else(|_| self.log.leaf_hashes(index, 1))?;
        self.hashes = (index, read);
        self.hashes.1.first().copied().ok_or_else(|| format!("the tree has no leaf {index}").into())
    }

    /// Whether the rows lead to every root that was signed, where that was asked.
    fn finish(mut self, report: &mut Report) -> bool {
        self.missing(self.size, report);
        let Some(mut rebuilt) = self.rebuilt else { return false };
        let leads = !rebuilt.strayed && rebuilt.roots.peek().is_none();
        rebuilt.strayed |= !leads;
        rebuilt.decide(report);
        leads
    }
}
