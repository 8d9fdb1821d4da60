//! The pace of a stream: when its first content came, and how far apart what followed came.

use onrecord_proof::{Record, field};

/// Buckets of each power of two; a percentile is off by a sixteenth at most.
const FINE: u32 = 8;
/// Intervals of 2^32 µs and more, which is an hour, are in the last bucket.
const POWERS: u32 = 32;
const BUCKETS: usize = ((POWERS - FINE.ilog2() + 1) * FINE) as usize;

/// Takes note of when content came. About a kilobyte from the second piece of content on, however many follow.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    first_us: Option<i64>,
    last_us: i64,
    intervals: Option<Box<Intervals>>,
}

/// How often intervals of which length were seen.
#[derive(Debug)]
struct Intervals {
    counts: [u32; BUCKETS],
    count: u64,
    max_us: u64,
}

impl Pace {
    /// Content came, `at_us` microseconds after the request's head.
    pub(crate) fn spoke(&mut self, at_us: i64) {
        if self.first_us.is_none() {
            self.first_us = Some(at_us);
        } else {
            let since = u64::try_from(at_us.saturating_sub(self.last_us)).unwrap_or(0);
            self.intervals.get_or_insert_with(Box::default).add(since);
        }
        self.last_us = at_us;
    }

    /// Records when content came, and, if `output_tokens` are known, how many of them a second.
    pub(crate) fn record(&self, output_tokens: Option<i64>, record: &mut Record) {
        let Some(first) = self.first_us else { return };
        record.set(&field::FIRST_TOKEN, first);
        let Some(intervals) = &self.intervals else { return };
        for (field, value) in [
            (&field::INTERVAL_P50, intervals.quantile(50)),
            (&field::INTERVAL_P95, intervals.quantile(95)),
            (&field::INTERVAL_MAX, intervals.max_us),
        ] {
            record.set(field, i64::try_from(value).unwrap_or(i64::MAX));
        }
        let (tokens, span) = (output_tokens.unwrap_or(0) - 1, self.last_us - first);
        if tokens > 0 && span > 0 {
            record.set(&field::TOKENS_PER_SECOND, tokens as f64 * 1e6 / span as f64);
        }
    }
}

impl Default for Intervals {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], count: 0, max_us: 0 }
    }
}

impl Intervals {
    fn add(&mut self, us: u64) {
        let count = &mut self.counts[bucket(us)];
        *count = count.saturating_add(1);
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The interval that `percent` of them do not exceed.
    fn quantile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        at.map_or(self.max_us, middle).min(self.max_us)
    }
}

/// The bucket of an interval: exact below 2 [`FINE`], then [`FINE`] of them for each power of two.
fn bucket(us: u64) -> usize {
    let us = us.min((1 << POWERS) - 1);
    let power = us.max(1).ilog2();
    let shift = power.saturating_sub(FINE.ilog2());
    (u64::from(shift * FINE) + (us >> shift)) as usize
}

/// The middle of a bucket.
const fn middle(bucket: usize) -> u64 {
    let (bucket, fine) = (bucket as u64, FINE as u64);
    if bucket < 2 * fine {
        return bucket;
    }
    let shift = bucket / fine - 1;
    let low = (bucket - shift * fine) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interval_has_a_bucket_whose_middle_is_close() {
        for us in (0..5000).chain((0..40).map(|power| (1 << power) + 1)) {
            let (at, known) = (bucket(us), us.min((1 << POWERS) - 1));
            assert!(at < BUCKETS, "{us}");
            assert!(middle(at).abs_diff(known) <= known / 16, "{us} is taken for {}", middle(at));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_intervals() {
        let mut pace = Pace::default();
        let (mut at, mut sorted) = (500, Vec::new());
        pace.spoke(at);
        for n in 0_u64..1000 {
            let interval = 100 + n * n * 7919 % 90_000;
            at += i64::try_from(interval).unwrap();
            sorted.push(interval);
            pace.spoke(at);
        }
        sorted.sort_unstable();
        let intervals = pace.intervals.as_ref().unwrap();
        for (percent, exact) in [(50, sorted[499]), (95, sorted[949]), (100, sorted[999])] {
            assert!(intervals.quantile(percent).abs_diff(exact) <= exact / 16 + 1, "{percent}: {exact}");
        }
        assert_eq!((intervals.max_us, pace.first_us), (sorted[999], Some(500)));
    }

    #[test]
    fn the_clock_may_stand_still_or_go_back() {
        let mut pace = Pace::default();
        for at in [5, 5, 3] {
            pace.spoke(at);
        }
        let intervals = pace.intervals.unwrap();
        assert_eq!((intervals.count, intervals.max_us, intervals.quantile(95)), (2, 0, 0));
    }
}
