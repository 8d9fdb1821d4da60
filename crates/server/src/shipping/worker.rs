//! Follows the log for one destination.
//!
//! The order of durable steps: what was said is put on record as read, the batch goes out, the destination says that it has
//! taken it, the cursor is written. A crash before the last step means that the batch goes out again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Destination;
use super::cursor::Cursor;
use super::deliver::{Failure, Taken, Target};
use super::gather::{Batch, Gather};
use super::record::{Content, Outgoing};
use crate::engine::{Access, Engine, PAYLOAD, Reading};

/// The first pause after a failure, which doubles with each further one.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that nobody asked for.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The longest one that a destination can ask for.
const ASKED_MAX: Duration = Duration::from_hours(1);
/// What fails for the same reason again is said again after this time.
const AGAIN: Duration = Duration::from_mins(15);
/// Records that are set aside one after the other. A destination that refuses so many would refuse them all.
const ASIDE_MAX: u32 = 16;

pub(super) struct Worker {
    engine: Arc<Engine>,
    destination: Arc<Destination>,
    target: Target,
    gather: Gather,
    stop: CancellationToken,
    /// What was gathered and is not taken yet, and how many of its records are.
    held: Option<(Batch, usize)>,
    /// Records that are sent at once at most.
    at_once: usize,
    refused_in_a_row: u32,
    failures_in_a_row: u32,
    said: Option<(String, Instant)>,
}

/// What there is to do.
enum Step {
    More,
    Nothing,
}

impl Worker {
    pub(super) fn new(
        engine: Arc<Engine>,
        destination: Arc<Destination>,
        target: Target,
        stop: CancellationToken,
    ) -> Self {
        let gather = Gather::new(engine.lake.clone(), &destination.settings);
        let at_once = destination.settings.batch;
        Self {
            engine,
            destination,
            target,
            gather,
            stop,
            held: None,
            at_once,
            refused_in_a_row: 0,
            failures_in_a_row: 0,
            said: None,
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            let done = tokio::select! {
                () = stop.cancelled() => break,
                done = self.step() => done,
            };
            let pause = match done {
                Ok(Step::More) => continue,
                Ok(Step::Nothing) => self.destination.settings.interval,
                Err(failure) => self.failed(&failure),
            };
            drop(tokio::time::timeout(pause, stop.cancelled()).await);
        }
        self.settle();
    }

    async fn step(&mut self) -> Result<Step, Failure> {
        if self.held.is_none() {
            let (next, size) = (self.destination.cursor().next, self.engine.reader().size());
            if next >= size {
                return Ok(Step::Nothing);
            }
            let later =
                |error: &dyn std::fmt::Display| Failure::Later(format!("the log cannot be read: {error}"), None);
            let batch = self.gather.next(next, size).await.map_err(|error| later(&error))?;
            self.put_on_record(&batch).await.map_err(|error| later(&error))?;
            self.held = Some((batch, 0));
        }
        self.deliver().await?;
        // What came meanwhile waits for others.
        let caught_up =
            self.destination.cursor().next + self.destination.settings.batch as u64 > self.engine.reader().size();
        Ok(if caught_up { Step::Nothing } else { Step::More })
    }

    /// That payload leaves the log is on record before it does. The record of that has no payload, so it has none of its own.
    async fn put_on_record(&self, batch: &Batch) -> anyhow::Result<()> {
        let with_payload = batch.records.iter().filter(|record| record.has_payload).count();
        let (Some(first), Some(last)) = (batch.records.first(), batch.records.last()) else { return Ok(()) };
        if with_payload == 0 {
            return Ok(());
        }
        let name = &self.destination.settings.name;
        let reading =
            Reading { principal: "forward".to_owned(), address: None, purpose: Some(format!("to {name}")), user: None };
        let statement =
            format!("leaves {} to {} to {}", first.leaf_index, last.leaf_index, self.destination.settings.to);
        let access = Access { event: "forward", statement: &statement };
        self.engine.accessed(&reading, access, Some(with_payload as i64)).await
    }

    async fn deliver(&mut self) -> Result<(), Failure> {
        while let Some((batch, done)) = self.held.as_ref().filter(|(batch, done)| *done < batch.records.len()) {
            let records = &batch.records[*done..];
            let records = &records[..records.len().min(self.at_once)];
            match self.target.send(records).await {
                Ok(taken) => {
                    let count = records.len();
                    self.took(count, &taken)?;
                    self.at_once = (self.at_once * 2).min(self.destination.settings.batch);
                }
                Err(Failure::Refused(_)) if records.len() > 1 => self.at_once = records.len() / 2,
                Err(Failure::Refused(why)) => self.set_aside(&why).await?,
                Err(failure) => return Err(failure),
            }
        }
        let Some((batch, _)) = &self.held else { return Ok(()) };
        let (until, missing) = (batch.until, batch.missing);
        if missing > 0 {
            let destination = &self.destination.settings.name;
            tracing::warn!(destination, missing, until, "records were gone before they could be forwarded");
        }
        self.advance(|cursor| (cursor.next, cursor.missing) = (until, cursor.missing + missing))?;
        self.held = None;
        Ok(())
    }

    /// The next `count` records were taken.
    fn took(&mut self, count: usize, taken: &Taken) -> Result<(), Failure> {
        let Some((batch, done)) = &self.held else { return Ok(()) };
        let (destination, after) = (&self.destination.settings.name, done + count);
        let (records, is_last) = (&batch.records[*done..after], after == batch.records.len());
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
        let (first, last) = (first.leaf_index, last.leaf_index);
        let next = if is_last { batch.until } else { last + 1 };
        let erased = records.iter().filter(|record| self.has_lost(record)).count() as u64;
        if erased > 0 {
            tracing::info!(
                destination,
                erased,
                first,
                last,
                "records were forwarded without what was disposed of before"
            );
        }
        if taken.rejected > 0 {
            let (rejected, words) = (taken.rejected, &taken.words);
            tracing::warn!(
                destination,
                rejected,
                first,
                last,
                words,
                "the destination says that it has not kept some records"
            );
        }
        self.advance(|cursor| {
            let rejected = taken.rejected.min(count as u64);
            (cursor.before, cursor.next) = (cursor.next, next);
            (cursor.sent, cursor.refused) = (cursor.sent + count as u64 - rejected, cursor.refused + rejected);
            cursor.erased += erased;
        })?;
        self.held.iter_mut().for_each(|(_, done)| *done = after);
        (self.refused_in_a_row, self.failures_in_a_row) = (0, 0);
        if self.said.take().is_some() {
            tracing::info!(destination = self.destination.settings.name, "the destination takes records again");
        }
        self.destination.succeeded();
        Ok(())
    }

    /// Without something that would have left the log otherwise.
    fn has_lost(&self, record: &Outgoing) -> bool {
        let all = self.destination.settings.content == Content::All;
        record.erased.iter().any(|group| all || !PAYLOAD.contains(group))
    }

    /// Goes on without the next record, which the destination refuses by itself while it takes others.
    async fn set_aside(&mut self, why: &str) -> Result<(), Failure> {
        let Some((batch, done)) = &self.held else { return Ok(()) };
        let Some(Outgoing { leaf_index, id, .. }) = batch.records.get(*done) else { return Ok(()) };
        let (leaf, after, destination) = (*leaf_index, done + 1, &self.destination.settings.name);
        let takes_nothing =
            || Failure::Setup(format!("it refuses everything; of the record at leaf {leaf} it says: {why}"));
        if self.refused_in_a_row >= ASIDE_MAX || self.target.send(&[]).await.is_err() {
            return Err(takes_nothing());
        }
        tracing::error!(destination, leaf, %id, why, "the destination refuses this record, which it will not get");
        self.advance(|cursor| (cursor.next, cursor.refused) = (leaf + 1, cursor.refused + 1))?;
        self.held.iter_mut().for_each(|(_, done)| *done = after);
        self.refused_in_a_row += 1;
        Ok(())
    }

    fn advance(&self, change: impl FnOnce(&mut Cursor)) -> Result<(), Failure> {
        self.destination.advance(change).map_err(|error| Failure::Later(format!("{error:#}"), None))
    }

    /// How long to pause.
    fn failed(&mut self, failure: &Failure) -> Duration {
        let (destination, why) = (&self.destination.settings.name, failure.to_string());
        let is_new = self.said.as_ref().is_none_or(|(said, when)| *said != why || when.elapsed() >= AGAIN);
        match failure {
            _ if !is_new => {}
            Failure::Setup(_) => tracing::error!(
                destination,
                why,
                "nothing is forwarded until the destination or its configuration is changed; trying again"
            ),
            _ => tracing::warn!(destination, why, "nothing is forwarded; trying again"),
        }
        if is_new {
            self.said = Some((why.clone(), Instant::now()));
        }
        self.destination.failed(why);
        self.go_back();
        self.failures_in_a_row += 1;
        let pause = PAUSE.saturating_mul(1 << self.failures_in_a_row.min(8).saturating_sub(1)).min(PAUSE_MAX);
        match failure {
            Failure::Later(_, Some(asked)) => (*asked).clamp(PAUSE, ASKED_MAX),
            _ => pause,
        }
    }

    /// A receiver that does not answer for what it took may have lost its last batch with the connection.
    fn go_back(&mut self) {
        let cursor = self.destination.cursor();
        if !self.target.answers() && cursor.before < cursor.next {
            self.held = None;
            self.destination.go_back();
        }
    }

    /// At an orderly end nothing is in doubt.
    fn settle(&self) {
        if self.destination.is_failing() {
            return;
        }
        if let Err(failure) = self.advance(|cursor| cursor.before = cursor.next) {
            tracing::warn!(why = failure.to_string(), "some records will be forwarded once more");
        }
    }
}
