//! Disclosure groups: which fields are shown or hidden together, and the salts that keep hidden ones from being guessed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The 32 random bytes of a record, from which the salts of its groups are derived.
pub type Secret = [u8; 32];
/// What is hashed in front of a group's bytes so that a short value cannot be guessed from its commitment.
pub type Salt = [u8; 32];

const SALT_DOMAIN: &[u8] = b"onrecord/v1/salt\0";

macro_rules! groups {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal $text:literal,)*) => {
        /// Fields that are committed to, revealed and erased together.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Group { $($(#[doc = $doc])* $name = $code,)* }

        impl Group {
            /// Every group in the order of its code.
            pub const ALL: [Self; 8] = [$(Self::$name),*];

            /// The name used in queries, evidence and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The group of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            /// The group of that code.
            pub const fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

groups! {
    /// The end user, the application and the key that was presented.
    Who = 1 "who",
    /// Session, request, trace, tags, route: what the call belongs to.
    Context = 2 "context",
    /// Model, parameters, templates and plugins.
    Config = 3 "config",
    /// What the model was given.
    Input = 4 "input",
    /// What it answered.
    Output = 5 "output",
    /// What it decided, token by token.
    Decisions = 6 "decisions",
    /// Time, tokens and memory.
    Performance = 7 "performance",
    /// How the call ended.
    Outcome = 8 "outcome",
}

impl Group {
    /// The code used in encodings.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The salt of this group in a record with `secret`: `HMAC-SHA-256(secret, "onrecord/v1/salt" ‖ 0x00 ‖ code)`.
    pub fn salt(self, secret: &Secret) -> Salt {
        SaltKey::new(secret).salt(self)
    }
}

/// A record's secret as the key of its salts, so that several of them take the secret in once.
pub(crate) struct SaltKey(Hmac<Sha256>);

impl SaltKey {
    pub(crate) fn new(secret: &Secret) -> Self {
        // HMAC pads a key of 32 bytes with zeros to the block of 64 (RFC 2104 §2).
        let mut key = [0; 64];
        key[..32].copy_from_slice(secret);
        Self(Hmac::new(&key.into()).chain_update(SALT_DOMAIN))
    }

    pub(crate) fn salt(&self, group: Group) -> Salt {
        self.0.clone().chain_update([group.code()]).finalize().into_bytes().into()
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupSet(u16);

impl GroupSet {
    /// No group.
    pub const EMPTY: Self = Self(0);

    /// True if `group` is in the set.
    pub const fn contains(self, group: Group) -> bool {
        self.0 & (1 << group.code()) != 0
    }

    /// Adds `group`.
    pub fn insert(&mut self, group: Group) {
        self.0 |= 1 << group.code();
    }

    /// Takes `group` out.
    pub fn remove(&mut self, group: Group) {
        self.0 &= !(1 << group.code());
    }
}

impl FromIterator<Group> for GroupSet {
    fn from_iter<I: IntoIterator<Item = Group>>(groups: I) -> Self {
        let mut set = Self::EMPTY;
        groups.into_iter().for_each(|group| set.insert(group));
        set
    }
}
