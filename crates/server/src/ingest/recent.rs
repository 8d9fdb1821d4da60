//! The newest entries of a map: what was there first goes first.

use std::collections::{HashMap, VecDeque};
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
        let Entries { map, order } = &mut *self.lock();
        if map.insert(key, value).is_none() {
            order.push_back(key);
        }
        while order.len() > self.max {
            order.pop_front().and_then(|oldest| map.remove(&oldest));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
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
}
