//! The record: everything that is known of one call, step or event, in disclosure groups.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minicbor::Decoder;
use minicbor::data::Type;
use uuid::Uuid;

use crate::cbor::{DEPTH_MAX, Map, Value};
use crate::field::Field;
use crate::group::{Group, GroupSet, Salt, SaltKey, Secret};
use crate::leaf::{Commitment, commit, expect_key, read_32, read_group, read_id, read_version};
use crate::writer::Writer;
use crate::{FORMAT_VERSION, Leaf, Malformed};

/// The most references a record can hold; with them a leaf stays well under [`LEAF_MAX`](crate::LEAF_MAX).
pub const REFS_MAX: usize = 64;

/// What a record with few references takes beside the fields of its groups.
const OVERHEAD: usize = 256;

type ReadError = minicbor::decode::Error;

macro_rules! codes {
    ($(#[doc = $top:literal])* $type:ident, $what:literal, $($(#[doc = $doc:literal])* $name:ident = $code:literal $text:literal,)*) => {
        $(#[doc = $top])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $type { $($(#[doc = $doc])* $name = $code,)* }

        impl $type {
            /// Every one, in the order of its code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name used in queries, evidence and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The one of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            /// The code used in encodings.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The one of that code.
            pub const fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            pub(crate) fn read(input: &mut Decoder<'_>) -> Result<Self, ReadError> {
                let code = input.u64()?;
                Self::from_code(code).ok_or_else(|| ReadError::message(format!(concat!("there is no ", $what, " {}"), code)))
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

codes! {
    /// What a record is about.
    Kind, "kind",
    /// One call of a model.
    Interaction = 1 "interaction",
    /// One span before or after a call: tokenization, retrieval, templating, reranking, guardrail, tool.
    Step = 2 "step",
    /// The resolved configuration of a model server.
    Config = 3 "config",
    /// A person's or a program's judgement of an answer.
    Feedback = 4 "feedback",
    /// What a rule found: when it began, and when it was over.
    Alert = 5 "alert",
    /// Somebody read payload.
    Access = 6 "access",
    /// Payload was erased.
    Disposal = 7 "disposal",
    /// Calls that went unrecorded.
    Gap = 8 "gap",
    /// The log is alive.
    Heartbeat = 9 "heartbeat",
    /// Start, stop, key rotation, change of policy.
    System = 10 "system",
}

codes! {
    /// How a record relates to the one it refers to.
    Rel, "relation",
    /// The configuration that was in force.
    Config = 1 "config",
    /// The span that this one is part of.
    Parent = 2 "parent",
    /// An earlier attempt at the same request.
    Attempt = 3 "attempt",
    /// What feedback, an alert, an access or a disposal is about.
    Subject = 4 "subject",
    /// What this record takes the place of, e.g. the previous key or configuration.
    Supersedes = 5 "supersedes",
    /// A record that this one was made from, e.g. a retrieved document's.
    Source = 6 "source",
}

/// A reference to another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ref {
    /// How the two relate.
    pub rel: Rel,
    /// The other record's id.
    pub id: Uuid,
}

/// Where the salts of a record's groups come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Salts {
    /// All are derived from one secret.
    Secret(Secret),
    /// After an erasure: the salts of the groups that are left. The secret is gone, since it would give the erased
    /// group's salt away.
    Each(BTreeMap<Group, Salt>),
}

impl Salts {
    /// The salt of `group`, unless it was erased.
    pub fn get(&self, group: Group) -> Option<Salt> {
        match self {
            Self::Secret(secret) => Some(group.salt(secret)),
            Self::Each(salts) => salts.get(&group).copied(),
        }
    }

    /// The salts of several groups. A group without one cannot come out of `read_record`; zeros then give a commitment that
    /// verifies nowhere.
    fn each(&self) -> impl Fn(Group) -> Salt {
        let key = if let Self::Secret(secret) = self { Some(SaltKey::new(secret)) } else { None };
        move |group| key.as_ref().map(|key| key.salt(group)).or_else(|| self.get(group)).unwrap_or_default()
    }

    fn has(&self, group: Group) -> bool {
        match self {
            Self::Secret(_) => true,
            Self::Each(salts) => salts.contains_key(&group),
        }
    }
}

/// One group of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupState {
    /// Its fields are there.
    Open(Map),
    /// Its fields and its salt are gone.
    Erased {
        /// What the leaf says of it.
        commitment: Commitment,
        /// The id of the `disposal` record that says why.
        disposal: Uuid,
    },
}

/// Everything that is known of one call, step or event.
#[derive(Debug, Clone)]
pub struct Record {
    /// A UUIDv7.
    pub id: Uuid,
    /// What it is about.
    pub kind: Kind,
    /// When it began, by the recorder's clock, in microseconds since 1970-01-01 UTC.
    pub captured_at: i64,
    /// At most [`REFS_MAX`] references to other records.
    pub refs: Vec<Ref>,
    salts: Salts,
    groups: BTreeMap<Group, GroupState>,
    /// Groups that an intent has made durable, with their commitments. A change takes the group out again.
    durable: BTreeMap<Group, Commitment>,
}

/// Two records are equal when they say the same; how much of it an intent has written does not matter.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.kind, self.captured_at) == (other.id, other.kind, other.captured_at)
            && self.refs == other.refs
            && self.salts == other.salts
            && self.groups == other.groups
    }
}

impl Record {
    /// An empty record. `secret` must come from the operating system's random numbers and belong to this record alone.
    pub fn new(id: Uuid, kind: Kind, captured_at: i64, secret: Secret) -> Self {
        Self::from_parts(id, kind, captured_at, Vec::new(), Salts::Secret(secret), BTreeMap::new())
    }

    /// A record from its stored parts.
    pub fn from_parts(
        id: Uuid,
        kind: Kind,
        captured_at: i64,
        refs: Vec<Ref>,
        salts: Salts,
        groups: BTreeMap<Group, GroupState>,
    ) -> Self {
        Self { id, kind, captured_at, refs, salts, groups, durable: BTreeMap::new() }
    }

    /// Sets a field in the group where it belongs.
    pub fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.set_named(field.group, field.name, value);
    }

    /// Sets a field that this program has no definition of.
    pub fn set_named(&mut self, group: Group, name: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        self.durable.remove(&group);
        let state = self.groups.entry(group).or_insert_with(|| GroupState::Open(Map::new()));
        if let GroupState::Open(map) = state {
            map.set(name, value);
        }
    }

    /// The value of a field, unless it is not there or its group was erased.
    pub fn get(&self, field: &Field) -> Option<&Value> {
        self.group(field.group)?.get(field.name)
    }

    /// The text of a field.
    pub fn text(&self, field: &Field) -> Option<&str> {
        self.get(field)?.as_text()
    }

    /// The integer of a field.
    pub fn int(&self, field: &Field) -> Option<i64> {
        self.get(field)?.as_int()
    }

    /// The fields of a group, unless it is not there or was erased.
    pub fn group(&self, group: Group) -> Option<&Map> {
        match self.groups.get(&group) {
            Some(GroupState::Open(map)) => Some(map),
            _ => None,
        }
    }

    /// The groups that the record has, erased or not.
    pub fn groups(&self) -> impl Iterator<Item = (Group, &GroupState)> {
        self.groups.iter().map(|(group, state)| (*group, state))
    }

    /// Where the salts come from.
    pub fn salts(&self) -> &Salts {
        &self.salts
    }

    /// The leaf that this record has when it is committed at `committed_at` (microseconds since 1970-01-01 UTC).
    pub fn leaf(&self, committed_at: i64) -> Leaf {
        let Self { id, kind, captured_at, .. } = *self;
        Leaf { id, kind, captured_at, committed_at, refs: self.refs.clone(), commitments: self.commitments() }
    }

    /// Removes the value and the salt of `group` and leaves its commitment. The other groups keep their salts, the
    /// record's secret goes. False if there is nothing to erase.
    pub fn erase(&mut self, group: Group, disposal: Uuid) -> bool {
        let Some(GroupState::Open(map)) = self.groups.get(&group) else { return false };
        let commitment = commit(self.id, group, &self.salts.each()(group), &map.to_bytes());
        self.groups.insert(group, GroupState::Erased { commitment, disposal });
        // An intent holds the value and the secret: the record cannot be completed from it any more.
        self.durable.clear();
        let open = self.groups.iter().filter(|(_, state)| matches!(state, GroupState::Open(_)));
        self.salts = Salts::Each(open.filter_map(|(group, _)| Some((*group, self.salts.get(*group)?))).collect());
        true
    }

    /// The encoding of the whole record.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode(GroupSet::EMPTY, |_, _| ())
    }

    /// The encoding of the record as an intent holds it. From here on [`prepare`](Self::prepare) leaves the groups
    /// out that the intent has, unless they change. Refused is what could not be read back.
    pub fn to_intent(&mut self) -> Result<Vec<u8>, Malformed> {
        self.check()?;
        let (bytes, commitments) = self.encode_and_commit(GroupSet::EMPTY);
        self.durable = commitments.into_iter().collect();
        Ok(bytes)
    }

    /// The groups that an intent has made durable.
    pub fn durable(&self) -> GroupSet {
        self.durable.keys().copied().collect()
    }

    /// Completes the record of an intent with what came after: a group in `later` replaces the one of the intent. Refused
    /// if the two are not of one record.
    pub fn completed_by(mut self, later: Self) -> Result<Self, Malformed> {
        if (self.id, &self.salts) != (later.id, &later.salts) {
            return Err(Malformed::new("record", "its intent is of another record"));
        }
        self.groups.extend(later.groups);
        Ok(Self { groups: self.groups, ..later })
    }

    /// Reads a record; bytes that are not its canonical encoding are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let record = read_record(&mut Decoder::new(bytes)).map_err(|e| Malformed::new("record", e.to_string()))?;
        if record.to_bytes() != bytes {
            return Err(Malformed::new("record", "the encoding is not canonical"));
        }
        Ok(record)
    }

    /// The encoding of the groups that are not in `without`, and the commitments of all. Each group is encoded once.
    pub(crate) fn encode_and_commit(&self, without: GroupSet) -> (Vec<u8>, Vec<(Group, Commitment)>) {
        let (mut fresh, salt) = (Vec::with_capacity(Group::ALL.len()), self.salts.each());
        let bytes =
            self.encode(without, |group, bytes| fresh.push((group, commit(self.id, group, &salt(group), bytes))));
        let fresh_of = |group| fresh.iter().find(|(have, _)| *have == group).map(|(_, commitment)| *commitment);
        let of = |(group, state): (&Group, &GroupState)| {
            (*group, fresh_of(*group).unwrap_or_else(|| self.known_commitment(*group, state, &salt)))
        };
        let commitments = self.groups.iter().map(of).collect();
        (bytes, commitments)
    }

    /// `each` is given the canonical bytes of every group with fields that is encoded.
    fn encode(&self, without: GroupSet, mut each: impl FnMut(Group, &[u8])) -> Vec<u8> {
        let open = |(group, state): (&Group, &GroupState)| match state {
            GroupState::Open(map) if !without.contains(*group) => map.encoded_len(),
            _ => 0,
        };
        let mut out = Writer::with_capacity(OVERHEAD + self.groups.iter().map(open).sum::<usize>());
        out.map(7);
        out.unsigned(0_u8).unsigned(FORMAT_VERSION);
        out.unsigned(1_u8).bytes(self.id.as_bytes());
        out.unsigned(2_u8).unsigned(self.kind.code());
        out.unsigned(3_u8).int(self.captured_at);
        write_refs(out.unsigned(4_u8), &self.refs);
        write_salts(out.unsigned(5_u8), &self.salts);
        let groups = || self.groups.iter().filter(|(group, _)| !without.contains(**group));
        out.unsigned(6_u8).map(groups().count());
        for (group, state) in groups() {
            out.unsigned(group.code());
            match state {
                GroupState::Open(map) => each(*group, out.fields_as_bytes(map)),
                GroupState::Erased { commitment, disposal } => write_erased(&mut out, commitment, *disposal),
            }
        }
        out.into_bytes()
    }

    /// Refuses what could be encoded but not read back.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        if self.refs.len() > REFS_MAX {
            return Err(Malformed::new("record", format!("{} references, the limit is {REFS_MAX}", self.refs.len())));
        }
        for (group, state) in &self.groups {
            if let GroupState::Open(map) = state
                && map.is_too_deep()
            {
                return Err(Malformed::new("record", format!("group {group} is nested more than {DEPTH_MAX} deep")));
            }
        }
        check_salts(&self.salts, &self.groups).map_err(|problem| Malformed::new("record", problem))
    }

    /// The commitments of the groups, in their order.
    pub fn commitments(&self) -> Vec<(Group, Commitment)> {
        let salt = self.salts.each();
        self.groups.iter().map(|(group, state)| (*group, self.known_commitment(*group, state, &salt))).collect()
    }

    fn known_commitment(&self, group: Group, state: &GroupState, salt: impl Fn(Group) -> Salt) -> Commitment {
        match (self.durable.get(&group), state) {
            (Some(commitment), _) | (None, GroupState::Erased { commitment, .. }) => *commitment,
            (None, GroupState::Open(map)) => commit(self.id, group, &salt(group), &map.to_bytes()),
        }
    }
}

fn write_salts(out: &mut Writer, salts: &Salts) {
    match salts {
        Salts::Secret(secret) => _ = out.bytes(secret),
        Salts::Each(salts) => {
            out.map(salts.len());
            for (group, salt) in salts {
                out.unsigned(group.code()).bytes(salt);
            }
        }
    }
}

fn write_erased(out: &mut Writer, commitment: &Commitment, disposal: Uuid) {
    out.array(2).bytes(commitment).bytes(disposal.as_bytes());
}

pub(crate) fn write_refs(out: &mut Writer, refs: &[Ref]) {
    out.array(refs.len());
    for Ref { rel, id } in refs {
        out.array(2).unsigned(rel.code()).bytes(id.as_bytes());
    }
}

pub(crate) fn read_refs(input: &mut Decoder<'_>) -> Result<Vec<Ref>, ReadError> {
    match input.array()? {
        Some(len) if len <= REFS_MAX as u64 => (0..len).map(|_| read_ref(input)).collect(),
        _ => Err(ReadError::message(format!("a record has at most {REFS_MAX} references"))),
    }
}

fn read_ref(input: &mut Decoder<'_>) -> Result<Ref, ReadError> {
    if input.array()? != Some(2) {
        return Err(ReadError::message("a reference has two parts"));
    }
    Ok(Ref { rel: Rel::read(input)?, id: read_id(input)? })
}

fn read_record(input: &mut Decoder<'_>) -> Result<Record, ReadError> {
    if input.map()? != Some(7) {
        return Err(ReadError::message("a record has seven entries"));
    }
    expect_key(input, 0)?;
    read_version(input)?;
    expect_key(input, 1)?;
    let id = read_id(input)?;
    expect_key(input, 2)?;
    let kind = Kind::read(input)?;
    expect_key(input, 3)?;
    let captured_at = input.i64()?;
    expect_key(input, 4)?;
    let refs = read_refs(input)?;
    expect_key(input, 5)?;
    let salts = read_salts(input)?;
    expect_key(input, 6)?;
    let groups = read_groups(input, read_state)?;
    check_salts(&salts, &groups).map_err(ReadError::message)?;
    Ok(Record::from_parts(id, kind, captured_at, refs, salts, groups))
}

/// A group has a salt as long as it is open.
fn check_salts(salts: &Salts, groups: &BTreeMap<Group, GroupState>) -> Result<(), String> {
    for (group, state) in groups {
        match (state, salts.has(*group)) {
            (GroupState::Open(_), false) => return Err(format!("group {group} has no salt")),
            (GroupState::Erased { .. }, true) => return Err(format!("group {group} is erased, but its salt is there")),
            _ => {}
        }
    }
    Ok(())
}

fn read_groups<T>(
    input: &mut Decoder<'_>,
    read: impl Fn(&mut Decoder<'_>) -> Result<T, ReadError>,
) -> Result<BTreeMap<Group, T>, ReadError> {
    let len = input.map()?.ok_or_else(|| ReadError::message("groups of unknown length"))?;
    (0..len).map(|_| Ok((read_group(input)?, read(input)?))).collect()
}

fn read_salts(input: &mut Decoder<'_>) -> Result<Salts, ReadError> {
    if input.datatype()? == Type::Bytes {
        return read_32(input).map(Salts::Secret);
    }
    read_groups(input, read_32).map(Salts::Each)
}

fn read_state(input: &mut Decoder<'_>) -> Result<GroupState, ReadError> {
    if input.datatype()? == Type::Bytes {
        // Whether the bytes are canonical shows when the whole record is compared with its encoding.
        return Map::read_whole(input.bytes()?).map(GroupState::Open).map_err(|e| ReadError::message(e.problem));
    }
    if input.array()? != Some(2) {
        return Err(ReadError::message("an erased group has two parts"));
    }
    Ok(GroupState::Erased { commitment: read_32(input)?, disposal: read_id(input)? })
}
