//! Numbers as people read them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Bytes with a binary unit and three digits: "999 B", "1.46 KiB", "64.0 MiB".
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024 belongs to the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

/// A duration in the unit that suits it: "840 µs", "12.3 ms", "1.24 s", "2m 05s", "3h 20m", "4d 06h".
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 0.000_999_5 => format!("{} µs", (s * 1e6).round()),
        s if s < 0.999_5 => format!("{} ms", three_digits(s * 1e3)),
        s if s < 59.95 => format!("{} s", three_digits(s)),
        _ if whole < 3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        _ if whole < 86_400 => format!("{}h {:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d {:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// A count with its thousands set apart: "1,234,567".
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Local date and time of microseconds since 1970-01-01 UTC: "2026-05-01 14:03:22".
pub(crate) fn clock(micros: i64) -> String {
    in_zone(micros, TimeZone::system(), "%Y-%m-%d %H:%M:%S")
}

/// The same of a time in RFC 3339; what is none is shown as it is.
pub(crate) fn clock_of(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(|_| time.to_owned(), |time| clock(time.as_microsecond()))
}

fn in_zone(micros: i64, zone: TimeZone, format: &str) -> String {
    match Timestamp::from_microsecond(micros) {
        Ok(time) => time.to_zoned(zone).strftime(format).to_string(),
        // Outside of the years that a calendar has; shown as it is rather than not at all.
        Err(_) => format!("{micros} µs"),
    }
}

/// Three significant digits, or all of them before the point.
fn three_digits(value: f64) -> String {
    let decimals = match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (size, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1500, "1.46 KiB"),
            (64 << 20, "64.0 MiB"),
            ((1 << 20) - 1, "1.00 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(size), shown);
        }
    }

    #[test]
    fn durations() {
        for (micros, shown) in [
            (0, "0 µs"),
            (840, "840 µs"),
            (12_345, "12.3 ms"),
            (999_400, "999 ms"),
            (999_999, "1.00 s"),
            (59_940_000, "59.9 s"),
            (59_990_000, "1m 00s"),
            (125_400_000, "2m 05s"),
            (3_599_900_000, "1h 00m"),
            (12_000_000_000, "3h 20m"),
            (367_200_000_000, "4d 06h"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), shown);
        }
        assert!(duration(Duration::MAX).ends_with('h'));
    }

    #[test]
    fn counts() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), shown);
        }
    }

    #[test]
    fn times() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let micros = 1_777_636_802_123_456;
        let shown = in_zone(micros, zone, "%Y-%m-%d %H:%M:%S%.3f %:z");
        assert_eq!(shown, "2026-05-01 14:00:02.123 +02:00");
        assert_eq!(in_zone(i64::MIN, TimeZone::UTC, "%Y"), "-9223372036854775808 µs");
        assert_eq!(clock(micros).len(), "2026-05-01 14:00:02".len());
    }
}
