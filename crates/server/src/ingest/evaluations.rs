//! Log events: judgements of answers become feedback, others are not taken in.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use onrecord_capture::otlp::{self, Evaluation, LogEvent, SpanKey};
use onrecord_ledger::Error;
use onrecord_proof::Kind;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use uuid::Uuid;

use super::batch::{Batch, Seen};
use super::{Ingest, NOT_TAKEN_IN};
use crate::engine::new_record;

/// Why nothing of a request is on record.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    /// It has nothing that is taken in.
    #[error("{NOT_TAKEN_IN}")]
    Refused,
    /// The log does not take it.
    #[error(transparent)]
    Log(#[from] Error),
}

/// What earlier records say of the spans that are judged.
type OnRecord = HashMap<SpanKey, Uuid>;

impl Ingest {
    /// Puts the judgements of a request on record, in the name of `principal`. They are durable when this returns. One that
    /// was sent before is there once.
    ///
    /// A request without any is refused as a whole: exporters write that down where the application runs, and partial
    /// success some do not.
    pub(super) async fn export_logs(
        self: &Arc<Self>,
        request: ExportLogsServiceRequest,
        principal: &str,
    ) -> Result<ExportLogsServiceResponse, NotTaken> {
        let on_record = self.on_record(&request).await;
        let batch = self.batch_of_events(&request, &on_record, principal);
        drop(request);
        if batch.rejected > 0 {
            self.warn_of_other_signals("logs");
        }
        if batch.is_refused() {
            return Err(NotTaken::Refused);
        }
        let (rejected_log_records, message) = self.take(batch).await?;
        let partial_success =
            message.map(|error_message| ExportLogsPartialSuccess { rejected_log_records, error_message });
        Ok(ExportLogsServiceResponse { partial_success })
    }

    fn batch_of_events(&self, request: &ExportLogsServiceRequest, on_record: &OnRecord, principal: &str) -> Batch {
        let mut batch = Batch::default();
        for event in otlp::log_events(request) {
            match event.evaluation() {
                None => batch.reject(NOT_TAKEN_IN.to_owned()),
                Some(evaluation) => self.add_evaluation(&event, &evaluation, on_record, principal, &mut batch),
            }
        }
        batch
    }

    fn add_evaluation(
        &self,
        event: &LogEvent<'_>,
        evaluation: &Evaluation<'_>,
        on_record: &OnRecord,
        principal: &str,
        batch: &mut Batch,
    ) {
        let key = event.key();
        if !self.claims(key, batch) {
            return;
        }
        let subject = self.calls.judged_by(evaluation).or_else(|| {
            let span = evaluation.span()?;
            self.judged_in(span).or_else(|| on_record.get(&span).copied())
        });
        let mut record = new_record(Kind::Feedback);
        evaluation.record(subject, &mut record);
        event.record_rest(&mut record);
        batch.add(key, record.id, record, principal);
    }

    /// What is judged where a span is, if it was taken in lately.
    pub(super) fn judged_in(&self, span: SpanKey) -> Option<Uuid> {
        match self.seen.get(&span)? {
            Seen::Durable(judged) => Some(judged),
            Seen::OnItsWay => None,
        }
    }

    /// The records of the spans that are judged and of which memory knows nothing any more: judging can take days. Feedback
    /// whose span is not on record yet says its trace and span alone.
    async fn on_record(&self, request: &ExportLogsServiceRequest) -> OnRecord {
        let evaluations = otlp::log_events(request).filter_map(|event| event.evaluation());
        let unknown = evaluations.filter(|evaluation| self.calls.judged_by(evaluation).is_none());
        let spans: BTreeSet<_> = unknown.filter_map(|evaluation| evaluation.span()).collect();
        let spans: Vec<_> = spans.into_iter().filter(|span| self.seen.get(span).is_none()).collect();
        self.engine.judged(&spans).await.unwrap_or_else(|error| {
            tracing::warn!("feedback is put on record by its trace and span alone: {error:#}");
            OnRecord::new()
        })
    }
}
