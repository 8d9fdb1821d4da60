//! What comes in from elsewhere: spans and judgements over OTLP (`grpc`, `http`), and records and feedback over the API
//! (`records`).
//! Nothing is acknowledged before it is durable.

mod batch;
mod evaluations;
mod feedback;
mod grpc;
mod http;
mod known;
mod listen;
mod recent;
mod records;
mod spans;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use onrecord_capture::otlp::SpanKey;
use onrecord_ledger::{Error, Ledger, Pending, Receipt};
use onrecord_proof::Record;
use tokio::sync::Semaphore;
use tower::limit::GlobalConcurrencyLimitLayer;

use crate::auth::Tokens;
use crate::engine::Engine;
use batch::Seen;
use recent::Recent;

pub(crate) use feedback::{Feedback, NotTaken};
pub(crate) use http::Problem;
pub(crate) use known::KnownCalls;
pub(crate) use listen::{GRPC_PORT, HTTP_PORT, Listeners, is_default};
pub(crate) use records::{Item, Taken, items};

/// Spans and calls that are remembered, to tell what was sent again or is known from the gateway: some minutes of a busy
/// machine, about 10 MB.
const REMEMBERED: usize = 1 << 16;
/// Requests whose bodies are read and taken in at a time; the others wait. It bounds what they hold in memory.
const AT_A_TIME: usize = 8;
/// How long one of them may take, so that a slow sender does not keep the place of others.
const TAKES: Duration = Duration::from_secs(30);
/// What is told who sends anything else.
const NOT_TAKEN_IN: &str = "only spans and evaluation results (gen_ai.evaluation.result) are taken in, not other logs and metrics; where an instrumentation sends content as log events, have it say it in \
    its spans (OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_only), and set OTEL_LOGS_EXPORTER=none and OTEL_METRICS_EXPORTER=none, or \
    send them elsewhere";
/// Makers of spans that are told once that content is missing.
const MAKERS_MAX: usize = 1000;

/// Takes in what comes from elsewhere.
pub(crate) struct Ingest {
    engine: Arc<Engine>,
    tokens: Arc<Tokens>,
    calls: Arc<KnownCalls>,
    /// Spans and log events that are durable, or on their way.
    seen: Recent<SpanKey, Seen>,
    told: Mutex<HashSet<String>>,
    room: Arc<Semaphore>,
}

impl Ingest {
    pub(crate) fn new(engine: Arc<Engine>, tokens: Arc<Tokens>, calls: Arc<KnownCalls>) -> Self {
        let (seen, room) = (Recent::new(REMEMBERED), Arc::new(Semaphore::new(AT_A_TIME)));
        Self { engine, tokens, calls, seen, told: Mutex::default(), room }
    }

    /// Has the requests of all listeners wait until there is room.
    fn layer(&self) -> GlobalConcurrencyLimitLayer {
        GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&self.room))
    }

    /// Tells whoever runs this, once, that something is sent that is not taken in.
    fn warn_of_other_signals(&self, path: &str) {
        let path = path.to_ascii_lowercase();
        let Some(signal) = ["logs", "metrics"].into_iter().find(|signal| path.contains(signal)) else { return };
        if self.is_new_maker(signal) {
            tracing::warn!("an application sends {signal}: {NOT_TAKEN_IN}");
        }
    }

    /// True the first time that it is asked of a maker.
    fn is_new_maker(&self, maker: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < MAKERS_MAX && told.insert(maker.to_owned())
    }
}

/// How the log takes a record.
type Take = fn(&Ledger, &Record) -> Result<Pending<Receipt>, Error>;

/// Makes records durable, all with as few syncs as the log needs. Says of each what has become of it.
async fn commit(ledger: &Arc<Ledger>, records: Vec<Record>, take: Take) -> Vec<Result<Receipt, Error>> {
    let (ledger, count) = (Arc::clone(ledger), records.len());
    // Encoding and hashing some hundred records takes milliseconds.
    let taken = tokio::task::spawn_blocking(move || records.iter().map(|record| take(&ledger, record)).collect());
    let taken: Vec<_> = taken.await.unwrap_or_else(|_| (0..count).map(|_| Err(Error::Closed)).collect());
    let mut done = Vec::with_capacity(count);
    for pending in taken {
        done.push(match pending {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        });
    }
    done
}
