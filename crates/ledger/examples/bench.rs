//! What the log does in a second, beside what the machine does at all: `bench DIR [RECORDS] [WRITERS]`.
//!
//! Records of 1 KiB, each durable before its writer sends the next one. Writers are tasks, shared out to one thread for
//! each core, as calls are in the gateway. `bare` is the same bytes hashed, checksummed, written and synced by one loop, in
//! batches of as many records as there are writers.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crc_fast::{CrcAlgorithm, checksum};
use futures::executor::LocalPool;
use futures::stream::{FuturesUnordered, TryStreamExt as _};
use onrecord_ledger::disk::{Disk, RealDisk};
use onrecord_ledger::{Ledger, Options, check};
use onrecord_proof::{Kind, Record, field};
use sha2::{Digest, Sha256};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is sent so that a stored record has 1 KiB.
const BODY: usize = 900;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: bench DIR [RECORDS] [WRITERS]")?;
    let mut number = |default| args.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (records, writers) = (number(1_000_000)?, number(64)?);
    let dir = Path::new(&dir);
    fs::create_dir_all(dir)?;
    report("record", record(0).to_bytes().len() as f64, "bytes");
    report("fdatasync", median(sync_times(&dir.join("sync"))?), "us");
    let bare = bare(&dir.join("bare"), records.min(200_000), writers)?;
    report("bare", bare, "records/s");
    let log = dir.join("log");
    let appended = append(&log, records, writers)?;
    report("append / bare", 100.0 * appended / bare, "%");
    stored(&log, records)?;
    reopened(&log, records)
}

fn report(what: &str, value: f64, unit: &str) {
    println!("{what}\t{value:.1}\t{unit}");
}

fn record(n: u64) -> Record {
    let id = Uuid::from_u128(u128::from(n) << 64 | 0x7000_8000_0000_0000_0000);
    let mut record = Record::new(id, Kind::Interaction, n as i64, [7; 32]);
    let body: Vec<u8> = (0..BODY as u64).map(|at| (at.wrapping_mul(n | 1) >> 3) as u8).collect();
    record.set(&field::INPUT_BODY, body);
    record
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

#[expect(clippy::disallowed_methods, reason = "measures the disk, keeps nothing")]
fn scratch(path: &Path) -> std::io::Result<fs::File> {
    OpenOptions::new().create(true).write(true).truncate(true).open(path)
}

/// Syncs of 4 KiB into space that was written before.
fn sync_times(path: &Path) -> Result<Vec<Duration>> {
    use std::os::unix::fs::FileExt as _;
    let mut file = scratch(path)?;
    file.write_all(&vec![0; 4 << 20])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for at in 0..500 {
        let start = Instant::now();
        file.write_all_at(&[1; 4096], at * 4096)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Records a second.
fn bare(path: &Path, records: u64, batch: u64) -> Result<f64> {
    let bytes = record(0).to_bytes();
    let mut file = scratch(path)?;
    let start = Instant::now();
    let mut buffer = Vec::new();
    for n in 0..records {
        let digest = Sha256::digest(&bytes);
        buffer.extend_from_slice(&checksum(CrcAlgorithm::Crc32Iscsi, &bytes).to_le_bytes()[..4]);
        buffer.extend_from_slice(&digest[..4]);
        buffer.extend_from_slice(&bytes);
        if (n + 1) % batch == 0 {
            file.write_all(&buffer)?;
            file.sync_data()?;
            buffer.clear();
        }
    }
    Ok(records as f64 / start.elapsed().as_secs_f64())
}

/// Fills the log, and tells records a second.
fn append(dir: &Path, records: u64, writers: u64) -> Result<f64> {
    let ledger = Ledger::open(dir, &Options { origin: Some("bench/log".into()), ..Options::default() })?;
    let threads = thread::available_parallelism()?.get() as u64;
    let next = AtomicU64::new(0);
    let start = Instant::now();
    let write = async || -> Result<Vec<Duration>> {
        let mut waits = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= records {
                return Ok(waits);
            }
            let record = record(n);
            let sent = Instant::now();
            ledger.append(&record)?.await?;
            waits.push(sent.elapsed());
        }
    };
    let share = |thread| {
        let tasks: FuturesUnordered<_> = (thread..writers).step_by(threads as usize).map(|_| write()).collect();
        LocalPool::new().run_until(tasks.try_concat())
    };
    let waits = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || share(thread))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a writer failed")?).collect::<Result<Vec<_>>>()
    })?;
    let rate = records as f64 / start.elapsed().as_secs_f64();
    report("append", rate, "records/s");
    report("append, median wait", median(waits.concat()), "us");
    ledger.close()?;
    Ok(rate)
}

/// What the tree takes on disk, and how long a check of everything takes.
fn stored(dir: &Path, records: u64) -> Result<()> {
    let sizes = fs::read_dir(dir.join("tree"))?.map(|file| Ok(file?.metadata()?.len()));
    let tree: u64 = sizes.sum::<std::io::Result<u64>>()?;
    report("tree", tree as f64 / records as f64, "bytes/record");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let start = Instant::now();
    let checked = check(&disk, dir, &mut |_, _| ())?;
    if !checked.problems.is_empty() {
        return Err(format!("the log does not verify: {:?}", checked.problems).into());
    }
    report("verify", records as f64 / start.elapsed().as_secs_f64(), "records/s");
    let bytes = record(0).to_bytes();
    let start = Instant::now();
    for _ in 0..100_000 {
        std::hint::black_box(Sha256::digest(&bytes));
    }
    report("SHA-256 alone", 100_000.0 / start.elapsed().as_secs_f64(), "records/s");
    Ok(())
}

/// The next start, which reads all segments, and a proof after it.
fn reopened(dir: &Path, records: u64) -> Result<()> {
    let start = Instant::now();
    let ledger = Ledger::open(dir, &Options::default())?;
    report("recovery", start.elapsed().as_secs_f64() * 1e3, "ms");
    let start = Instant::now();
    let proof = ledger.reader().inclusion_proof(records / 2, records)?;
    report("inclusion proof", start.elapsed().as_secs_f64() * 1e3, "ms");
    std::hint::black_box(proof);
    ledger.close()?;
    Ok(())
}
