//! The leaf: what the tree holds of a record. It names the record and commits to its groups, and holds no content.

use minicbor::Decoder;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::group::{Group, Salt};
use crate::record::{Kind, Ref, read_refs, write_refs};
use crate::writer::Writer;
use crate::{FORMAT_VERSION, Hash, Malformed, merkle};

/// The largest leaf, in bytes. Eight commitments and [`REFS_MAX`](crate::REFS_MAX) references take about 2 KiB.
pub const LEAF_MAX: usize = 4096;

const GROUP_DOMAIN: &[u8] = b"onrecord/v1/group\0";

/// The SHA-256 by which a leaf binds the contents of one group.
pub type Commitment = [u8; 32];

/// `SHA-256("onrecord/v1/group" ‖ 0x00 ‖ id ‖ group ‖ salt ‖ canonical bytes)`.
pub(crate) fn commit(id: Uuid, group: Group, salt: &Salt, bytes: &[u8]) -> Commitment {
    let hash = Sha256::new_with_prefix(GROUP_DOMAIN);
    hash.chain_update(id.as_bytes())
        .chain_update([group.code()])
        .chain_update(salt)
        .chain_update(bytes)
        .finalize()
        .into()
}

/// A leaf of the tree, in the order in which it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The record's id, a UUIDv7.
    pub id: Uuid,
    /// What kind of record it is.
    pub kind: Kind,
    /// When the call began by the recorder's clock, in microseconds since 1970-01-01 UTC.
    pub captured_at: i64,
    /// When it was committed by the recorder's clock, in microseconds since 1970-01-01 UTC.
    pub committed_at: i64,
    /// The records that this one refers to.
    pub refs: Vec<Ref>,
    /// One commitment for each group that the record has, in the order of the groups.
    pub commitments: Vec<(Group, Commitment)>,
}

impl Leaf {
    /// The deterministic CBOR of the leaf.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64 + 22 * self.refs.len() + 35 * self.commitments.len());
        out.map(7);
        out.unsigned(0_u8).unsigned(FORMAT_VERSION);
        out.unsigned(1_u8).bytes(self.id.as_bytes());
        out.unsigned(2_u8).unsigned(self.kind.code());
        out.unsigned(3_u8).int(self.captured_at);
        out.unsigned(4_u8).int(self.committed_at);
        write_refs(out.unsigned(5_u8), &self.refs);
        out.unsigned(6_u8).map(self.commitments.len());
        for (group, commitment) in &self.commitments {
            out.unsigned(group.code()).bytes(commitment);
        }
        out.into_bytes()
    }

    /// Reads a leaf; bytes that are not its canonical encoding, or exceed [`LEAF_MAX`], are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > LEAF_MAX {
            return Err(Malformed::new("leaf", format!("{} bytes, the limit is {LEAF_MAX}", bytes.len())));
        }
        let leaf = read_leaf(&mut Decoder::new(bytes)).map_err(|e| Malformed::new("leaf", e.to_string()))?;
        if leaf.to_bytes() != bytes {
            return Err(Malformed::new("leaf", "the encoding is not canonical"));
        }
        Ok(leaf)
    }

    /// The leaf hash, `SHA-256(0x00 ‖ bytes)` (RFC 6962 §2.1).
    pub fn hash(&self) -> Hash {
        merkle::leaf_hash(&self.to_bytes())
    }

    /// The commitment to `group`, if the record has that group.
    pub fn commitment(&self, group: Group) -> Option<&Commitment> {
        self.commitments.iter().find(|(have, _)| *have == group).map(|(_, commitment)| commitment)
    }
}

type ReadError = minicbor::decode::Error;

fn read_leaf(input: &mut Decoder<'_>) -> Result<Leaf, ReadError> {
    if input.map()? != Some(7) {
        return Err(ReadError::message("a leaf has seven entries"));
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
    let committed_at = input.i64()?;
    expect_key(input, 5)?;
    let refs = read_refs(input)?;
    expect_key(input, 6)?;
    Ok(Leaf { id, kind, captured_at, committed_at, refs, commitments: read_commitments(input)? })
}

fn read_commitments(input: &mut Decoder<'_>) -> Result<Vec<(Group, Commitment)>, ReadError> {
    let len = input.map()?.ok_or_else(|| ReadError::message("commitments of unknown length"))?;
    let mut commitments = Vec::<(Group, Commitment)>::new();
    for _ in 0..len {
        let group = read_group(input)?;
        if commitments.last().is_some_and(|(last, _)| *last >= group) {
            return Err(ReadError::message(format!("group {group} is out of order or there twice")));
        }
        commitments.push((group, read_32(input)?));
    }
    Ok(commitments)
}

pub(crate) fn expect_key(input: &mut Decoder<'_>, key: u64) -> Result<(), ReadError> {
    let found = input.u64()?;
    if found == key { Ok(()) } else { Err(ReadError::message(format!("entry {found} where {key} belongs"))) }
}

pub(crate) fn read_version(input: &mut Decoder<'_>) -> Result<(), ReadError> {
    match input.u64()? {
        FORMAT_VERSION => Ok(()),
        0 => Err(ReadError::message("there is no format version 0")),
        newer => Err(ReadError::message(format!("format version {newer} is newer than this program"))),
    }
}

pub(crate) fn read_id(input: &mut Decoder<'_>) -> Result<Uuid, ReadError> {
    Uuid::from_slice(input.bytes()?).map_err(|_| ReadError::message("an id has 16 bytes"))
}

pub(crate) fn read_32(input: &mut Decoder<'_>) -> Result<[u8; 32], ReadError> {
    input.bytes()?.try_into().map_err(|_| ReadError::message("32 bytes belong here"))
}

pub(crate) fn read_group(input: &mut Decoder<'_>) -> Result<Group, ReadError> {
    let code = input.u64()?;
    Group::from_code(code).ok_or_else(|| ReadError::message(format!("there is no group {code}")))
}
