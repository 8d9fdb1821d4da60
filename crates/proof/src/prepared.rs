//! A record made ready for the log by whoever captured it, so that the sequencer hashes one small leaf and no payload.

use uuid::Uuid;

use crate::leaf::{Commitment, Leaf};
use crate::record::{Kind, Record, Ref};
use crate::{Group, GroupSet, Malformed};

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
    omitted: GroupSet,
}

impl Record {
    /// Computes the commitments and the encoding. Refused is what could not be read back: more than
    /// [`REFS_MAX`](crate::REFS_MAX) references, values nested too deeply, salts that do not fit the groups.
    pub fn prepare(&self) -> Result<Prepared, Malformed> {
        self.check()?;
        let omitted = self.durable();
        let (bytes, commitments) = self.encode_and_commit(omitted);
        Ok(Prepared {
            id: self.id,
            kind: self.kind,
            captured_at: self.captured_at,
            refs: self.refs.clone(),
            commitments,
            bytes,
            needs_intent: omitted != GroupSet::EMPTY,
            omitted,
        })
    }
}

impl Prepared {
    /// True if an intent of this id with the groups `intent` has all that `bytes` leaves out.
    pub fn completes(&self, intent: &[(Group, Commitment)]) -> bool {
        let mut omitted = self.commitments.iter().filter(|(group, _)| self.omitted.contains(*group));
        omitted.all(|commitment| intent.contains(commitment))
    }

    /// The leaf of the record when it is committed at `committed_at` (microseconds since 1970-01-01 UTC).
    pub fn into_leaf(self, committed_at: i64) -> Leaf {
        let Self { id, kind, captured_at, refs, commitments, .. } = self;
        Leaf { id, kind, captured_at, committed_at, refs, commitments }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GroupState, Map, Salts, Value, field};

    fn record() -> Record {
        Record::new(Uuid::nil(), Kind::Step, 0, [1; 32])
    }

    /// Containers in one another, the innermost at depth `depth` of a group.
    fn nested(depth: usize, wrap: fn(Value) -> Value) -> Record {
        let mut record = record();
        record.set_named(Group::Context, "x", (1..depth).fold(wrap(Value::Null), |inside, _| wrap(inside)));
        record
    }

    #[test]
    fn what_is_prepared_can_be_read_back() {
        for wrap in [|v| Value::Array(vec![v]), |v| Value::Map([("y", v)].into_iter().collect())] {
            let mut deepest = nested(31, wrap);
            assert_eq!(Record::from_bytes(&deepest.prepare().unwrap().bytes).unwrap(), deepest);
            assert!(deepest.to_intent().is_ok());
            for depth in [32, 33, 500] {
                let mut deeper = nested(depth, wrap);
                assert!(Record::from_bytes(&deeper.to_bytes()).is_err());
                assert!(deeper.prepare().is_err() && deeper.to_intent().is_err(), "{depth}");
            }
        }
    }

    #[test]
    fn salts_must_fit_the_groups() {
        let erased = GroupState::Erased { commitment: [1; 32], disposal: Uuid::nil() };
        let open = GroupState::Open(Map::new());
        let salt = || Salts::Each([(Group::Who, [2; 32])].into());
        for (what, salts, state, fits) in [
            ("erased", Salts::Each([].into()), &erased, true),
            ("erased with the secret", Salts::Secret([1; 32]), &erased, false),
            ("erased with its salt", salt(), &erased, false),
            ("open with the secret", Salts::Secret([1; 32]), &open, true),
            ("open with its salt", salt(), &open, true),
            ("open without a salt", Salts::Each([].into()), &open, false),
        ] {
            let groups = [(Group::Who, state.clone())].into();
            let mut record = Record::from_parts(Uuid::nil(), Kind::Step, 0, Vec::new(), salts, groups);
            assert_eq!(Record::from_bytes(&record.to_bytes()).is_ok(), fits, "{what}");
            assert_eq!(record.prepare().is_ok(), fits, "{what}");
            assert_eq!(record.to_intent().is_ok(), fits, "{what}");
        }
    }

    #[test]
    fn versions_are_named_as_they_are() {
        for (version, why) in [(0, "no format version 0"), (2, "newer than this program")] {
            let mut bytes = record().to_bytes();
            bytes[2] = version;
            assert!(Record::from_bytes(&bytes).unwrap_err().to_string().contains(why));
            let mut bytes = record().leaf(0).to_bytes();
            bytes[2] = version;
            assert!(Leaf::from_bytes(&bytes).unwrap_err().to_string().contains(why));
        }
    }

    #[test]
    fn an_intent_completes_its_own_record_alone() {
        let mut record = record();
        record.set(&field::INPUT_TEXT, "a question");
        let intent = Record::from_bytes(&record.to_intent().unwrap()).unwrap();
        let prepared = record.prepare().unwrap();
        assert!(prepared.completes(&intent.commitments()));
        let mut other = self::record();
        other.set(&field::INPUT_TEXT, "another question");
        assert!(!prepared.completes(&other.commitments()) && !prepared.completes(&[]));
        let stranger = Record::new(Uuid::max(), Kind::Step, 0, [1; 32]);
        let other_secret = Record::new(Uuid::nil(), Kind::Step, 0, [2; 32]);
        assert!(intent.clone().completed_by(stranger).is_err() && intent.completed_by(other_secret).is_err());
    }
}
