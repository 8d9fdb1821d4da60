//! Sizes in bytes, written with a unit.

use std::fmt;
use std::str::FromStr;

use super::value::{Setting, as_text};

/// Units in the order that printing tries them: the first that divides the size is taken.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A number of bytes, written as a whole number with a unit: "64 MiB", "512KiB", "1 GB".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ByteSize(u64);

/// The text is no size.
#[derive(Debug, thiserror::Error)]
#[error("must be a whole number with a unit: B, KiB, MiB, GiB, TiB, kB, MB, GB or TB")]
pub(crate) struct NotASize;

impl ByteSize {
    /// The number of bytes.
    pub(crate) const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as a length in memory; what does not fit is as good as unlimited.
    pub(crate) fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(NotASize)?;
        let (number, unit) = text.split_at(digits);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or(NotASize)?;
        let number: u64 = number.parse().map_err(|_| NotASize)?;
        number.checked_mul(*factor).map(Self).ok_or(NotASize)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        let (unit, factor) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{} {unit}", self.0 / factor)
    }
}

impl Setting for ByteSize {
    fn read(value: &toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::String(_) => as_text(value)?.parse().map_err(|error: NotASize| error.to_string()),
            _ => Err(NotASize.to_string()),
        }
    }

    fn rank(&self) -> u128 {
        u128::from(self.0)
    }
}
