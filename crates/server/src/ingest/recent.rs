//! The newest entries of a map: what was there first goes first.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A map of at most so many entries, shared by threads.
pub(crate) struct Recent<K, V> {
    max: usize,
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Hash + Eq + Copy, V: Copy> Recent<K, V> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, entries: Mutex::new(Entries { map: HashMap::new(), order: VecDeque::new() }) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.lock().map.get(key).copied()
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        self.lock().insert(self.max, key, value);
    }

    /// Adds an entry, or what `both` makes of the one that is there and this one.
    pub(super) fn merge(&self, key: K, value: V, both: impl FnOnce(V, V) -> V) {
        let mut entries = self.lock();
        let value = entries.map.get(&key).map_or(value, |known| both(*known, value));
        entries.insert(self.max, key, value);
    }

    /// Adds an entry unless the key has one, and gives that.
    pub(super) fn claim(&self, key: K, value: V) -> Option<V> {
        let mut entries = self.lock();
        let known = entries.map.get(&key).copied();
        if known.is_none() {
            entries.insert(self.max, key, value);
        }
        known
    }

    /// Takes entries out again.
    pub(super) fn forget(&self, keys: &HashSet<K>) {
        if keys.is_empty() {
            return;
        }
        let Entries { map, order } = &mut *self.lock();
        map.retain(|key, _| !keys.contains(key));
        order.retain(|key| !keys.contains(key));
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq + Copy, V> Entries<K, V> {
    fn insert(&mut self, max: usize, key: K, value: V) {
        if self.map.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > max {
            self.order.pop_front().and_then(|oldest| self.map.remove(&oldest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes() {
        let recent = Recent::new(2);
        for (key, value) in [(1, 'a'), (2, 'b'), (1, 'c'), (3, 'd')] {
            recent.insert(key, value);
        }
        assert_eq!([1, 2, 3].map(|key| recent.get(&key)), [None, Some('b'), Some('d')]);
    }

    #[test]
    fn an_entry_that_comes_again_is_merged() {
        let recent = Recent::new(1);
        for (key, value) in [(1, 1), (1, 2), (2, 7), (2, 1)] {
            recent.merge(key, value, |known, new| 10 * known + new);
        }
        assert_eq!([1, 2].map(|key| recent.get(&key)), [None, Some(71)]);
    }

    #[test]
    fn an_entry_is_claimed_once_until_it_is_forgotten() {
        let recent = Recent::new(2);
        assert_eq!((recent.claim(1, 'a'), recent.claim(1, 'b')), (None, Some('a')));
        recent.forget(&HashSet::from([1, 7]));
        assert_eq!(recent.claim(1, 'c'), None);
        assert_eq!(recent.get(&1), Some('c'));
    }
}
