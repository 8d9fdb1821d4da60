//! Which request a client has sent before: by its own request id, within one principal.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Requests that are remembered. At 32 bytes each and a slot in the queue, less than half a megabyte.
const REMEMBERED: usize = 8192;

/// The newest requests that came with an id of the client's own. What is older is forgotten: a retry comes within minutes,
/// and nothing is looked up on disk for it.
#[derive(Default)]
pub(crate) struct Attempts {
    /// Keyed, so that nobody can choose ids that collide.
    hasher: RandomState,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    last: HashMap<u64, Attempt>,
    order: VecDeque<u64>,
}

/// One attempt at a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Its record.
    pub id: Uuid,
    /// 1 for the first.
    pub number: i64,
}

impl Attempts {
    /// Notes that the record `id` is of this request, and gives the attempt before it, if there was one.
    pub(crate) fn note(&self, principal: &str, request_id: &str, id: Uuid) -> Option<Attempt> {
        let key = self.hasher.hash_one((principal, request_id));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.last.get(&key).copied();
        let number = before.map_or(1, |before| before.number.saturating_add(1));
        if seen.last.insert(key, Attempt { id, number }).is_none() {
            seen.order.push_back(key);
        }
        if seen.order.len() > REMEMBERED
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.last.remove(&oldest);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_for_each_principal_and_forgotten_in_time() {
        let attempts = Attempts::default();
        let id = Uuid::from_u128;
        assert_eq!(attempts.note("a", "r", id(1)), None);
        assert_eq!(attempts.note("b", "r", id(2)), None);
        assert_eq!(attempts.note("a", "r", id(3)), Some(Attempt { id: id(1), number: 1 }));
        assert_eq!(attempts.note("a", "r", id(4)), Some(Attempt { id: id(3), number: 2 }));
        for number in 0..REMEMBERED {
            attempts.note("a", &number.to_string(), id(5));
        }
        assert_eq!(attempts.note("a", "r", id(6)), None);
        assert_eq!(attempts.seen.lock().unwrap().last.len(), REMEMBERED);
    }
}
