//! The log and the lake of one data folder, open, and what the API and the command line ask of them.

mod access;
mod changes;
mod counters;
mod deployment;
mod erasures;
mod evidence;
mod export;
mod find;
#[cfg(test)]
mod flips;
mod fsck;
mod keep;
mod moment;
mod receipt;
mod report;
mod rows;
mod search;
mod seen;
mod sessions;
mod slow;
mod stats;
mod templates;
mod tiles;
mod tokens;
mod trace;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use onrecord_lake::{CompactPolicy, Compactor, Indexer, Lake, LakeOptions, QueryLimits, SealPolicy, Sealer};
use onrecord_ledger::{Ledger, Reader};
use onrecord_proof::{Kind, Record, field};
use rand::RngCore;
use uuid::Uuid;

use crate::alerts::{self, Alerts};
use crate::outside::Outside;
use crate::shipping::{self, Shipping};
pub(crate) use access::{Access, Reading};
pub(crate) use changes::{Change, between, changes};
pub(crate) use counters::Counters;
pub(crate) use deployment::DEPLOYMENT;
pub(crate) use evidence::Prove;
pub(crate) use find::{Filter, Summary, Wanted};
pub(crate) use fsck::fsck;
use keep::interactions;
pub(crate) use keep::{
    AddHold, DISPOSAL_LEAVES, Disposal, Erase, Hold, Outcome, PAYLOAD, PlanLine, Refused, Retention, Rule, disposals,
};
pub(crate) use moment::Moment;
pub(crate) use receipt::Receipt;
pub(crate) use report::{Phase, Report};
pub(crate) use search::{Hit, Search, SearchAnswer};
pub(crate) use sessions::{Conversation, Session, Turn};
pub(crate) use slow::{By, Measure, Outlier, Slow};
pub(crate) use stats::Stats;
pub(crate) use templates::Template;
pub(crate) use tokens::{Alternative, Decision, decisions};
pub(crate) use trace::{Node, Trace};
pub(crate) use verify::{Progress, check_offline};

/// How a data folder is opened.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub ledger: onrecord_ledger::Options,
    pub seal: SealPolicy,
    pub lake: LakeOptions,
    pub compact: CompactPolicy,
    pub limits: QueryLimits,
    pub retention: Option<Arc<Retention>>,
    pub outside: Outside,
    pub forward: Vec<shipping::Settings>,
    pub alerts: Vec<alerts::Rule>,
}

/// The log and the lake of one data folder. One process at a time can have it open.
pub(crate) struct Engine {
    pub ledger: Arc<Ledger>,
    pub lake: Lake,
    pub limits: QueryLimits,
    pub counters: Arc<Counters>,
    /// Who else keeps what of the log.
    pub outside: Outside,
    /// Where records are forwarded to.
    pub shipping: Shipping,
    /// What is looked for in the log.
    pub alerts: Alerts,
    /// How long records are kept, if there is a policy.
    retention: Option<Arc<Retention>>,
    /// Whoever has it may dispose of records or change the holds on them.
    disposing: tokio::sync::Mutex<()>,
    reader: Reader,
    /// How many leaves back the newest calls were that were listed last.
    newest: AtomicU64,
    dir: PathBuf,
    opened: Instant,
    background: Mutex<Option<Background>>,
    /// Held while records that come in with an id of their own are looked up and taken.
    pub(crate) taking: Arc<tokio::sync::Mutex<()>>,
    /// Completes what an earlier run did not.
    resuming: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// The threads of the lake.
struct Background {
    sealer: Sealer,
    compactor: Compactor,
    indexer: Indexer,
}

/// The folder of the log in a data folder.
pub(crate) fn ledger_dir(data: &Path) -> PathBuf {
    data.join("ledger")
}

/// The folder of the lake in a data folder.
pub(crate) fn lake_dir(data: &Path) -> PathBuf {
    data.join("lake")
}

/// An empty record that begins now.
pub(crate) fn new_record(kind: Kind) -> Record {
    let mut secret = [0; 32];
    rand::rng().fill_bytes(&mut secret);
    Record::new(Uuid::now_v7(), kind, onrecord_ledger::now(), secret)
}

impl Engine {
    /// Opens the log and the lake in `data`, creating them if they are not there.
    pub(crate) async fn open(data: &Path, options: Options) -> anyhow::Result<Arc<Self>> {
        let engine = Arc::new(Self::open_here(data, options).await?);
        if !engine.noted()?.is_empty() {
            engine.resume();
        }
        Ok(engine)
    }

    async fn open_here(data: &Path, options: Options) -> anyhow::Result<Self> {
        // A relative path has no folder of its own to make durable, and the working folder may change.
        let data = &std::path::absolute(data)?;
        let dir = ledger_dir(data);
        let ledger_options = options.ledger.clone();
        let found = tokio::task::spawn_blocking(move || Ledger::find(&dir, &ledger_options)).await??;
        options.outside.check(&found).await?;
        let ledger = tokio::task::spawn_blocking(move || found.start()).await??;
        let reader = ledger.reader();
        let lake_options =
            LakeOptions { spill: Some(data.join("tmp")), index: Some(data.join("index")), ..options.lake };
        let lake = Lake::open(&lake_dir(data), Arc::new(reader.clone()), lake_options).await?;
        let sealer = Sealer::start(lake.clone(), options.seal)?;
        let compactor = Compactor::start(lake.clone(), options.compact)?;
        let indexer = Indexer::start(lake.clone(), options.seal.every)?;
        Ok(Self {
            ledger: Arc::new(ledger),
            lake,
            limits: options.limits,
            counters: Arc::default(),
            outside: options.outside,
            shipping: Shipping::open(data, options.forward),
            alerts: Alerts::new(options.alerts),
            retention: options.retention,
            disposing: tokio::sync::Mutex::new(()),
            reader,
            newest: AtomicU64::default(),
            dir: data.to_owned(),
            opened: Instant::now(),
            background: Mutex::new(Some(Background { sealer, compactor, indexer })),
            taking: Arc::default(),
            resuming: Mutex::default(),
        })
    }

    /// Completes the disposals that an earlier run did not, in the background.
    fn resume(self: &Arc<Self>) {
        let engine = Arc::clone(self);
        let work = tokio::spawn(async move {
            if let Err(error) = engine.resume_disposals().await {
                tracing::error!(error = format!("{error:#}"), "a disposal is not complete; the next start tries again");
            }
        });
        *self.resuming.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    }

    /// Reads what is committed.
    pub(crate) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Puts on record that the log is alive.
    pub(crate) async fn heartbeat(&self) -> anyhow::Result<()> {
        let mut record = new_record(Kind::Heartbeat);
        record.set(&field::EVENT, "heartbeat");
        self.ledger.append(&record)?.await?;
        Ok(())
    }

    /// Puts an event of this program on record, e.g. its start.
    pub(crate) async fn event(&self, event: &str) -> anyhow::Result<()> {
        let mut record = new_record(Kind::System);
        record.set(&field::EVENT, event);
        record.set(&field::SERVICE_VERSION, env!("CARGO_PKG_VERSION"));
        self.ledger.append(&record)?.await?;
        Ok(())
    }

    /// Stops sealing, compacting and indexing, and closes the log, after what is waiting was written.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        let background = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(work) = self.resuming.lock().unwrap_or_else(PoisonError::into_inner).take() {
            work.abort();
        }
        let ledger = Arc::clone(&self.ledger);
        tokio::task::spawn_blocking(move || {
            if let Some(Background { sealer, compactor, indexer }) = background {
                indexer.stop();
                compactor.stop();
                sealer.stop();
            }
            ledger.close()
        })
        .await??;
        if let (Some(anchor), Some(last)) = (&self.outside.anchor, self.reader.checkpoint()) {
            anchor.keep(&last).await;
        }
        Ok(())
    }
}
