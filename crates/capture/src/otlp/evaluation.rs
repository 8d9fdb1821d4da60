//! What somebody, or a program, thinks of an answer.

use std::borrow::Cow;

use onrecord_proof::{Record, Ref, Rel, field};
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use uuid::Uuid;

use super::attributes::Attributes;
use super::{SpanKey, hex, micros, record_maker};

/// The event that judges, as that of a span or alone.
pub(super) const NAME: &str = "gen_ai.evaluation.result";

/// A judgement of an answer (event `gen_ai.evaluation.result`).
#[derive(Debug, Clone, Copy)]
pub struct Evaluation<'a> {
    pub(super) source: &'static str,
    pub(super) resource: &'a [KeyValue],
    pub(super) scope: Option<&'a InstrumentationScope>,
    /// When it was made, in nanoseconds since 1970-01-01 UTC.
    pub(super) at: u64,
    /// The span that is judged, or in which it was; empty without one.
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) attributes: &'a [KeyValue],
}

impl<'a> Evaluation<'a> {
    /// What the span is named that it is about, or in which it was.
    pub fn span(&self) -> Option<SpanKey> {
        let trace = self.trace_id.try_into().ok().filter(|trace| *trace != [0; 16])?;
        Some((trace, self.span_id.try_into().ok().filter(|span| *span != [0; 8])?))
    }

    /// The model server's id of the answer that is judged.
    pub fn response_id(&self) -> Option<Cow<'a, str>> {
        let id = Attributes::of_list(self.attributes).text("gen_ai.response.id");
        id.filter(|id| !id.is_empty()).map(Cow::Borrowed)
    }

    /// When it was made, in microseconds since 1970-01-01 UTC by the clock of its sender.
    pub fn made_at(&self) -> i64 {
        micros(self.at)
    }

    /// Fills in a record of kind `feedback`, as a child of the span that it came with and about the record `subject`, where
    /// that is known.
    pub fn record(&self, subject: Option<Uuid>, record: &mut Record) {
        record.captured_at = self.made_at();
        record_maker(self.resource, self.scope, record);
        record.set(&field::SOURCE, self.source);
        if let Some((trace, span)) = self.span() {
            record.set(&field::TRACE_ID, hex(&trace));
            record.set(&field::PARENT_SPAN_ID, hex(&span));
        }
        Attributes::of_list(self.attributes).record(record);
        if let Some(id) = subject {
            record.refs.push(Ref { rel: Rel::Subject, id });
            record.set(&field::SUBJECT, id.to_string());
        }
        record.set(&field::OUTCOME, "completed");
    }
}
