//! Spans become records.

use std::sync::Arc;

use onrecord_capture::otlp::{self, Span, SpanKey};
use onrecord_ledger::Error;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Ingest;
use super::batch::Batch;
use crate::engine::new_record;

/// How to have an instrumentation send content, which most leave out unless they are told otherwise.
const HOW_TO_SEND_CONTENT: &str = "set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_only and \
    OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental (OpenTelemetry; `true` and `event_only` send it as log events, which are not taken), TRACELOOP_TRACE_CONTENT=true (OpenLLMetry), or \
    OPENINFERENCE_HIDE_INPUTS=false and OPENINFERENCE_HIDE_OUTPUTS=false (OpenInference) where the application runs";

impl Ingest {
    /// Puts the spans of a request on record, in the name of `principal`. They are durable when this returns. A span that
    /// was sent before is there once.
    pub(super) async fn export_spans(
        self: &Arc<Self>,
        request: ExportTraceServiceRequest,
        principal: &str,
    ) -> Result<ExportTraceServiceResponse, Error> {
        let batch = self.batch_of_spans(&request, principal);
        drop(request);
        let (rejected_spans, message) = self.take(batch).await?;
        // A message without rejected spans is a warning (OTLP, "partial success").
        let partial_success = message.map(|error_message| ExportTracePartialSuccess { rejected_spans, error_message });
        Ok(ExportTraceServiceResponse { partial_success })
    }

    fn batch_of_spans(&self, request: &ExportTraceServiceRequest, principal: &str) -> Batch {
        let mut batch = Batch::default();
        for span in otlp::spans(request) {
            match span.key() {
                Err(problem) => batch.reject(problem),
                Ok(key) if self.claims(key, &mut batch) => self.add_span(span, key, principal, &mut batch),
                Ok(key) => {
                    // The log may have taken it and not what judges it.
                    if let Some(judged) = self.judged_in(key) {
                        self.add_judgements(span, key, judged, principal, &mut batch);
                    }
                }
            }
        }
        batch
    }

    fn add_span(&self, span: Span<'_>, key: SpanKey, principal: &str, batch: &mut Batch) {
        let call = self.calls.of(span, key);
        let record = span.own_record(call, new_record);
        // What a client judges is the answer, where that is on record.
        let judged = call.unwrap_or(record.id);
        batch.add(key, judged, record, principal);
        self.add_judgements(span, key, judged, principal, batch);
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

    /// Adds the judgements among the events of a span that are not on record.
    fn add_judgements(&self, span: Span<'_>, key: SpanKey, judged: Uuid, principal: &str, batch: &mut Batch) {
        for (number, record) in span.judgements(judged, new_record).enumerate() {
            let own = judgement_key(key, number);
            if self.claims(own, batch) {
                batch.add_judgement(key, own, record, principal);
            }
        }
    }
}

/// What names the judgement of that number in a span, if it is sent again: it has no id of its own.
fn judgement_key((trace, span): SpanKey, number: usize) -> SpanKey {
    let digest = Sha256::digest([&trace[..], &span, &number.to_be_bytes()].concat());
    (trace, std::array::from_fn(|at| digest[at]))
}
