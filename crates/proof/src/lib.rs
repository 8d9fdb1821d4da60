//! What an auditor must trust, and nothing else: the record model and its canonical encoding, salted commitments,
//! leaves, the Merkle tree, signed checkpoints, and evidence that is checked offline.
//!
//! No clock, no files, no sockets, no async. `FORMAT.md` at the root of the repository is the byte-exact
//! specification of everything here; `testdata/v1/` holds its test vectors.

pub mod batch;
pub mod cbor;
pub mod checkpoint;
pub mod cosignature;
pub mod evidence;
pub mod field;
mod group;
mod key;
mod keys;
mod leaf;
pub mod manifest;
pub mod merkle;
pub mod note;
mod prepared;
mod record;
pub mod tile;
mod writer;

pub use cbor::{Map, Value};
pub use checkpoint::Checkpoint;
pub use field::{Field, Shape};
pub use group::{Group, GroupSet, Salt, Secret};
pub use keys::{KeyHistory, Rotation};
pub use leaf::{Commitment, LEAF_MAX, Leaf};
pub use merkle::Hash;
pub use prepared::Prepared;
pub use record::{GroupState, Kind, REFS_MAX, Record, Ref, Rel, Salts};

/// The version of the record and leaf formats that this crate writes.
pub const FORMAT_VERSION: u64 = 1;

/// Bytes that are not a valid record, leaf, note, checkpoint or proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct Malformed {
    /// What was being read, e.g. `leaf` or `signed note`.
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl Malformed {
    pub(crate) fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self { what, problem: problem.into() }
    }
}
