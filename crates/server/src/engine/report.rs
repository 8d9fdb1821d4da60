//! What a verification found.

use serde::{Deserialize, Serialize};

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// What is being looked at: `tree`, `files` or `records`.
    pub name: String,
    pub done: u64,
    pub of: u64,
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// `TAMPERED`, `MISSING`, `DAMAGED` or `NOT ERASED`; `UNFINISHED` or `DERIVED` where nothing is wrong.
    pub verdict: String,
    /// The file or the record.
    pub place: String,
    /// What is wrong with it.
    pub why: String,
}

/// What one disposal has erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Erasure {
    /// The leaf of the disposal record.
    pub leaf: u64,
    pub id: String,
    /// Records with something that this disposal has erased.
    pub records: u64,
    pub groups: Vec<String>,
    pub reason: String,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Nothing is wrong.
    pub ok: bool,
    /// The public key of the log.
    pub key: String,
    /// Leaves in the tree.
    pub leaves: u64,
    /// Records whose contents are what the tree commits to.
    pub verified: u64,
    /// Of these, records with groups that were erased, as a disposal record says.
    pub erased: u64,
    /// The disposals that say so; at most [`PROBLEMS_MAX`] of them, the newest.
    #[serde(default)]
    pub erasures: Vec<Erasure>,
    /// Records that are gone.
    pub missing: u64,
    /// Records that are not what was committed.
    pub tampered: u64,
    /// Signed checkpoints that were checked.
    pub checkpoints: u64,
    /// The last one, as it was signed.
    pub checkpoint: Option<String>,
    /// What is wrong; at most [`PROBLEMS_MAX`], the counts above say how many there are.
    pub problems: Vec<Problem>,
    /// What a crash has left unfinished and what can be made again from the rows, as far as it is not there or not good.
    /// None of it is wrong: the next start sees to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<Problem>,
    /// What was repaired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repaired: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// More problems than this are counted, not listed.
pub(crate) const PROBLEMS_MAX: usize = 100;

impl Report {
    pub(crate) fn problem(&mut self, verdict: &str, place: impl Into<String>, problem: impl Into<String>) {
        list(&mut self.problems, verdict, place, problem);
    }

    pub(crate) fn note(&mut self, verdict: &str, place: impl Into<String>, why: impl Into<String>) {
        list(&mut self.unfinished, verdict, place, why);
    }
}

fn list(problems: &mut Vec<Problem>, verdict: &str, place: impl Into<String>, why: impl Into<String>) {
    if problems.len() < PROBLEMS_MAX {
        problems.push(Problem { verdict: verdict.to_owned(), place: place.into(), why: why.into() });
    }
}

/// How a record is named.
pub(super) fn place(index: u64, id: uuid::Uuid) -> String {
    format!("record {index} ({id})")
}
