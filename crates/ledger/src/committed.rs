//! A record with its place in the log.

use onrecord_proof::{Leaf, Record};

/// A record that is durable and has its leaf index.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// Its leaf index: the order of the log.
    pub index: u64,
    /// When it was committed, by the recorder's clock, in microseconds since 1970-01-01 UTC.
    pub committed_at: i64,
    /// The record.
    pub record: Record,
}

impl Committed {
    /// The leaf of the record.
    pub fn leaf(&self) -> Leaf {
        self.record.leaf(self.committed_at)
    }
}
