//! Evidence: one file that shows that records are in a log, reveals the groups that were chosen, and is checked offline
//! with nothing but the log's public key.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::cbor::Map;
use crate::group::{Group, GroupSet, Salt};
use crate::leaf::{Leaf, commit};
use crate::merkle::check_inclusion;
use crate::note::Note;
use crate::{Checkpoint, GroupState, Hash, KeyHistory, Malformed, Record, Rotation};

/// The value of `format` in a bundle.
pub const FORMAT: &str = "onrecord-evidence/v1";

/// Bytes that are written as Base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Reads a struct from an object alone. Serde would take an array of its fields as well: a second form of the same
/// evidence, which other checkers refuse.
pub(crate) struct Object<D>(pub(crate) D);

impl<'de, D: serde::Deserializer<'de>> serde::Deserializer<'de> for Object<D> {
    type Error = D::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Serde's derived functions, which `remote = "Self"` makes inherent, behind [`Object`].
macro_rules! from_objects {
    ($($type:ident)*) => {
        $(impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, to)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::deserialize($crate::evidence::Object(from))
            }
        })*
    };
}
pub(crate) use from_objects;

from_objects! { Evidence Entry Revealed Opening }

/// Evidence about one or more records of one log. Written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Evidence {
    format: String,
    checkpoint: String,
    /// The statements of all key rotations of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    /// A timestamp of the checkpoint (RFC 3161), which this crate does not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<Blob>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct Entry {
    index: u64,
    leaf: Blob,
    proof: Vec<Blob>,
    revealed: Revealed,
}

/// A field for each group, so that an unknown group or one that is there twice is refused while reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
struct Revealed {
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<Opening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Opening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Opening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Opening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Opening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<Opening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    performance: Option<Opening>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Opening>,
}

impl Revealed {
    fn get(&self, group: Group) -> Option<&Opening> {
        match group {
            Group::Who => self.who.as_ref(),
            Group::Context => self.context.as_ref(),
            Group::Config => self.config.as_ref(),
            Group::Input => self.input.as_ref(),
            Group::Output => self.output.as_ref(),
            Group::Decisions => self.decisions.as_ref(),
            Group::Performance => self.performance.as_ref(),
            Group::Outcome => self.outcome.as_ref(),
        }
    }

    fn slot(&mut self, group: Group) -> &mut Option<Opening> {
        match group {
            Group::Who => &mut self.who,
            Group::Context => &mut self.context,
            Group::Config => &mut self.config,
            Group::Input => &mut self.input,
            Group::Output => &mut self.output,
            Group::Decisions => &mut self.decisions,
            Group::Performance => &mut self.performance,
            Group::Outcome => &mut self.outcome,
        }
    }
}

/// What opens a commitment: the salt and the canonical bytes of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct Opening {
    salt: Blob,
    value: Blob,
}

/// A record with what proves its place in the log.
#[derive(Debug)]
pub struct Proved<'r> {
    /// The leaf index.
    pub index: u64,
    /// When the record was committed, in microseconds since 1970-01-01 UTC.
    pub committed_at: i64,
    /// The record.
    pub record: &'r Record,
    /// Its inclusion proof in the tree of the checkpoint.
    pub proof: Vec<Hash>,
}

impl Evidence {
    /// Evidence about `records` under a signed checkpoint, with the groups in `reveal` shown.
    pub fn new(checkpoint: &Note, records: &[Proved<'_>], reveal: GroupSet) -> Self {
        let entries = records.iter().map(|proved| Entry::new(proved, reveal)).collect();
        Self { format: FORMAT.to_owned(), checkpoint: checkpoint.to_string(), keys: None, timestamp: None, entries }
    }

    /// Adds the keys that the log has had, for those who know an older one.
    #[must_use]
    pub fn with_keys(mut self, keys: &KeyHistory) -> Self {
        let statements: Vec<_> = keys.rotations().iter().map(|rotation| rotation.note().to_string()).collect();
        self.keys = (!statements.is_empty()).then_some(statements);
        self
    }

    /// Adds a timestamp of the checkpoint's text: a `TimeStampToken` of RFC 3161, DER.
    #[must_use]
    pub fn with_timestamp(mut self, token: Option<Vec<u8>>) -> Self {
        self.timestamp = token.map(Blob);
        self
    }

    /// Adds another record under the same checkpoint, with the groups in `reveal` shown: the proof is in its tree.
    #[must_use]
    pub fn and(mut self, proved: &Proved<'_>, reveal: GroupSet) -> Self {
        self.entries.push(Entry::new(proved, reveal));
        self
    }

    /// Checks the evidence against the keys of the log that the checker knows. What comes back is proved, and everything
    /// else is not.
    pub fn check(&self, known: &KeyHistory) -> Result<Checked, Malformed> {
        if self.format != FORMAT {
            return Err(Malformed::new("evidence", format!("its format is {:?}, not {FORMAT:?}", self.format)));
        }
        let note: Note = self.checkpoint.parse()?;
        let statements = self.keys.iter().flatten().map(|statement| Rotation::open(&statement.parse()?));
        let mut keys = known.clone();
        keys.follow(&statements.collect::<Result<Vec<_>, _>>()?)?;
        let checkpoint = keys.open(&note)?;
        if self.entries.is_empty() {
            return Err(Malformed::new("evidence", "it is about no record"));
        }
        let entries = self.entries.iter().map(|entry| entry.check(&checkpoint)).collect::<Result<_, _>>()?;
        let timestamp = self.timestamp.as_ref().map(|token| token.0.clone());
        Ok(Checked { checkpoint, note, keys, timestamp, entries })
    }
}

impl Entry {
    fn new(proved: &Proved<'_>, reveal: GroupSet) -> Self {
        let mut revealed = Revealed::default();
        for (group, state) in proved.record.groups().filter(|(group, _)| reveal.contains(*group)) {
            if let (GroupState::Open(map), Some(salt)) = (state, proved.record.salts().get(group)) {
                *revealed.slot(group) = Some(Opening { salt: Blob(salt.to_vec()), value: Blob(map.to_bytes()) });
            }
        }
        let leaf = Blob(proved.record.leaf(proved.committed_at).to_bytes());
        let proof = proved.proof.iter().map(|hash| Blob(hash.to_vec())).collect();
        Self { index: proved.index, leaf, proof, revealed }
    }

    fn check(&self, checkpoint: &Checkpoint) -> Result<CheckedEntry, Malformed> {
        let leaf = Leaf::from_bytes(&self.leaf.0)?;
        let proof = self.proof.iter().map(|blob| bytes_32(&blob.0)).collect::<Result<Vec<_>, _>>()?;
        check_inclusion(&leaf.hash(), self.index, checkpoint.size, &proof, &checkpoint.root)?;
        let unbound = Group::ALL.into_iter().find(|g| self.revealed.get(*g).is_some() && leaf.commitment(*g).is_none());
        if let Some(group) = unbound {
            return Err(Malformed::new("evidence", format!("group {group} is shown, but the leaf does not have it")));
        }
        let groups = leaf.commitments.iter().map(|(group, commitment)| {
            let Some(opening) = self.revealed.get(*group) else { return Ok((*group, None)) };
            let salt: Salt = bytes_32(&opening.salt.0)?;
            if commit(leaf.id, *group, &salt, &opening.value.0) != *commitment {
                return Err(Malformed::new("evidence", format!("group {group} is not what the leaf commits to")));
            }
            Map::from_bytes(&opening.value.0).map(|map| (*group, Some(map)))
        });
        let groups = groups.collect::<Result<_, _>>()?;
        Ok(CheckedEntry { index: self.index, leaf, groups })
    }
}

fn bytes_32(bytes: &[u8]) -> Result<[u8; 32], Malformed> {
    bytes.try_into().map_err(|_| Malformed::new("evidence", format!("{} bytes where 32 belong", bytes.len())))
}

/// What evidence proves.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The checkpoint, signed by the log.
    pub checkpoint: Checkpoint,
    /// Its note, whose other signature lines, those of witnesses say, are not checked yet.
    pub note: Note,
    /// The keys of the log, as far as the evidence leads from those that were known.
    pub keys: KeyHistory,
    /// A timestamp of the checkpoint's text (RFC 3161), which is not checked yet.
    pub timestamp: Option<Vec<u8>>,
    /// The records that are in it.
    pub entries: Vec<CheckedEntry>,
}

/// A record that was shown to be in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedEntry {
    /// Its leaf index.
    pub index: u64,
    /// Its leaf.
    pub leaf: Leaf,
    /// Its groups; `None` where the evidence does not show the contents.
    pub groups: Vec<(Group, Option<Map>)>,
}

impl fmt::Display for CheckedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at leaf {}", self.leaf.kind, self.leaf.id, self.index)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::merkle::tests::Levels;
    use crate::merkle::{Frontier, inclusion_proof};
    use crate::note::Signer;
    use crate::{Kind, field};

    fn record(n: u8) -> Record {
        let mut record = Record::new(Uuid::from_bytes([n; 16]), Kind::Interaction, 1_700_000_000_000_000, [n; 32]);
        record.set(&field::SESSION, "a session");
        record.set(&field::INPUT_TEXT, "a question");
        record.set(&field::OUTPUT_TEXT, "an answer");
        record
    }

    fn evidence(reveal: &[Group]) -> (Evidence, KeyHistory) {
        let signer = Signer::from_seed("a/log", &[1; 32]).unwrap();
        let (mut levels, mut frontier) = (Levels::default(), Frontier::default());
        for n in 0..11 {
            levels.push(&mut frontier, record(n).leaf(5).hash());
        }
        let checkpoint = Checkpoint { origin: "a/log".into(), size: 11, root: frontier.root() };
        let proof = inclusion_proof(&levels, 4, 11).unwrap();
        let record = record(4);
        let proved = Proved { index: 4, committed_at: 5, record: &record, proof };
        (
            Evidence::new(&checkpoint.sign(&signer), &[proved], reveal.iter().copied().collect()),
            signer.verifier().into(),
        )
    }

    #[test]
    fn what_is_revealed_is_proved_and_the_rest_stays_hidden() {
        let (evidence, key) = evidence(&[Group::Output]);
        let json = serde_json::to_string(&evidence).unwrap();
        let checked = serde_json::from_str::<Evidence>(&json).unwrap().check(&key).unwrap();
        let [entry] = &checked.entries[..] else { panic!("one entry") };
        let shown: Vec<_> = entry.groups.iter().map(|(group, map)| (group.name(), map.is_some())).collect();
        assert_eq!(shown, [("context", false), ("input", false), ("output", true)]);
        assert!(!json.contains(&BASE64.encode("a question")));
    }

    #[test]
    fn hostile_evidence_is_refused() {
        let (good, key) = evidence(&[Group::Input, Group::Output]);
        let check = |change: &dyn Fn(&mut Evidence)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check(&key)
        };
        assert!(check(&|_| {}).is_ok());
        assert!(check(&|e| e.entries[0].index = 5).is_err(), "wrong index");
        assert!(check(&|e| e.entries[0].leaf.0[20] ^= 1).is_err(), "changed leaf");
        assert!(check(&|e| drop(e.entries[0].proof.pop())).is_err(), "truncated proof");
        assert!(check(&|e| e.checkpoint = e.checkpoint.replace("\n11\n", "\n12\n")).is_err(), "wrong size");
        assert!(check(&|e| e.checkpoint = e.checkpoint.replacen("a/log", "b/log", 1)).is_err(), "wrong origin");
        assert!(check(&|e| e.format = "onrecord-evidence/v2".into()).is_err(), "another version");
        assert!(check(&|e| e.entries.clear()).is_err(), "no entry");
        let swap = |e: &mut Evidence| {
            let revealed = &mut e.entries[0].revealed;
            std::mem::swap(&mut revealed.input, &mut revealed.output);
        };
        assert!(check(&swap).is_err(), "swapped groups");
        assert!(
            check(&|e| e.entries[0].revealed.who = e.entries[0].revealed.input.clone()).is_err(),
            "a group too many"
        );
        let stranger = Signer::from_seed("a/log", &[2; 32]).unwrap().verifier();
        assert!(good.check(&stranger.into()).is_err(), "unknown key");
    }

    #[test]
    fn keys_that_are_unknown_or_there_twice_are_refused() {
        let json = serde_json::to_string(&evidence(&[Group::Input]).0).unwrap();
        let twice = json.replacen("\"index\":4", "\"index\":4,\"index\":4", 1);
        let unknown = json.replacen("\"index\":4", "\"index\":4,\"indes\":4", 1);
        let group = json.replacen("\"input\":", "\"input\":null,\"input\":", 1);
        for bad in [twice, unknown, group] {
            assert!(serde_json::from_str::<Evidence>(&bad).is_err());
        }
    }

    #[test]
    fn erasure_leaves_the_leaf_as_it_was() {
        let mut record = record(3);
        let before = record.leaf(5);
        assert!(record.erase(Group::Input, Uuid::nil()));
        assert!(!record.erase(Group::Input, Uuid::nil()) && !record.erase(Group::Who, Uuid::nil()));
        assert_eq!(record.leaf(5), before);
        let again = Record::from_bytes(&record.to_bytes()).unwrap();
        assert_eq!((again.leaf(5), again.get(&field::INPUT_TEXT)), (before, None));
        assert_eq!(again.salts().get(Group::Input), None);
    }

    #[test]
    fn an_intent_and_its_completion_are_the_record() {
        let mut whole = record(3);
        let intent = whole.to_intent().unwrap();
        whole.set(&field::OUTCOME, "completed");
        whole.set(&field::OUTPUT_TEXT, "another answer");
        let prepared = whole.prepare().unwrap();
        assert!(prepared.bytes.len() < whole.to_bytes().len());
        let later = Record::from_bytes(&prepared.bytes).unwrap();
        let joined = Record::from_bytes(&intent).unwrap().completed_by(later).unwrap();
        assert_eq!(joined, whole);
        assert_eq!(prepared.into_leaf(5), joined.leaf(5));
    }
}
