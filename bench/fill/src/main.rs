//! Fills a data folder with records as they may come from real use: appended to the log, sealed, put together and indexed
//! by the threads that do that in the server, in one process. Or writes the same records as JSON lines.

mod call;
mod fill;
mod jsonl;
mod words;

use std::path::PathBuf;

use clap::Parser;

/// The allocator of the program whose threads it runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fills a data folder with calls of models, in one process.
#[derive(Debug, Parser)]
#[command(name = "bench-fill")]
struct Args {
    /// The data folder, which must not be there yet
    #[arg(long)]
    data: Option<PathBuf>,
    /// How many records
    #[arg(long, default_value_t = 10_000_000)]
    records: u64,
    /// Conversations of 30 turns instead, each of which is sent with all that went before and one system prompt of 4 KB
    #[arg(long)]
    conversations: bool,
    /// Index what was filled at the end, instead of while it is filled
    #[arg(long)]
    index_later: bool,
    /// Write the first so many records as JSON lines to standard output, instead of filling a folder
    #[arg(long, conflicts_with = "data")]
    jsonl: Option<u64>,
    /// The time of the last record, in seconds since 1970; the first is 30 days before it
    #[arg(long)]
    until: Option<i64>,
}

/// What the records cover.
const DAYS: i64 = 30;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let until = args.until.map_or_else(onrecord_ledger::now, |seconds| seconds * 1_000_000);
    let plan = call::Plan::new(args.records, args.conversations, (until - DAYS * 86_400_000_000, until));
    match (args.data, args.jsonl) {
        (_, Some(count)) => jsonl::write(&plan, count.min(args.records)),
        (Some(data), None) => fill::fill(plan, &data, args.index_later),
        (None, None) => anyhow::bail!("say where with --data, or --jsonl"),
    }
}
