//! Steps that wait for the log.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::step::Step;

/// Steps that are written before the log is waited for: one sync covers them all.
const BATCH: usize = 256;

/// What became of the steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Steps that are durable.
    pub steps: u64,
    /// Steps that are not on record, of which a `gap` record tells.
    pub dropped: u64,
    /// Steps that are not on record, and no `gap` record tells of them: not yet, or after closing, never.
    pub unstated: u64,
    /// Spans that have not closed. They are not on record, and are not when they close after the recorder.
    pub open: u64,
}

/// Steps that are not on record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gap {
    pub(crate) steps: u64,
    pub(crate) from: i64,
    pub(crate) until: i64,
}

#[derive(Debug, Default)]
struct State {
    steps: VecDeque<Step>,
    /// What was dropped and is not stated.
    gap: Option<Gap>,
    /// What was taken out to be stated, and is not yet.
    being_stated: u64,
    written: Written,
    is_closed: bool,
}

/// The queue between the application and the thread that writes. Its lock is held for moments, never while anybody waits
/// for the disk.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    max: usize,
}

impl Queue {
    pub(crate) fn new(max: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), max }
    }

    /// A span has begun.
    pub(crate) fn open(&self) {
        self.lock().written.open += 1;
    }

    /// A span has closed. Its step is dropped if there is no room.
    pub(crate) fn put(&self, step: Step) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.written.open = state.written.open.saturating_sub(1);
        if state.steps.len() < self.max {
            state.steps.push_back(step);
            self.arrived.notify_one();
        } else {
            state.miss(1, onrecord_ledger::now());
        }
    }

    /// Waits for steps. `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Vec<Step>> {
        let mut state = self.lock();
        while state.steps.is_empty() && !state.is_closed {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.steps.len().min(BATCH);
        (count > 0).then(|| state.steps.drain(..count).collect())
    }

    /// So many steps are durable, and others are not on record.
    pub(crate) fn wrote(&self, durable: u64, missed: u64) {
        let mut state = self.lock();
        state.written.steps += durable;
        if missed > 0 {
            state.miss(missed, onrecord_ledger::now());
        }
    }

    /// Takes out the gap that is to be stated.
    pub(crate) fn take_gap(&self) -> Option<Gap> {
        let mut state = self.lock();
        let gap = state.gap.take()?;
        state.being_stated = gap.steps;
        Some(gap)
    }

    /// The gap that was taken out is on record.
    pub(crate) fn stated(&self) {
        let mut state = self.lock();
        state.written.dropped += std::mem::take(&mut state.being_stated);
    }

    /// The gap that was taken out could not be stated; later it may.
    pub(crate) fn put_back(&self, gap: Gap) {
        let mut state = self.lock();
        state.being_stated = 0;
        let newer = state.gap.unwrap_or(Gap { steps: 0, ..gap });
        state.gap = Some(Gap { steps: gap.steps + newer.steps, from: gap.from, until: newer.until });
    }

    /// Takes nothing more; what is there is still written.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    pub(crate) fn written(&self) -> Written {
        let state = self.lock();
        Written { unstated: state.being_stated + state.gap.map_or(0, |gap| gap.steps), ..state.written }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn miss(&mut self, steps: u64, now: i64) {
        let gap = self.gap.get_or_insert(Gap { steps: 0, from: now, until: now });
        (gap.steps, gap.until) = (gap.steps + steps, now);
    }
}
