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

/// A record, and what names the span, the log event or the judgement that it is of.
type Named = (SpanKey, Record);

/// What becomes of a request.
#[derive(Default)]
pub(super) struct Batch {
    records: Vec<Named>,
    /// What judges the record of a span, with what names that.
    judgements: Vec<(SpanKey, Named)>,
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

    /// Adds the record of a span or a log event, in the name of `principal`.
    pub(super) fn add(&mut self, key: SpanKey, judged: Uuid, mut record: Record, principal: &str) {
        self.keys.insert(key, judged);
        record.set(&field::PRINCIPAL, principal);
        self.records.push((key, record));
    }

    /// Adds a judgement of the record of a span.
    pub(super) fn add_judgement(&mut self, span: SpanKey, key: SpanKey, mut record: Record, principal: &str) {
        self.keys.insert(key, record.id);
        record.set(&field::PRINCIPAL, principal);
        self.judgements.push((span, (key, record)));
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
        let Batch { records, judgements, keys, is_pending, rejected, message, .. } = batch;
        let (mut failed, mut problem) = (HashSet::new(), None);
        self.add_all(records, &mut failed, &mut problem).await;
        // What judges a span that is not on record comes again with it.
        let (judgements, lost): (Vec<_>, Vec<_>) = judgements.into_iter().partition(|(span, _)| !failed.contains(span));
        failed.extend(lost.into_iter().map(|(_, (key, _))| key));
        let judgements = judgements.into_iter().map(|(_, judgement)| judgement).collect();
        self.add_all(judgements, &mut failed, &mut problem).await;
        for (key, judged) in keys.into_iter().filter(|(key, _)| !failed.contains(key)) {
            self.seen.insert(key, Seen::Durable(judged));
        }
        self.seen.forget(&failed);
        problem.or(is_pending.then_some(Error::Busy)).map_or(Ok((rejected, message)), Err)
    }

    /// Makes records durable; says which ones are not, and why.
    async fn add_all(&self, records: Vec<Named>, failed: &mut HashSet<SpanKey>, problem: &mut Option<Error>) {
        if records.is_empty() {
            return;
        }
        let (keys, records): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        for (key, done) in keys.into_iter().zip(commit(&self.engine.ledger, records, Ledger::add).await) {
            if let Err(error) = done {
                failed.insert(key);
                *problem = Some(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use onrecord_proof::{Group, Kind, Value};

    use super::*;
    use crate::auth::Tokens;
    use crate::config::{self, Overrides};
    use crate::engine::{Engine, new_record};

    const SPANS: [SpanKey; 2] = [([1; 16], [1; 8]), ([1; 16], [2; 8])];
    const JUDGEMENTS: [SpanKey; 2] = [([1; 16], [3; 8]), ([1; 16], [4; 8])];

    fn record(kind: Kind, is_refused: bool) -> Record {
        let mut record = new_record(kind);
        if is_refused {
            let too_deep = (0..100).fold(Value::Null, |value, _| Value::Array(vec![value]));
            record.set_named(Group::Context, "deep", too_deep);
        }
        record
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_refused_comes_again_and_nothing_else_does() {
        let data = tempfile::tempdir().unwrap();
        let flags = Overrides { data: Some(data.path().to_owned()), ..Overrides::default() };
        let options = crate::server::engine_options(&config::load_only(&flags).unwrap()).unwrap();
        let engine = Engine::open(data.path(), options).await.unwrap();
        let tokens = Arc::new(Tokens::load(data.path()).unwrap());
        let ingest = Arc::new(Ingest::new(Arc::clone(&engine), tokens, Arc::default()));
        let before = engine.reader().size();

        let mut batch = Batch::default();
        for (at, is_refused) in [(0, false), (1, true)] {
            assert!(ingest.claims(SPANS[at], &mut batch) && ingest.claims(JUDGEMENTS[at], &mut batch));
            let span = record(Kind::Step, is_refused);
            batch.add(SPANS[at], span.id, span, "anonymous");
            batch.add_judgement(SPANS[at], JUDGEMENTS[at], record(Kind::Feedback, !is_refused), "anonymous");
        }
        let span = batch.records[0].1.id;
        assert!(ingest.take(batch).await.is_err());
        assert_eq!(engine.reader().size(), before + 1, "nothing judges what is not there");
        assert_eq!(SPANS.map(|key| ingest.seen.get(&key)), [Some(Seen::Durable(span)), None]);
        assert_eq!(JUDGEMENTS.map(|key| ingest.seen.get(&key)), [None; 2]);
        drop(ingest);
        engine.close().await.unwrap();
    }
}
