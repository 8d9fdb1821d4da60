//! A log in memory.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use onrecord_ledger::{Committed, Needles};
use onrecord_proof::Hash;
use uuid::Uuid;

use crate::log::{Log, LogError};

/// A log in memory, which is as unforgiving about released records as the real one.
#[derive(Clone, Default)]
pub(crate) struct TestLog(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    records: Vec<Committed>,
    under_way: usize,
    first: u64,
}

impl TestLog {
    pub(crate) fn new(records: Vec<Committed>) -> Self {
        Self(Arc::new(Mutex::new(State { records, ..State::default() })))
    }

    pub(crate) fn append(&self, records: impl IntoIterator<Item = Committed>) {
        self.0.lock().unwrap().records.extend(records);
    }

    /// Says that so many calls are under way.
    pub(crate) fn set_under_way(&self, calls: usize) {
        self.0.lock().unwrap().under_way = calls;
    }

    /// Puts another record in the place of one, as if the tree had been made of it.
    pub(crate) fn change(&self, index: usize, change: impl FnOnce(&mut Committed)) {
        change(&mut self.0.lock().unwrap().records[index]);
    }

    pub(crate) fn truncate(&self, size: usize) {
        self.0.lock().unwrap().records.truncate(size);
    }
}

impl Log for TestLog {
    fn origin(&self) -> String {
        "test.example/log".to_owned()
    }

    fn size(&self) -> u64 {
        self.0.lock().unwrap().records.len() as u64
    }

    fn first(&self) -> u64 {
        self.0.lock().unwrap().first
    }

    fn bytes_from(&self, index: u64) -> u64 {
        1000 * (self.size() - index)
    }

    fn read_with(
        &self,
        from: u64,
        until: u64,
        max_bytes: usize,
        needles: &Needles,
    ) -> Result<(Vec<Committed>, u64), LogError> {
        let state = self.0.lock().unwrap();
        if from < state.first || until > state.records.len() as u64 {
            return Err(format!("{from}..{until} is not in {}..{}", state.first, state.records.len()).into());
        }
        // Few at a time, so that every reader has to come back for more.
        let count = (max_bytes / (1 << 16)).clamp(1, 100).min((until - from) as usize);
        let looked_at = &state.records[from as usize..][..count];
        let holds = |committed: &&Committed| needles.are_in(&std::iter::once(&*committed.record.to_bytes()));
        Ok((looked_at.iter().filter(holds).cloned().collect(), from + count as u64))
    }

    fn leaves_of_ids(&self, ids: &HashSet<Uuid>, from: u64, until: u64) -> Result<Vec<(u64, Uuid)>, LogError> {
        let state = self.0.lock().unwrap();
        let leaves = state.records.get(from as usize..until as usize).ok_or("no such leaves")?;
        let found = leaves.iter().filter(|committed| ids.contains(&committed.record.id));
        Ok(found.map(|committed| (committed.index, committed.record.id)).collect())
    }

    fn release(&self, below: u64) {
        let mut state = self.0.lock().unwrap();
        state.first = state.first.max(below);
    }

    fn leaf_hashes(&self, from: u64, count: usize) -> Result<Vec<Hash>, LogError> {
        let state = self.0.lock().unwrap();
        let leaves = state.records.get(from as usize..from as usize + count).ok_or("no such leaves")?;
        Ok(leaves.iter().map(|committed| committed.leaf().hash()).collect())
    }

    fn calls_under_way(&self) -> usize {
        self.0.lock().unwrap().under_way
    }
}
