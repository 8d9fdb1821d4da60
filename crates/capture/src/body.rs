//! One body as it went over the wire: its size, its digest and a bounded copy.

use onrecord_proof::{Field, Record, field};
use sha2::{Digest, Sha256};

use crate::BodyHead;

/// The fields that describe a body.
pub(crate) struct Fields {
    body: &'static Field,
    size: &'static Field,
    sha256: &'static Field,
    content_type: &'static Field,
    encoding: &'static Field,
    truncated: &'static Field,
}

pub(crate) const INPUT: Fields = Fields {
    body: &field::INPUT_BODY,
    size: &field::INPUT_SIZE,
    sha256: &field::INPUT_SHA256,
    content_type: &field::INPUT_CONTENT_TYPE,
    encoding: &field::INPUT_ENCODING,
    truncated: &field::INPUT_TRUNCATED,
};

pub(crate) const OUTPUT: Fields = Fields {
    body: &field::OUTPUT_BODY,
    size: &field::OUTPUT_SIZE,
    sha256: &field::OUTPUT_SHA256,
    content_type: &field::OUTPUT_CONTENT_TYPE,
    encoding: &field::OUTPUT_ENCODING,
    truncated: &field::OUTPUT_TRUNCATED,
};

/// A body that is being received.
pub(crate) struct Body {
    kept: Vec<u8>,
    limit: usize,
    size: u64,
    hash: Sha256,
}

impl Body {
    /// An empty body, of which `limit` bytes will be kept.
    pub(crate) fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), limit, size: 0, hash: Sha256::new() }
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        self.hash.update(piece);
        let room = self.limit - self.kept.len();
        self.kept.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// The first bytes, up to the limit.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// True if the body is longer than what is kept of it.
    pub(crate) fn is_cut(&self) -> bool {
        self.size > self.kept.len() as u64
    }

    /// Records the body, and its bytes if `keep` says so. An empty body has no bytes to record.
    pub(crate) fn record(self, fields: &Fields, head: BodyHead<'_>, keep: bool, record: &mut Record) {
        if keep && self.is_cut() {
            record.set(fields.truncated, true);
        }
        record.set(fields.size, i64::try_from(self.size).unwrap_or(i64::MAX));
        record.set(fields.sha256, <[u8; 32]>::from(self.hash.finalize()));
        if keep && !self.kept.is_empty() {
            record.set(fields.body, self.kept);
        }
        for (field, value) in [(fields.content_type, head.content_type), (fields.encoding, head.content_encoding)] {
            if let Some(value) = value {
                record.set(field, value);
            }
        }
    }
}
