//! Shipping: records go on to log aggregation, as the log grows. To the outside it is called forwarding; in here that is what
//! the gateway does with a call.
//!
//! A thread of low priority follows the log for each destination, with a cursor of its own, and nothing waits for it.
//! What it reads is `Lake::records`, as everything else that follows the log; what it holds is one batch for each.

mod cursor;
mod deliver;
mod gather;
mod otlp;
mod receiver;
mod record;
mod settings;
mod syslog;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use futures::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::render;
use cursor::Cursor;
use deliver::Target;
pub(crate) use record::Content;
pub(crate) use settings::{Address, Headers, OtlpPlace, Settings, SyslogPlace, To, Trust, header};
pub(crate) use syslog::{FACILITIES, Form};
use worker::Worker;

/// As that of queries: it gives way to the gateway, and sealing and compaction give way to it.
const NICE: i32 = 10;

/// The destinations of a log.
#[derive(Debug, Default)]
pub(crate) struct Shipping {
    destinations: Vec<Arc<Destination>>,
}

/// One destination and how far it has come.
#[derive(Debug)]
struct Destination {
    settings: Settings,
    file: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// As it is in the file, once it is.
    cursor: Cursor,
    /// True if records go to it while this program runs.
    runs: bool,
    /// Attempts that failed since the program started.
    failures: u64,
    /// Why nothing is taken, and since when.
    failing: Option<(String, i64)>,
}

/// How a destination stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Status {
    pub name: String,
    /// `otlp` or `syslog`.
    pub to: String,
    pub address: String,
    /// `metadata` or `all`.
    pub content: String,
    #[serde(rename = "where")]
    pub condition: Option<String>,
    /// Whether a server is running that sends to it.
    pub running: bool,
    /// The first leaf that it has not taken.
    pub next_leaf: u64,
    /// Leaves from there to the end of the log, whether they are for it or not.
    pub lag_records: u64,
    /// Age of the oldest of them.
    pub lag_seconds: f64,
    pub sent: u64,
    /// Records that it refused, each by itself.
    pub refused: u64,
    /// Records that went out without something that was disposed of before.
    pub erased: u64,
    /// Records that were gone.
    pub missing: u64,
    /// Attempts that failed since the program started.
    pub failures: u64,
    /// Why nothing is taken at present.
    pub error: Option<String>,
    /// Since when, RFC 3339.
    pub failing_since: Option<String>,
}

impl Shipping {
    /// The destinations of the log in `data`. A cursor that cannot be read is a problem for whoever starts them.
    pub(crate) fn open(data: &Path, destinations: Vec<Settings>) -> Self {
        let open = |settings: Settings| {
            let file = cursor::path(data, &settings.name);
            let cursor = Cursor::read(&file).ok().flatten().unwrap_or_default();
            Arc::new(Destination { settings, file, state: Mutex::new(State { cursor, ..State::default() }) })
        };
        Self { destinations: destinations.into_iter().map(open).collect() }
    }

    /// Begins to follow the log, on a thread of its own, until it is told to stop. The future ends with the thread.
    pub(crate) async fn start(
        engine: &Arc<Engine>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<impl Future<Output = ()> + use<>>> {
        let mut workers = Vec::new();
        for destination in &engine.shipping.destinations {
            let target = destination.begin_named(engine).await?;
            workers.push(Worker::new(Arc::clone(engine), Arc::clone(destination), target, stop.clone()));
        }
        if workers.is_empty() {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (done, ended) = oneshot::channel::<()>();
        let work = move || {
            if let Err(error) = rustix::process::setpriority_process(None, NICE) {
                tracing::debug!(%error, "the forwarding thread keeps the priority of the others");
            }
            runtime.block_on(join_all(workers.into_iter().map(Worker::run)));
            runtime.shutdown_background();
            drop(done);
        };
        std::thread::Builder::new().name("shipping".into()).spawn(work)?;
        Ok(Some(async move { drop(ended.await) }))
    }

    /// Refused is a destination that cannot be begun with. Nothing is sent.
    pub(crate) async fn try_out(engine: &Engine) -> anyhow::Result<()> {
        for destination in &engine.shipping.destinations {
            destination.begin_named(engine).await?;
        }
        Ok(())
    }

    /// How each destination stands, in the order of the configuration.
    pub(crate) async fn status(engine: &Engine) -> Vec<Status> {
        join_all(engine.shipping.destinations.iter().map(|destination| destination.status(engine))).await
    }
}

impl Destination {
    async fn begin_named(&self, engine: &Engine) -> anyhow::Result<Target> {
        self.begin(engine).await.with_context(|| format!("the destination {:?}", self.settings.name))
    }

    /// Finds its place in the log, or gives it one.
    async fn begin(&self, engine: &Engine) -> anyhow::Result<Target> {
        let (origin, size) = (engine.reader().origin(), engine.reader().size());
        if let Some(condition) = &self.settings.condition {
            engine.lake.select_within(0..0, condition).await.context("its `where`")?;
        }
        let target = Target::new(&self.settings.to, self.settings.timeout, &origin)?;
        let mut cursor = if let Some(cursor) = Cursor::read(&self.file)? {
            cursor.check(&self.file, &origin, size)?;
            cursor
        } else {
            let next = if self.settings.from_beginning { 0 } else { size };
            let cursor = Cursor { origin, next, before: next, ..Cursor::default() };
            cursor.write(&self.file)?;
            cursor
        };
        if !target.answers() {
            // The last run may have ended before the receiver had kept what it took.
            cursor.next = cursor.before;
        }
        let mut state = self.state();
        (state.cursor, state.runs) = (cursor, true);
        drop(state);
        Ok(target)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursor(&self) -> Cursor {
        self.state().cursor.clone()
    }

    /// Changes the cursor, durably.
    fn advance(&self, change: impl FnOnce(&mut Cursor)) -> anyhow::Result<()> {
        let mut cursor = self.cursor();
        change(&mut cursor);
        cursor.write(&self.file)?;
        self.state().cursor = cursor;
        Ok(())
    }

    /// To the batch that was taken last. The file says the same after the next start.
    fn go_back(&self) {
        let mut state = self.state();
        state.cursor.next = state.cursor.before;
    }

    fn succeeded(&self) {
        self.state().failing = None;
    }

    fn failed(&self, why: String) {
        let mut state = self.state();
        state.failures += 1;
        let since = state.failing.as_ref().map_or_else(onrecord_ledger::now, |(_, since)| *since);
        state.failing = Some((why, since));
    }

    fn is_failing(&self) -> bool {
        self.state().failing.is_some()
    }

    async fn status(&self, engine: &Engine) -> Status {
        let Settings { name, to, condition, content, .. } = &self.settings;
        let (size, next) = (engine.reader().size(), self.cursor().next);
        let oldest = if next < size { engine.lake.get(next).await.ok().flatten() } else { None };
        let age = oldest.map_or(0, |oldest| onrecord_ledger::now() - oldest.committed_at);
        let state = self.state();
        let Cursor { sent, refused, erased, missing, .. } = state.cursor;
        Status {
            name: name.clone(),
            to: to.name().to_owned(),
            address: to.to_string(),
            content: match content {
                Content::Metadata => "metadata".to_owned(),
                Content::All => "all".to_owned(),
            },
            condition: condition.clone(),
            running: state.runs,
            next_leaf: next,
            lag_records: size.saturating_sub(next),
            lag_seconds: age.max(0) as f64 / 1e6,
            sent,
            refused,
            erased,
            missing,
            failures: state.failures,
            error: state.failing.as_ref().map(|(why, _)| why.clone()),
            failing_since: state.failing.as_ref().map(|(_, since)| render::time(*since)),
        }
    }
}
