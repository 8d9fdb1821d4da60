//! Times as programs send them.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// A time: RFC 3339, or microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Moment {
    Micros(i64),
    Text(jiff::Timestamp),
}

impl Moment {
    /// Microseconds since 1970-01-01 UTC.
    pub(crate) fn micros(self) -> i64 {
        match self {
            Self::Micros(micros) => micros,
            Self::Text(time) => time.as_microsecond(),
        }
    }

    /// The microseconds of a time that may be left out.
    pub(crate) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        Ok(Option::<Self>::deserialize(deserializer)?.map(Self::micros))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading)
    }
}

struct Reading;

impl Visitor<'_> for Reading {
    type Value = Moment;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time: RFC 3339, as 2026-01-31T12:00:00Z, or microseconds since 1970-01-01 UTC")
    }

    fn visit_i64<E: Error>(self, micros: i64) -> Result<Moment, E> {
        Ok(Moment::Micros(micros))
    }

    fn visit_u64<E: Error>(self, micros: u64) -> Result<Moment, E> {
        let too_large = |_| E::invalid_value(serde::de::Unexpected::Unsigned(micros), &self);
        i64::try_from(micros).map(Moment::Micros).map_err(too_large)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
        let micros = text.parse().map(Moment::Micros);
        let time = |_| text.parse().map(Moment::Text);
        micros.or_else(time).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds() {
        for (sent, micros) in [
            ("1796096788000000", 1_796_096_788_000_000),
            ("-5", -5),
            (r#""1796096788000000""#, 1_796_096_788_000_000),
            (r#""2026-12-01T03:46:28Z""#, 1_796_096_788_000_000),
            (r#""2026-12-01T04:46:28.5+01:00""#, 1_796_096_788_500_000),
        ] {
            assert_eq!(serde_json::from_str::<Moment>(sent).unwrap().micros(), micros, "{sent}");
        }
        for sent in [r#""yesterday""#, r#""1h""#, r#""2026-12-01""#, "18446744073709551615", "1.5", "true", "null"] {
            let problem = serde_json::from_str::<Moment>(sent).unwrap_err().to_string();
            assert!(problem.contains("RFC 3339") && problem.contains("microseconds"), "{sent}: {problem}");
        }
    }
}
