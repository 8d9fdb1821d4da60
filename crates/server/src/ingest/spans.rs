//! Spans become records.

use std::collections::HashSet;

use onrecord_capture::otlp::{self, Span, SpanKey};
use onrecord_ledger::Error;
use onrecord_proof::{Record, field};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use uuid::Uuid;

use super::{Ingest, commit};
use crate::engine::new_record;

/// How to have an instrumentation send content, which most leave out unless they are told otherwise.
const HOW_TO_SEND_CONTENT: &str = "set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true (OpenTelemetry), TRACELOOP_TRACE_CONTENT=true (OpenLLMetry), or \
    OPENINFERENCE_HIDE_INPUTS=false and OPENINFERENCE_HIDE_OUTPUTS=false (OpenInference) where the application runs";

/// What becomes of a request.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    keys: HashSet<SpanKey>,
    rejected: i64,
    message: Option<String>,
}

impl Ingest {
    /// Puts the spans of a request on record, in the name of `principal`. They are durable when this returns. A span that
    /// was sent before is there once.
    pub(super) async fn export(
        &self,
        request: ExportTraceServiceRequest,
        principal: &str,
    ) -> Result<ExportTraceServiceResponse, Error> {
        let Batch { records, keys, rejected, message } = self.batch(&request, principal);
        drop(request);
        commit(&self.ledger, records).await?;
        for key in keys {
            self.seen.insert(key, ());
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
                Ok(key) => {
                    if self.seen.get(&key).is_none() && batch.keys.insert(key) {
                        self.add(span, key, principal, &mut batch);
                    }
                }
            }
        }
        batch
    }

    fn add(&self, span: Span<'_>, key: SpanKey, principal: &str, batch: &mut Batch) {
        for mut record in span.records(self.call(span, key), new_record) {
            record.set(&field::PRINCIPAL, principal);
            batch.records.push(record);
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

    /// The call that a span is around, if the gateway has put it on record: its client's span, or what carried it.
    fn call(&self, span: Span<'_>, key: SpanKey) -> Option<Uuid> {
        let call = self.calls.get(&key)?;
        // The span that carried the call over HTTP is a child of the one that asked the model, and ends before it.
        if let Some(parent) = span.parent().filter(|_| !span.is_model_call()) {
            self.calls.insert(parent, call);
        }
        Some(call)
    }
}
