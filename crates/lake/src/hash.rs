//! A quick hash for tables of what comes from outside.

use std::hash::BuildHasher;

/// With keys that nobody can guess, so that nobody can fill one bucket.
#[derive(Debug, Clone)]
pub(crate) struct QuickHash(ahash::RandomState);

impl Default for QuickHash {
    fn default() -> Self {
        let key = || std::hash::RandomState::new().hash_one(());
        Self(ahash::RandomState::with_seeds(key(), key(), key(), key()))
    }
}

impl BuildHasher for QuickHash {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}
