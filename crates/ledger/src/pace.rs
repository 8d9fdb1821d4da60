//! How many operations a batch waits for.

use std::time::{Duration, Instant};

/// How long a batch waits for a crowd that is on its way: some syncs of a quick disk.
pub(crate) const GRACE: Duration = Duration::from_millis(1);
/// Fewer operations are no crowd, and are not made to wait.
const CROWD: usize = 4;
/// An operation counts for that long, in [`GRACE`]s.
const MEMORY: f64 = 4.0;

/// How fast operations arrive.
///
/// Those who are answered often send the next one at once. If they are many and quick, half of them may do so before the
/// next sync: fewer syncs leave more of a busy machine to the calls, and the other half comes during the sync. A few are
/// not made to wait, nor are many who are slow, as calls of real models are.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Operations in [`GRACE`], smoothed.
    rate: f64,
    last: Instant,
}

impl Pace {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { rate: 0.0, last: now }
    }

    /// `count` operations have come since the last time.
    pub(crate) fn came(&mut self, count: usize, now: Instant) {
        let graces = now.duration_since(self.last).as_secs_f64() / GRACE.as_secs_f64();
        self.last = now;
        // The rate before fades while `graces` go by, and each of the operations adds its part.
        let kept = (-graces / MEMORY).exp();
        let new = if graces > f64::EPSILON { count as f64 / graces * (1.0 - kept) } else { count as f64 / MEMORY };
        self.rate = self.rate * kept + new;
    }

    /// How many operations the next batch waits for at most, when so many callers were just answered or have calls under
    /// way.
    pub(crate) fn expected(&self, callers: usize) -> usize {
        let expected = (callers / 2).min(self.rate as usize);
        if expected >= CROWD { expected } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is expected of `callers` after 1000 batches of `count` operations, each `micros` after the one before.
    fn expected(callers: usize, count: usize, micros: u64) -> usize {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..1000 {
            now += Duration::from_micros(micros);
            pace.came(count, now);
        }
        pace.expected(callers)
    }

    #[test]
    fn half_of_a_quick_crowd_is_waited_for_and_no_more_than_come() {
        assert_eq!(expected(64, 32, 200), 32);
        assert!((29..=30).contains(&expected(256, 3, 100)));
        assert!((59..=60).contains(&expected(256, 60, 1000)));
    }

    #[test]
    fn a_few_are_not_made_to_wait() {
        assert_eq!(expected(1, 1, 50), 1);
        assert_eq!(expected(7, 7, 100), 1);
    }

    #[test]
    fn many_calls_of_slow_models_are_not_made_to_wait() {
        assert_eq!(expected(500, 1, 5_000), 1);
        // A burst after an hour says nothing of what comes next.
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.came(400, now + Duration::from_hours(1));
        assert_eq!(pace.expected(400), 1);
    }

    #[test]
    fn a_rate_is_forgotten() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.came(100, now + Duration::from_millis(1));
        pace.came(1, now + Duration::from_millis(101));
        assert_eq!(pace.expected(500), 1);
    }

    #[test]
    fn two_batches_at_the_same_moment_are_no_infinite_rate() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.came(8, now);
        pace.came(8, now);
        assert_eq!(pace.expected(500), 4);
    }
}
