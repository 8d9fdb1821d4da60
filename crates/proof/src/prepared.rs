//! A record made ready for the log by whoever captured it, so that the sequencer hashes one small leaf and no payload.

use uuid::Uuid;

use crate::leaf::{Commitment, Leaf};
use crate::record::{Kind, Record, Ref};
use crate::{Group, GroupSet, Malformed, REFS_MAX};

/// A record with its commitments computed and its bytes encoded.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The record's id.
    pub id: Uuid,
    kind: Kind,
    captured_at: i64,
    refs: Vec<Ref>,
    commitments: Vec<(Group, Commitment)>,
    /// The encoding of the record, without the groups that its intent has.
    pub bytes: Vec<u8>,
    /// True if `bytes` leaves groups out: they are in the record's intent, without which it cannot be committed.
    pub needs_intent: bool,
}

impl Record {
    /// Computes the commitments and the encoding. A record with more than [`REFS_MAX`] references is refused.
    pub fn prepare(&self) -> Result<Prepared, Malformed> {
        if self.refs.len() > REFS_MAX {
            return Err(Malformed::new("record", format!("{} references, the limit is {REFS_MAX}", self.refs.len())));
        }
        Ok(Prepared {
            id: self.id,
            kind: self.kind,
            captured_at: self.captured_at,
            refs: self.refs.clone(),
            commitments: self.commitments(),
            bytes: self.encode(self.durable()),
            needs_intent: self.durable() != GroupSet::EMPTY,
        })
    }
}

impl Prepared {
    /// The leaf of the record when it is committed at `committed_at` (microseconds since 1970-01-01 UTC).
    pub fn into_leaf(self, committed_at: i64) -> Leaf {
        let Self { id, kind, captured_at, refs, commitments, .. } = self;
        Leaf { id, kind, captured_at, committed_at, refs, commitments }
    }
}
