//! The hits that a list shows, the best or the newest, and what need not be looked at for it.

use std::cmp::Ordering as Order;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::run::Found;

/// Which hits are wanted.
#[derive(Debug, Clone)]
pub(super) struct Best {
    limit: usize,
    newest: bool,
    /// There are as many hits as are wanted with this score or a higher one: the bits of a float that is not negative.
    bar: Arc<AtomicU32>,
}

impl Best {
    pub(super) fn new(limit: usize, newest: bool) -> Self {
        Self { limit, newest, bar: Arc::default() }
    }

    /// Leaves out rows of which the score alone tells that they are not wanted.
    pub(super) fn pass(&self, rows: &mut Vec<(u32, f32)>) {
        if self.newest {
            return;
        }
        let bar = f32::from_bits(self.bar.load(Ordering::Relaxed));
        rows.retain(|(_, score)| *score >= bar);
        if self.limit == 0 {
            rows.clear();
        } else if rows.len() > self.limit {
            let mut scores: Vec<_> = rows.iter().map(|(_, score)| *score).collect();
            let (_, last, _) = scores.select_nth_unstable_by(self.limit - 1, |a, b| b.total_cmp(a));
            let last = *last;
            rows.retain(|(_, score)| *score >= last);
        }
    }

    /// Keeps those that are wanted, in order.
    pub(super) fn keep(&self, found: &mut Vec<Found>) {
        first(found, self.limit, self.newest);
        if let Some(last) = found.last()
            && !self.newest
            && found.len() == self.limit
        {
            self.bar.fetch_max(last.score.to_bits(), Ordering::Relaxed);
        }
    }
}

/// Keeps the first hits: by score and then the newest, or the newest.
fn first(found: &mut Vec<Found>, limit: usize, newest: bool) {
    found.sort_by(|a, b| {
        let by_score = if newest { Order::Equal } else { b.score.total_cmp(&a.score) };
        by_score.then((b.time, b.leaf).cmp(&(a.time, a.leaf)))
    });
    found.truncate(limit);
}
