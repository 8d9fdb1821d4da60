//! A data folder that this process writes.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use onrecord_ledger::Ledger;

use crate::queue::{Queue, Written};
use crate::step::{attribute, text};
use crate::writer::{Records, Writer};
use crate::{Call, Error, StepLayer};

/// How long closing waits for a log that cannot be written, before it gives up what is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// How the log is opened.
    pub ledger: onrecord_ledger::Options,
    /// The application's name, `service.name` of every step.
    pub service: Option<String>,
    /// Steps that may wait for the disk; what comes beyond is dropped and counted.
    pub queue: usize,
    /// Bytes that are kept of the fields and events of one step.
    pub max_step_bytes: usize,
}

impl Default for Options {
    /// 1024 steps of at most 64 KiB: 64 MiB when the disk stands still.
    fn default() -> Self {
        Self { ledger: onrecord_ledger::Options::default(), service: None, queue: 1024, max_step_bytes: 64 << 10 }
    }
}

/// Writes a log. [`close`](Self::close) makes everything durable that it has taken; dropping it does too, and reports
/// through `tracing` what could not be written.
#[derive(Debug)]
pub struct Recorder {
    ledger: Arc<Ledger>,
    queue: Arc<Queue>,
    records: Arc<Records>,
    max_step_bytes: usize,
    service: Option<String>,
    pub(crate) patience: Duration,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Opens the data folder `data`, or creates it. It is the folder that the command line names with `--data`; one
    /// process at a time can have it open.
    ///
    /// # Errors
    ///
    /// If the log cannot be opened, as when another process has it, or there is no thread or no randomness to be had.
    pub fn open(data: &Path, options: Options) -> Result<Self, Error> {
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        let ledger = Ledger::open(&data.join("ledger"), &options.ledger)?;
        Self::start(ledger, options)
    }

    pub(crate) fn start(ledger: Ledger, options: Options) -> Result<Self, Error> {
        let Options { service, queue, max_step_bytes, .. } = options;
        let (ledger, records) = (Arc::new(ledger), Arc::new(Records::new()?));
        let queue = Arc::new(Queue::new(queue.max(1)));
        let writer = Writer {
            ledger: Arc::clone(&ledger),
            queue: Arc::clone(&queue),
            records: Arc::clone(&records),
            resource: service.iter().map(|name| attribute("service.name", text(name.as_str()))).collect(),
        };
        let thread =
            thread::Builder::new().name("onrecord-steps".into()).spawn(|| writer.run()).map_err(Error::Thread)?;
        Ok(Self { ledger, queue, records, max_step_bytes, service, patience: PATIENCE, thread: Some(thread) })
    }

    /// A layer whose spans become steps of this log.
    pub fn layer(&self) -> StepLayer {
        StepLayer::new(Arc::clone(&self.queue), self.max_step_bytes)
    }

    /// Begins the call of a model, as a part of the current span.
    pub fn call(&self) -> Call {
        Call::new(Arc::clone(&self.ledger), self.records.as_ref(), self.service.as_deref())
    }

    /// The log, for records of other kinds and to read what is committed.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What has become of the steps so far.
    pub fn written(&self) -> Written {
        self.queue.written()
    }

    /// Makes every step durable whose span has closed, signs a last checkpoint and closes the log. Spans that close later
    /// are not on record, and calls that end later get an error. If the log cannot be written just now, that is tried for
    /// five seconds.
    ///
    /// # Errors
    ///
    /// If the log cannot be closed. What was acknowledged is durable all the same, and the next start recovers it.
    pub fn close(mut self) -> Result<Written, Error> {
        self.stop()?;
        Ok(self.written())
    }

    pub(crate) fn stop(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.queue.close();
        let began = Instant::now();
        while !thread.is_finished() && (self.ledger.is_healthy() || began.elapsed() < self.patience) {
            thread::sleep(Duration::from_millis(1));
        }
        // Whoever still waits for the log is answered now.
        let closed = self.ledger.close();
        drop(thread.join());
        Ok(closed?)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the log was not closed cleanly; the next start recovers it");
        }
        let unstated = self.written().unstated;
        if unstated > 0 {
            tracing::error!(steps = unstated, "steps are not on record, and the log does not say so");
        }
    }
}
