//! The recorder's clock. Order in the log comes from the leaf index; a time is only a claim.

use std::time::SystemTime;

/// Microseconds since 1970-01-01 UTC.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The UTC date of a time, `YYYY-MM-DD`.
pub(crate) fn day(at: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(at).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}
