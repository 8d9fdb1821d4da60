//! How keys are written in C2SP signed notes, and the names and hashes by which their signature lines are found.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::Malformed;

/// What a key signs; the byte that stands before it and goes into its hash, so that no key can be taken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum KeyType {
    /// Notes, with Ed25519.
    Note = 1,
    /// Cosignatures of checkpoints (C2SP tlog-cosignature), with Ed25519.
    Cosignature = 4,
}

impl KeyType {
    /// The first four bytes of a key's hash.
    pub(crate) fn hash(self, name: &str, key: &VerifyingKey) -> u32 {
        let hash =
            Sha256::new_with_prefix(name).chain_update([b'\n', self as u8]).chain_update(key.as_bytes()).finalize();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    fn encode(self, bytes: &[u8; 32]) -> String {
        BASE64.encode([&[self as u8], &bytes[..]].concat())
    }

    fn decode(self, encoded: &str, what: &'static str) -> Result<[u8; 32], Malformed> {
        let bytes = BASE64.decode(encoded).map_err(|e| Malformed::new(what, e.to_string()))?;
        match bytes.split_first() {
            Some((kind, key)) if *kind == self as u8 => {
                key.try_into().map_err(|_| Malformed::new(what, "an Ed25519 key has 32 bytes"))
            }
            Some((kind, _)) => Err(Malformed::new(what, format!("it is a key of type {kind}, not {}", self as u8))),
            None => Err(Malformed::new(what, "it is empty")),
        }
    }

    /// `name+hash+base64`.
    pub(crate) fn write_public(self, name: &str, key: &VerifyingKey) -> String {
        format!("{name}+{:08x}+{}", self.hash(name, key), self.encode(key.as_bytes()))
    }

    /// `PRIVATE+KEY+name+hash+base64`.
    pub(crate) fn write_secret(self, name: &str, key: &SigningKey) -> String {
        format!("PRIVATE+KEY+{name}+{:08x}+{}", self.hash(name, &key.verifying_key()), self.encode(&key.to_bytes()))
    }

    pub(crate) fn read_public(self, text: &str, what: &'static str) -> Result<(String, VerifyingKey), Malformed> {
        let (name, hash, bytes) = self.parts(text.trim(), what, "name+hash+key")?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|e| Malformed::new(what, e.to_string()))?;
        self.matches(&name, &hash, &key, what)?;
        Ok((name, key))
    }

    pub(crate) fn read_secret(self, text: &str, what: &'static str) -> Result<(String, SigningKey), Malformed> {
        let rest = text.trim().strip_prefix("PRIVATE+KEY+").unwrap_or_default();
        let (name, hash, bytes) = self.parts(rest, what, "PRIVATE+KEY+name+hash+key")?;
        let key = SigningKey::from_bytes(&bytes);
        self.matches(&name, &hash, &key.verifying_key(), what)?;
        Ok((name, key))
    }

    fn parts(self, text: &str, what: &'static str, form: &str) -> Result<(String, String, [u8; 32]), Malformed> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Malformed::new(what, format!("it is not of the form {form}")));
        };
        Ok((name.to_owned(), hash.to_owned(), self.decode(key, what)?))
    }

    fn matches(self, name: &str, hash: &str, key: &VerifyingKey, what: &'static str) -> Result<(), Malformed> {
        if is_name(name) && format!("{:08x}", self.hash(name, key)) == hash {
            return Ok(());
        }
        Err(Malformed::new(what, "its name and its key do not match its hash"))
    }
}

/// True if `name` can stand in a note: not empty, no white space, no plus sign, none of the characters that a note must
/// not have.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c < ' ' || c.is_whitespace() || c == '+')
}

/// Refuses what is no name of a key.
pub(crate) fn check_name(name: &str) -> Result<(), Malformed> {
    if is_name(name) {
        return Ok(());
    }
    Err(Malformed::new("key name", format!("{name:?}: white space, control characters and + are not allowed")))
}
