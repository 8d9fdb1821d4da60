//! What is in a data folder, in numbers.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Engine;

/// What is in a data folder, in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Stats {
    pub version: String,
    pub origin: String,
    pub key: String,
    pub data: String,
    pub uptime_seconds: f64,
    /// The log can be written.
    pub healthy: bool,
    /// Records that are committed.
    pub records: u64,
    /// Calls that are under way.
    pub open_calls: usize,
    /// Calls of the run before that were closed as interrupted at the start.
    pub interrupted_at_start: usize,
    /// Leaves under the last checkpoint.
    pub checkpoint_size: u64,
    /// Records in the lake, and its files.
    pub sealed_records: u64,
    pub lake_files: usize,
    pub lake_bytes: u64,
    /// Where the lake's table is, and why nothing is added to it, if that is so.
    pub table: String,
    pub sealing_stands_still: Option<String>,
    /// Bytes of the segments and the tree.
    pub ledger_bytes: u64,
}

impl Engine {
    /// Counts.
    pub(crate) fn stats(&self) -> Stats {
        let (reader, lake) = (self.reader(), self.lake.stats());
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            origin: reader.origin(),
            key: reader.verifier().to_string(),
            data: self.dir.display().to_string(),
            uptime_seconds: self.opened.elapsed().as_secs_f64(),
            healthy: self.ledger.is_healthy(),
            records: reader.size(),
            open_calls: reader.open_calls(),
            interrupted_at_start: self.ledger.interrupted(),
            checkpoint_size: reader.checkpoint().map_or(0, |published| published.checkpoint.size),
            sealed_records: lake.rows,
            lake_files: lake.files,
            lake_bytes: lake.bytes,
            table: self.lake.table_place(),
            sealing_stands_still: self.lake.standstill().map(|standstill| standstill.why),
            ledger_bytes: size_of_folder(&super::ledger_dir(&self.dir)),
        }
    }
}

impl Engine {
    /// Age in seconds of the oldest record that is not in the table yet; `None` if it cannot be read.
    pub(crate) fn sealing_lag(&self) -> Option<f64> {
        let cursor = self.lake.stats().cursor;
        if cursor >= self.reader().size() {
            return Some(0.0);
        }
        let oldest = self.reader().read(cursor, cursor + 1, 1).ok()?.into_iter().next()?;
        Some((onrecord_ledger::now() - oldest.committed_at).max(0) as f64 / 1e6)
    }

    /// Bytes that are free for this program on the data folder's file system, and its size.
    pub(crate) fn disk_space(&self) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(&self.dir).ok()?;
        Some((found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize))
    }
}

/// Bytes of the files below a folder; what vanishes meanwhile does not count.
fn size_of_folder(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of_folder(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
