//! Many measured times, in short.

use std::time::Duration;

use serde_json::{Value, json};

/// Count, median and 99th percentile, in microseconds.
pub(crate) fn summary(times: &mut [Duration]) -> Value {
    times.sort_unstable();
    json!({ "count": times.len(), "p50_us": micros(times, 0.5), "p99_us": micros(times, 0.99) })
}

fn micros(sorted: &[Duration], quantile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * quantile).round() as usize).map(|time| time.as_nanos() as f64 / 1000.0)
}
