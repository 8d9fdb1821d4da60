//! Log events. One that belongs to a span without being a part of it cannot be put on record with it, since a record does
//! not change; one that judges stands for itself.

use onrecord_proof::{Group, Record};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use sha2::{Digest, Sha256};

use super::attributes::{self, Attributes};
use super::evaluation::{self, Evaluation};
use super::{OTLP, SpanKey};

/// A log record with what it was exported with.
#[derive(Debug, Clone, Copy)]
pub struct LogEvent<'a> {
    resource: &'a [KeyValue],
    scope: Option<&'a InstrumentationScope>,
    message: &'a LogRecord,
}

/// The log records of a request, in its order.
pub fn log_events(request: &ExportLogsServiceRequest) -> impl Iterator<Item = LogEvent<'_>> {
    request.resource_logs.iter().flat_map(|of_resource| {
        let resource = of_resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        of_resource.scope_logs.iter().flat_map(move |of_scope| {
            let scope = of_scope.scope.as_ref();
            of_scope.log_records.iter().map(move |message| LogEvent { resource, scope, message })
        })
    })
}

impl<'a> LogEvent<'a> {
    /// What happened; empty if it is no event but a line of a log. The attribute is where older exporters have the name.
    pub fn name(&self) -> &'a str {
        let message = self.message;
        let older = || Attributes::of_list(&message.attributes).text("event.name");
        Some(message.event_name.as_str()).filter(|name| !name.is_empty()).or_else(older).unwrap_or_default()
    }

    /// What names it among all there are, if it is sent again: its digest, since it has no id.
    pub fn key(&self) -> SpanKey {
        let digest = Sha256::digest(self.message.encode_to_vec());
        (std::array::from_fn(|at| digest[at]), std::array::from_fn(|at| digest[16 + at]))
    }

    /// The judgement that it is, if it is one.
    pub fn evaluation(&self) -> Option<Evaluation<'a>> {
        let Self { resource, scope, message } = *self;
        let at = if message.time_unix_nano > 0 { message.time_unix_nano } else { message.observed_time_unix_nano };
        (self.name() == evaluation::NAME).then_some(Evaluation {
            source: OTLP,
            resource,
            scope,
            at,
            trace_id: &message.trace_id,
            span_id: &message.span_id,
            attributes: &message.attributes,
        })
    }

    /// Records what it has as a log record and not as an event: its body and its severity.
    pub fn record_rest(&self, record: &mut Record) {
        if let Some(body) = self.message.body.as_ref().and_then(attributes::any_value) {
            record.set_named(Group::Outcome, "otel.log.body", body);
        }
        if !self.message.severity_text.is_empty() {
            record.set_named(Group::Context, "otel.log.severity", self.message.severity_text.as_str());
        }
    }
}
