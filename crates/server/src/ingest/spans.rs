//! Spans become records.

use std::sync::Arc;

use onrecord_capture::otlp::{self, Span, SpanKey};
use onrecord_ledger::Error;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};

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
                Ok(_) => {}
            }
        }
        batch
    }

    fn add_span(&self, span: Span<'_>, key: SpanKey, principal: &str, batch: &mut Batch) {
        let call = self.calls.of(span, key);
        let records = span.records(call, new_record);
        let judged = call.unwrap_or(records[0].id);
        batch.add(key, judged, records, principal);
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
