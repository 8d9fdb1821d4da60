//! The append-only log on disk: segments, group commit, tiles, checkpoints, recovery.

mod committed;

pub use committed::Committed;
