//! What the log counts of its own work, for whoever watches it. Each number is an atomic of its own: nothing is locked, and
//! a snapshot need not be of one instant.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use onrecord_proof::Kind;

/// How many durations there were of which length.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration],
    /// One for each bound, and the last for what is longer than all; not added up.
    counts: Vec<AtomicU64>,
    sum_us: AtomicU64,
}

impl Histogram {
    /// With the upper bounds of its buckets, the least first.
    pub fn new(bounds: &'static [Duration]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_us: AtomicU64::new(0) }
    }

    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let bucket = self.bounds.partition_point(|bound| *bound < took);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Each bound with how many were not longer, then without a bound how many there were.
    pub fn buckets(&self) -> Vec<(Option<Duration>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count.load(Ordering::Relaxed);
            Some(*sum)
        });
        bounds.zip(counts).collect()
    }

    /// The sum of all, in seconds.
    pub fn sum(&self) -> f64 {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64()
    }
}

/// From a memory of its own to a disk that is about to fail.
const SYNC_BOUNDS: [Duration; 10] = [
    Duration::from_micros(100),
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// What a log has counted since it was opened.
#[derive(Debug)]
pub struct Measures {
    /// How long making a batch durable took.
    pub syncs: Histogram,
    failures: AtomicU64,
    /// By [`Kind::ALL`].
    records: Vec<AtomicU64>,
    signed_at: AtomicI64,
}

impl Default for Measures {
    fn default() -> Self {
        let records = Kind::ALL.iter().map(|_| AtomicU64::new(0)).collect();
        let syncs = Histogram::new(&SYNC_BOUNDS);
        Self { syncs, failures: AtomicU64::new(0), records, signed_at: AtomicI64::new(0) }
    }
}

impl Measures {
    /// Batches that could not be written, not even to a new segment.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Records that were handed in, by kind.
    pub fn records(&self) -> impl Iterator<Item = (Kind, u64)> {
        Kind::ALL.iter().copied().zip(self.records.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// When a checkpoint was last signed, in microseconds since 1970-01-01 UTC; `None` if none was since the log was opened.
    pub fn signed_at(&self) -> Option<i64> {
        Some(self.signed_at.load(Ordering::Relaxed)).filter(|at| *at != 0)
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn took(&self, kind: Kind) {
        if let Some(number) = Kind::ALL.iter().position(|known| *known == kind) {
            self.records[number].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn signed(&self, at: i64) {
        self.signed_at.store(at, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_not_longer_than_its_bound() {
        const BOUNDS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];
        let histogram = Histogram::new(&BOUNDS);
        for micros in [500, 1000, 1001, 10_000, 50_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts: Vec<_> = histogram.buckets().into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 4, 5]);
        assert!((histogram.sum() - 0.062_501).abs() < 1e-9);
    }
}
