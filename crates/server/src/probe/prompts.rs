//! What a model really read: asked of its server once a call has ended, as many times a minute as the configuration
//! allows, and put on record as a step of the call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use onrecord_capture::Dialect;
use onrecord_capture::serving::{Prompt, Server};
use onrecord_proof::{Field, Kind, Record, Ref, Rel, Value, field};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ask::Asking;
use crate::engine::{Engine, Wanted, new_record};

/// Calls that wait to be looked at; the prompt of one more is not asked for.
const QUEUE: usize = 64;
/// A larger request is left alone.
const BODY_MAX: usize = 1 << 20;
/// How long the record of a call is waited for, and how often it is looked for.
const RECORD_PATIENCE: Duration = Duration::from_secs(10);
const BREATH: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_mins(1);

/// What of a call its prompt's step has too, so that it is found like the call.
const SHARED: [&Field; 7] = [
    &field::PRINCIPAL,
    &field::USER_ID,
    &field::SESSION,
    &field::TAGS,
    &field::TRACE_ID,
    &field::UPSTREAM,
    &field::REQUEST_MODEL,
];

/// Calls on their way to the task that asks for their prompts.
pub(crate) struct Prompts {
    jobs: mpsc::Sender<Job>,
    allowance: Mutex<Allowance>,
}

/// The task that asks.
pub(crate) struct Prompter {
    asking: Asking,
    engine: Arc<Engine>,
    jobs: mpsc::Receiver<Job>,
}

/// A call whose prompt is wanted.
struct Job {
    server: Server,
    dialect: Dialect,
    body: Vec<u8>,
    /// The step, as far as it is known.
    step: Record,
    call: Uuid,
}

/// So many a minute, and no more than a minute's at once.
#[derive(Debug)]
struct Allowance {
    a_minute: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(a_minute: usize) -> Self {
        let a_minute = a_minute as f64;
        Self { a_minute, left: a_minute, at: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64() / MINUTE.as_secs_f64();
        self.left = (self.left + since * self.a_minute).min(self.a_minute);
        self.at = now;
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

impl Prompts {
    /// For at most `a_minute` calls a minute, with the task that has to run for it.
    pub(crate) fn new(a_minute: usize, asking: Asking, engine: Arc<Engine>) -> (Self, Prompter) {
        let (sender, jobs) = mpsc::channel(QUEUE);
        (Self { jobs: sender, allowance: Mutex::new(Allowance::new(a_minute)) }, Prompter { asking, engine, jobs })
    }

    /// A call has ended, answered by such a server. Never waits.
    pub(crate) fn ended(&self, server: Server, dialect: Dialect, call: &Record) {
        if !Prompt::is_told(server, dialect) {
            return;
        }
        let body = call.get(&field::INPUT_BODY).and_then(Value::as_bytes).filter(|body| body.len() <= BODY_MAX);
        let whole = call.get(&field::INPUT_TRUNCATED).is_none() && call.get(&field::INPUT_ENCODING).is_none();
        let Some(body) = body.filter(|_| whole) else { return };
        let Ok(place) = self.jobs.try_reserve() else { return };
        if !self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
            return;
        }
        let mut step = new_record(Kind::Step);
        for field in SHARED {
            if let Some(value) = call.get(field) {
                step.set(field, value.clone());
            }
        }
        step.refs.push(Ref { rel: Rel::Subject, id: call.id });
        step.set(&field::SUBJECT, call.id.to_string());
        place.send(Job { server, dialect, body: body.to_vec(), step, call: call.id });
    }
}

impl Prompter {
    /// Asks until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut is_told = false;
        loop {
            let job = tokio::select! {
                () = stop.cancelled() => return,
                job = self.jobs.recv() => job,
            };
            let Some(job) = job else { return };
            if let Err(problem) = self.look_at(job).await
                && !std::mem::replace(&mut is_told, true)
            {
                tracing::warn!(
                    problem = format!("{problem:#}"),
                    "the prompt of a call is not on record as the model read it"
                );
            }
        }
    }

    async fn look_at(&self, Job { server, dialect, body, mut step, call }: Job) -> anyhow::Result<()> {
        let Some(mut prompt) = Prompt::of(server, dialect, &body) else { return Ok(()) };
        let began = Instant::now();
        step.captured_at = onrecord_ledger::now();
        while let Some(ask) = prompt.next() {
            let told = self.asking.ask(&ask).await?;
            anyhow::ensure!(prompt.take(&told), "the model server's answer to {} is another than expected", ask.path);
        }
        step.set(&field::STEP, "prompt");
        step.set(&field::SOURCE, "probe");
        step.set(&field::PROMPT_SOURCE, "reconstructed");
        if let Some(text) = prompt.text {
            step.set(&field::RENDERED_PROMPT, text.into_bytes());
        }
        if let Some(tokens) = prompt.tokens {
            step.set(&field::PROMPT_TOKEN_IDS, serde_json::to_vec(&tokens)?);
        }
        step.set(&field::DURATION, i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX));
        step.set(&field::OUTCOME, "completed");
        // It may have been erased meanwhile.
        if self.recorded(call).await?.is_some_and(|record| record.get(&field::INPUT_BODY).is_some()) {
            self.engine.ledger.append(&step)?.await?;
        }
        Ok(())
    }

    /// The record of a call that has just ended. The model server may be quicker with its answer than the disk with the record.
    async fn recorded(&self, call: Uuid) -> anyhow::Result<Option<Record>> {
        let begun = Instant::now();
        loop {
            match self.engine.find(Wanted::Id(call)).await? {
                None if begun.elapsed() < RECORD_PATIENCE => tokio::time::sleep(BREATH).await,
                found => return Ok(found.map(|found| found.record)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_minute() {
        let mut allowance = Allowance::new(2);
        let begin = allowance.at;
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let taken = [0, 0, 0, 29, 30, 31, 600, 600, 600].map(|seconds| allowance.take(at(seconds)));
        assert_eq!(taken, [true, true, false, false, true, false, true, true, false]);
    }
}
