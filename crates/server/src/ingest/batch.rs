//! The records of one request of an exporter: each span and log event once, and all durable before it is answered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use onrecord_capture::otlp::SpanKey;
use onrecord_ledger::{Error, Ledger};
use onrecord_proof::{Record, field};
use uuid::Uuid;

use super::{Ingest, commit};

/// What is known of a span or a log event that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// A request is taking it in.
    OnItsWay,
    /// It is on record; what judges it judges the record of this id.
    Durable(Uuid),
}

/// What becomes of a request.
#[derive(Default)]
pub(super) struct Batch {
    /// The records, and of which span or log event each is.
    records: Vec<Record>,
    of: Vec<SpanKey>,
    /// What is taken in, and what is judged where it is judged.
    keys: HashMap<SpanKey, Uuid>,
    /// Another request is taking one of them in.
    is_pending: bool,
    /// One of them is on record already.
    is_known: bool,
    pub(super) rejected: i64,
    pub(super) message: Option<String>,
}

impl Batch {
    /// True if it has nothing that is on record now or was before.
    pub(super) fn is_refused(&self) -> bool {
        self.rejected > 0 && self.keys.is_empty() && !self.is_pending && !self.is_known
    }

    /// Takes note that a span or a log event is not taken in, and why.
    pub(super) fn reject(&mut self, why: String) {
        self.rejected += 1;
        self.message = Some(why);
    }

    /// Adds the records of a span or a log event, in the name of `principal`.
    pub(super) fn add(&mut self, key: SpanKey, judged: Uuid, records: Vec<Record>, principal: &str) {
        self.keys.insert(key, judged);
        for mut record in records {
            record.set(&field::PRINCIPAL, principal);
            self.records.push(record);
            self.of.push(key);
        }
    }
}

impl Ingest {
    /// True if a span or a log event is to be taken in by this batch: nobody has, or is about to.
    pub(super) fn claims(&self, key: SpanKey, batch: &mut Batch) -> bool {
        let seen = self.seen.claim(key, Seen::OnItsWay);
        batch.is_pending |= seen == Some(Seen::OnItsWay) && !batch.keys.contains_key(&key);
        batch.is_known |= matches!(seen, Some(Seen::Durable(_)));
        seen.is_none()
    }

    /// Makes a batch durable. Whoever sent it is told to send it again if any of it is not. Gives what was rejected and why.
    pub(super) async fn take(self: &Arc<Self>, batch: Batch) -> Result<(i64, Option<String>), Error> {
        let ingest = Arc::clone(self);
        // It goes on when its sender goes away: what was appended must be known when it is sent again.
        tokio::spawn(async move { ingest.make_durable(batch).await }).await.map_err(|_| Error::Closed)?
    }

    async fn make_durable(&self, batch: Batch) -> Result<(i64, Option<String>), Error> {
        let Batch { records, of, keys, is_pending, rejected, message, .. } = batch;
        let done = commit(&self.engine.ledger, records, Ledger::add).await;
        let (mut failed, mut problem) = (HashSet::new(), None);
        for (key, done) in of.into_iter().zip(done) {
            if let Err(error) = done {
                failed.insert(key);
                problem = Some(error);
            }
        }
        for (key, judged) in keys.into_iter().filter(|(key, _)| !failed.contains(key)) {
            self.seen.insert(key, Seen::Durable(judged));
        }
        self.seen.forget(&failed);
        problem.or(is_pending.then_some(Error::Busy)).map_or(Ok((rejected, message)), Err)
    }
}
