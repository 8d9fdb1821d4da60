//! One access token: its text, which is shown once, and what is kept of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::role::{Identity, Role};

/// What every token starts with; it tells our tokens from the model server's keys, and secret scanners find it.
pub(super) const PREFIX: &str = "onr_";
/// The letters of an id: 32, none of which looks like another one, and no `-` that a command line takes for a flag.
const ID_LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const ID_LENGTH: usize = 8;
/// 32 bytes in base64url.
const SECRET_LENGTH: usize = 43;

/// What is kept of a token. Its text cannot be recovered from this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// Eight letters and digits, to name the token with; also part of its text.
    pub(crate) id: String,
    /// Who it was made for.
    pub(crate) name: String,
    /// What it allows.
    pub(crate) role: Role,
    /// When it was created.
    pub(crate) created: Timestamp,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Timestamp>,
    #[serde(with = "base64url")]
    salt: [u8; 16],
    #[serde(with = "base64url")]
    hash: [u8; 32],
}

/// A token as its owner presents it: `onr_<id>_<secret>`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenText(String);

impl Token {
    /// A new token and its text.
    pub(super) fn generate(name: &str, role: Role) -> Result<(Self, TokenText), getrandom::Error> {
        let secret = BASE64URL.encode(random::<32>()?);
        let id = random::<ID_LENGTH>()?.map(|byte| char::from(ID_LETTERS[usize::from(byte) % ID_LETTERS.len()]));
        let id = String::from_iter(id);
        let text = TokenText(format!("{PREFIX}{id}_{secret}"));
        let salt = random()?;
        let hash = digest(&salt, &secret);
        let token = Self { id, name: name.to_owned(), role, created: Timestamp::now(), revoked: None, salt, hash };
        Ok((token, text))
    }

    /// True if `secret` is this token's and it was not revoked.
    pub(super) fn accepts(&self, secret: &str) -> bool {
        let same = bool::from(digest(&self.salt, secret).ct_eq(&self.hash));
        same && self.revoked.is_none()
    }

    pub(super) fn identity(&self) -> Identity {
        let (name, token) = (self.name.clone(), Some(self.id.clone()));
        Identity { name, role: self.role, token, token_in_authorization: false }
    }
}

impl TokenText {
    /// The text, to be shown to its owner and nobody else.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(hidden)")
    }
}

/// Id and secret of a token's text; none if it has another form.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_at_checked(ID_LENGTH)?;
    let secret = secret.strip_prefix('_')?;
    (secret.len() == SECRET_LENGTH).then_some((id, secret))
}

/// SHA-256(salt ‖ secret). A slow hash protects what people choose; this secret is 256 random bits, which no speed of
/// hashing makes guessable, and it is checked on every call.
fn digest(salt: &[u8; 16], secret: &str) -> [u8; 32] {
    Sha256::new_with_prefix(salt).chain_update(secret).finalize().into()
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Bytes as base64url in the token file.
mod base64url {
    use base64::Engine as _;
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    use super::BASE64URL;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64URL.decode(text).map_err(D::Error::custom)?;
        let length = bytes.len();
        bytes.try_into().map_err(|_| D::Error::custom(format!("{length} bytes instead of {N}")))
    }
}
