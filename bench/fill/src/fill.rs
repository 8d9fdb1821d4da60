//! Appends the records as fast as the rest of the program keeps up with.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use onrecord_lake::{CompactPolicy, Compactor, Indexer, Lake, LakeOptions, SealPolicy, Sealer};
use onrecord_ledger::{Ledger, Options, Pending, Receipt};
use serde_json::{Value, json};

use crate::call::Plan;

/// Records that wait for the disk at the same time.
const IN_FLIGHT: usize = 2048;
/// Appending waits while more rows than these are not sealed: what is measured is what can go on for ever.
const HOT_MAX: u64 = 400_000;
/// How often is told how far it is.
const TELL: Duration = Duration::from_secs(10);
/// Records that the benchmark asks for, one by one.
const SAMPLES: u64 = 500;

/// The lake's threads, as the server has them.
struct Threads {
    sealer: Sealer,
    others: Option<(Compactor, Indexer)>,
}

impl Threads {
    fn start(lake: &Lake, index_later: bool) -> anyhow::Result<Self> {
        let policy = SealPolicy::default();
        let others = (!index_later).then(|| -> anyhow::Result<_> {
            Ok((Compactor::start(lake.clone(), CompactPolicy::default())?, Indexer::start(lake.clone(), policy.every)?))
        });
        Ok(Self { sealer: Sealer::start(lake.clone(), policy)?, others: others.transpose()? })
    }

    fn stop(self) {
        if let Some((compactor, indexer)) = self.others {
            compactor.stop();
            indexer.stop();
        }
        self.sealer.stop();
    }
}

/// Fills the folder, and prints what was measured and what can be asked for.
pub(crate) fn fill(plan: Plan, data: &Path, index_later: bool) -> anyhow::Result<()> {
    anyhow::ensure!(!data.exists(), "there is something at {} already", data.display());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ledger =
        Ledger::open(&data.join("ledger"), &Options { origin: Some("bench/queries".into()), ..Options::default() })?;
    let options = LakeOptions { index: Some(data.join("index")), ..LakeOptions::default() };
    let lake = runtime.block_on(Lake::open(&data.join("lake"), Arc::new(ledger.reader()), options))?;
    let threads = Threads::start(&lake, index_later)?;
    let plan = Arc::new(plan);
    let begun = Instant::now();
    let peak = append(&plan, &ledger, &lake)?;
    let appended = begun.elapsed();
    settle(&runtime, &lake, "sealed and put together, indexes are built")?;
    let settled = begun.elapsed();
    threads.stop();
    let stats = lake.stats();
    ledger.close()?;
    let rate = |time: Duration| plan.records as f64 / time.as_secs_f64();
    let mut told = samples(&plan);
    told["fill"] = json!({
        "records": plan.records, "append_seconds": appended.as_secs_f64(), "appended_per_second": rate(appended),
        "settled_per_second": rate(settled), "resident_peak_kb": peak, "files": stats.files, "data_bytes": stats.bytes,
        "indexed_while_filled": !index_later,
    });
    println!("{told:#}");
    Ok(())
}

/// Appends every record; gives the most memory that was resident meanwhile, in KiB.
fn append(plan: &Arc<Plan>, ledger: &Ledger, lake: &Lake) -> anyhow::Result<u64> {
    let (mut waiting, mut told, mut peak) = (VecDeque::<Pending<Receipt>>::new(), Instant::now(), 0);
    let (begun, done) = (Instant::now(), AtomicU64::new(0));
    for number in 0..plan.records {
        waiting.push_back(ledger.append(&plan.record(number))?);
        if waiting.len() >= IN_FLIGHT
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.wait()?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        if number.is_multiple_of(1024) {
            while lake.stats().hot_rows > HOT_MAX {
                std::thread::sleep(Duration::from_millis(20));
            }
            peak = peak.max(resident());
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let stats = lake.stats();
            eprintln!(
                "{number} of {} appended, {:.0}/s; {} wait to be sealed, {} files, {} MiB resident",
                plan.records,
                number as f64 / begun.elapsed().as_secs_f64(),
                stats.hot_rows,
                stats.files,
                resident() >> 10
            );
        }
    }
    waiting.into_iter().try_for_each(|pending| pending.wait().map(|_| ()))?;
    Ok(peak)
}

/// Does what the threads would do in time.
fn settle(runtime: &tokio::runtime::Runtime, lake: &Lake, what: &str) -> anyhow::Result<()> {
    eprintln!("everything is appended; it is {what}");
    runtime.block_on(async {
        while lake.seal().await?.is_some() {}
        while let Some(done) = lake.compact().await? {
            eprintln!("{} files became one of {} MiB", done.files, done.bytes >> 20);
        }
        eprintln!("{} indexes were built", lake.index().await?);
        lake.remove_unread().await?;
        anyhow::Ok(())
    })
}

/// What can be asked for: records from all over the log, and words.
fn samples(plan: &Plan) -> Value {
    let step = (plan.records / SAMPLES).max(1);
    let calls = (0..plan.records).step_by(step as usize).map(|number| {
        let record = plan.record(number);
        json!({
            "leaf_index": number, "id": record.id, "session": plan.session(number),
            "request_id": record.text(&onrecord_proof::field::REQUEST_ID),
        })
    });
    let calls: Vec<_> = calls.collect();
    json!({
        "calls": calls, "rare_phrase": plan.rare_phrase(), "common_word": plan.common_word(), "times": plan.times,
        "turns": plan.turns,
    })
}

/// KiB of memory in RAM.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
