//! The gateway: stands in front of a model server, passes every call through and puts it on record.
//!
//! `serve` accepts connections and gives them to `lanes`, `forward` takes one request through, `reading` has its body,
//! `routes` knows which model server it goes to, `model_server` what there is to know of each, `upstream` is the way there,
//! `call` is the record that a request becomes, `body` lets the answer flow while it is recorded and holds its end until the
//! record is durable.

mod attempts;
mod body;
mod call;
mod copying;
mod decisions;
mod forward;
mod gap;
mod headers;
mod lanes;
mod lists;
mod model_server;
mod patience;
mod reading;
mod reply;
mod routes;
mod serve;
mod stop;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use onrecord_capture::Limits;
use onrecord_ledger::Ledger;
use tokio::sync::Semaphore;

use crate::auth::Tokens;
use crate::engine::Counters;
use crate::ingest::KnownCalls;

pub(crate) use lanes::Lanes;
pub(crate) use model_server::{Glob, Upstream, UpstreamSettings, connector, connector_trusting};
pub(crate) use routes::Routes;
pub(crate) use serve::serve;

/// What to do with a call that cannot be put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLogFailure {
    /// Answer 503 before the model is called.
    Refuse,
    /// Pass it through, and say later how many there were.
    Forward,
}

/// How the gateway behaves.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub limits: Limits,
    /// Bytes of a request's body.
    pub max_request_body: u64,
    /// Bytes of a request's head.
    pub max_header_size: usize,
    /// Calls at a time.
    pub max_in_flight: usize,
    /// Without a byte from the model server.
    pub response_timeout: Duration,
    /// Without a byte from the client while a request is expected, or to the client while an answer waits to be taken.
    pub client_timeout: Duration,
    /// How long running calls may go on after a shutdown began.
    pub shutdown_grace: Duration,
    pub on_log_failure: OnLogFailure,
    /// An answer does not end before its record is durable.
    pub wait_for_commit: bool,
}

/// The gateway in front of the model servers.
pub(crate) struct Gateway {
    ledger: Arc<Ledger>,
    tokens: Arc<Tokens>,
    settings: Settings,
    limits: Limits,
    routes: Routes,
    in_flight: Arc<Semaphore>,
    /// The time for running calls is over.
    cut_off: AtomicBool,
    gap: Arc<gap::Gap>,
    attempts: attempts::Attempts,
    known_calls: Arc<KnownCalls>,
    counters: Arc<Counters>,
}

impl Gateway {
    /// The model servers.
    pub(crate) fn upstreams(&self) -> &[Arc<Upstream>] {
        self.routes.all()
    }

    /// A call has no record.
    fn unrecorded(&self) {
        self.gap.count();
        self.counters.unrecorded();
    }

    /// Running calls end now: whatever ends from here on is cut off by the gateway.
    fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Relaxed);
    }

    fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// States the calls that the log does not have, if there are such and it has recovered since. To be called once no calls
    /// follow.
    pub(crate) fn close_gap(&self) {
        self.gap.close(&self.ledger);
    }

    /// A gateway that records in `ledger`, and notes in `known_calls` how clients name its calls.
    pub(crate) fn new(
        ledger: Arc<Ledger>,
        counters: Arc<Counters>,
        tokens: Arc<Tokens>,
        settings: Settings,
        routes: Routes,
        known_calls: Arc<KnownCalls>,
    ) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(settings.max_in_flight)),
            limits: settings.limits,
            cut_off: AtomicBool::new(false),
            gap: Arc::default(),
            attempts: attempts::Attempts::default(),
            known_calls,
            counters,
            ledger,
            tokens,
            settings,
            routes,
        }
    }
}
