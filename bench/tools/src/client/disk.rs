//! The time of one fdatasync.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::{Value, json};

use super::times;

/// Where and what to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder on the disk to measure
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// How often
    #[arg(long, default_value_t = 500)]
    pub count: u32,
    /// Bytes written before each fdatasync
    #[arg(long, default_value_t = 4096)]
    pub bytes: usize,
}

/// Writes front to back into a file with allocated space, as a log does, and then over it again, which is the least
/// that an fdatasync can be: no metadata of the file changes.
pub(crate) fn measure(args: &Args) -> anyhow::Result<Value> {
    let path = args.dir.join("fdatasync.bench");
    #[expect(clippy::disallowed_methods, reason = "what is measured is the disk, not what the file holds")]
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
    let file = file.with_context(|| format!("creating {}", path.display()))?;
    let size = u64::from(args.count) * args.bytes as u64;
    if fallocate(&file, FallocateFlags::empty(), 0, size).is_err() {
        file.set_len(size)?;
    }
    file.sync_all()?;
    let block = vec![0x5a; args.bytes];
    let pass = || -> std::io::Result<Vec<Duration>> {
        (0..u64::from(args.count))
            .map(|i| {
                file.write_all_at(&block, i * args.bytes as u64)?;
                let start = Instant::now();
                file.sync_data()?;
                Ok(start.elapsed())
            })
            .collect()
    };
    let (appended, overwritten) = (pass(), pass());
    #[expect(clippy::disallowed_methods, reason = "the file has served its purpose")]
    std::fs::remove_file(&path)?;
    Ok(json!({
        "bytes": args.bytes,
        "append": times::summary(&mut appended?),
        "overwrite": times::summary(&mut overwritten?),
    }))
}
