//! Spans become records.

use std::collections::HashSet;
use std::sync::Arc;

use onrecord_capture::otlp::{self, Span, SpanKey};
use onrecord_ledger::{Error, Ledger};
use onrecord_proof::{Record, field};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};

use super::{Ingest, commit};
use crate::engine::new_record;

/// How to have an instrumentation send content, which most leave out unless they are told otherwise.
const HOW_TO_SEND_CONTENT: &str = "set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_only and \
    OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental (OpenTelemetry; `true` and `event_only` send it as log events, which are not taken), TRACELOOP_TRACE_CONTENT=true (OpenLLMetry), or \
    OPENINFERENCE_HIDE_INPUTS=false and OPENINFERENCE_HIDE_OUTPUTS=false (OpenInference) where the application runs";

/// What becomes of a request.
#[derive(Default)]
struct Batch {
    /// The records, and the span of each.
    records: Vec<Record>,
    of: Vec<SpanKey>,
    keys: HashSet<SpanKey>,
    /// Another request is taking one of the spans in.
    is_pending: bool,
    rejected: i64,
    message: Option<String>,
}

impl Ingest {
    /// Puts the spans of a request on record, in the name of `principal`. They are durable when this returns. A span that
    /// was sent before is there once.
    pub(super) async fn export(
        self: &Arc<Self>,
        request: ExportTraceServiceRequest,
        principal: &str,
    ) -> Result<ExportTraceServiceResponse, Error> {
        let batch = self.batch(&request, principal);
        drop(request);
        let ingest = Arc::clone(self);
        // It goes on when its sender goes away: what was appended must be known when it is sent again.
        tokio::spawn(async move { ingest.take(batch).await }).await.map_err(|_| Error::Closed)?
    }

    async fn take(&self, batch: Batch) -> Result<ExportTraceServiceResponse, Error> {
        let Batch { records, of, keys, is_pending, rejected, message } = batch;
        let done = commit(&self.ledger, records, Ledger::add).await;
        let (mut failed, mut problem) = (HashSet::new(), None);
        for (key, done) in of.into_iter().zip(done) {
            if let Err(error) = done {
                failed.insert(key);
                problem = Some(error);
            }
        }
        for key in keys.difference(&failed) {
            self.seen.insert(*key, true);
        }
        self.seen.forget(&failed);
        if let Some(error) = problem.or(is_pending.then_some(Error::Busy)) {
            return Err(error);
        }
        // A message without rejected spans is a warning (OTLP, "partial success").
        let partial_success =
            message.map(|error_message| ExportTracePartialSuccess { rejected_spans: rejected, error_message });
        Ok(ExportTraceServiceResponse { partial_success })
    }

    fn batch(&self, request: &ExportTraceServiceRequest, principal: &str) -> Batch {
        let mut batch = Batch::default();
        for span in otlp::spans(request) {
            match span.key() {
                Err(problem) => {
                    batch.rejected += 1;
                    batch.message = Some(problem);
                }
                Ok(key) => match self.seen.claim(key, false) {
                    None => {
                        batch.keys.insert(key);
                        self.add(span, key, principal, &mut batch);
                    }
                    Some(is_durable) => batch.is_pending |= !is_durable && !batch.keys.contains(&key),
                },
            }
        }
        batch
    }

    fn add(&self, span: Span<'_>, key: SpanKey, principal: &str, batch: &mut Batch) {
        for mut record in span.records(self.calls.of(span, key), new_record) {
            record.set(&field::PRINCIPAL, principal);
            batch.records.push(record);
            batch.of.push(key);
        }
        if span.lacks_content() {
            let (service, scope) = span.origin();
            let warning = format!(
                "spans of {scope:?} in {service:?} do not say what was asked and answered; {HOW_TO_SEND_CONTENT}"
            );
            if self.is_new_maker(&format!("{service}\0{scope}")) {
                tracing::warn!("{warning}");
            }
            batch.message.get_or_insert(warning);
        }
    }
}
