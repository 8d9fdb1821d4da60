//! OpenTelemetry spans as records: what ran before, around and after the calls of a model. Of log events those that stand
//! for themselves: judgements of answers.
//!
//! The names of attributes are those of the OTel GenAI semantic conventions, of OpenInference, and the older ones of
//! OpenLLMetry; `names` lists them. An attribute that is not listed is kept under its name ([`kept_as`]), in the group of its kind.
//! The messages are those of OTLP (opentelemetry-proto 1.x), over protobuf or JSON.

mod attributes;
mod evaluation;
mod events;
mod kind;
mod log;
mod names;
mod nested;
mod proto_json;

use std::borrow::Cow;

use onrecord_proof::{Group, Kind, Record, Ref, Rel, field};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span as Message;
use uuid::Uuid;

use self::attributes::Attributes;
use crate::json;

pub use self::evaluation::Evaluation;
pub use self::log::{LogEvent, log_events};
pub use self::names::kept_as;

/// What `onrecord.source` says of records that came as spans, and of those of a process that records itself.
const OTLP: &str = "otlp";
const EMBEDDED: &str = "embedded";
/// The status of a span that failed.
const STATUS_ERROR: i32 = 2;

/// A request of an exporter that is no OTLP.
#[derive(Debug, thiserror::Error)]
pub enum NotOtlp {
    /// Its protobuf cannot be decoded.
    #[error("this is no export request of OTLP in protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// Its JSON cannot be decoded.
    #[error("this is no export request of OTLP in JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The request, of spans or of logs, in a body of `application/x-protobuf`.
pub fn from_protobuf<T: prost::Message + Default>(body: &[u8]) -> Result<T, NotOtlp> {
    Ok(T::decode(body)?)
}

/// The request, of spans or of logs, in a body of `application/json`. Most are what is asked for; of the others what was left
/// out is put in.
pub fn from_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, NotOtlp> {
    let problem = match serde_json::from_slice(body) {
        Ok(request) => return Ok(request),
        Err(problem) => problem,
    };
    let Ok(sent) = serde_json::from_slice::<serde_json::Value>(body) else { return Err(problem.into()) };
    let mut complete = sent.clone();
    proto_json::complete(&mut complete);
    // The first problem says where it is.
    if complete == sent { Err(problem.into()) } else { Ok(serde_json::from_value(complete)?) }
}

/// Trace id and span id: what names a span among all there are.
pub type SpanKey = ([u8; 16], [u8; 8]);

/// What names the span that a record says it is a part of.
pub fn parent_of(record: &Record) -> Option<SpanKey> {
    Some((unhex(record.text(&field::TRACE_ID)?)?, unhex(record.text(&field::PARENT_SPAN_ID)?)?))
}

/// Makes a record a part of the span that is named.
pub fn set_parent((trace, span): SpanKey, record: &mut Record) {
    record.set(&field::TRACE_ID, hex(&trace));
    record.set(&field::PARENT_SPAN_ID, hex(&span));
}

/// What `onrecord.source` says of the records of a process that records itself.
pub fn set_embedded(record: &mut Record) {
    record.set(&field::SOURCE, EMBEDDED);
}

/// A span with what it was exported with.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    source: &'static str,
    resource: &'a [KeyValue],
    scope: Option<&'a InstrumentationScope>,
    message: &'a Message,
}

/// The spans of a request, in its order.
pub fn spans(request: &ExportTraceServiceRequest) -> impl Iterator<Item = Span<'_>> {
    request.resource_spans.iter().flat_map(|of_resource| {
        let resource = of_resource.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        of_resource.scope_spans.iter().flat_map(move |of_scope| {
            let scope = of_scope.scope.as_ref();
            of_scope.spans.iter().map(move |message| Span { source: OTLP, resource, scope, message })
        })
    })
}

impl<'a> Span<'a> {
    /// A span of this process, which nobody exported.
    pub const fn embedded(resource: &'a [KeyValue], scope: &'a InstrumentationScope, message: &'a Message) -> Self {
        Self { source: EMBEDDED, resource, scope: Some(scope), message }
    }

    /// What names it; an error says why it is no span.
    pub fn key(&self) -> Result<SpanKey, String> {
        let id = |what: &str, bytes: &[u8], len: usize| {
            let hex = hex(bytes);
            let is_id = bytes.len() == len && bytes.iter().any(|byte| *byte != 0);
            is_id.then_some(()).ok_or_else(|| format!("span {:?}: {what} {hex:?} is none", self.message.name))
        };
        let Message { trace_id, span_id, .. } = self.message;
        id("the trace id", trace_id, 16)?;
        id("the span id", span_id, 8)?;
        Ok((trace_id.as_slice().try_into().unwrap_or_default(), span_id.as_slice().try_into().unwrap_or_default()))
    }

    /// What its parent is named, if it has one.
    pub fn parent(&self) -> Option<SpanKey> {
        let parent = self.message.parent_span_id.as_slice().try_into().ok().filter(|parent| *parent != [0; 8])?;
        Some((self.message.trace_id.as_slice().try_into().ok()?, parent))
    }

    /// True if it is the call of a model, seen by the client.
    pub fn is_model_call(&self) -> bool {
        kind::is_model_call(&Attributes::of(self.message))
    }

    /// True if it is the call of a model and does not say what was asked or answered, which instrumentations leave out
    /// unless they are told otherwise. What was embedded some never say, whatever they are told.
    pub fn lacks_content(&self) -> bool {
        let attributes = Attributes::of(self.message);
        kind::is_model_call(&attributes)
            && !kind::is_embedding(&attributes)
            && !attributes.have_content()
            && !events::have_content(&self.message.events)
    }

    /// The model server's id of the answer, as the span says it, or else the JSON of the answer in it.
    pub fn response_id(&self) -> Option<Cow<'a, str>> {
        let attributes = Attributes::of(self.message);
        let within = || json::member_of(json::parse(attributes.text("output.value")?).ok()?, "id").and_then(json::text);
        let id = attributes.text("gen_ai.response.id").map(Cow::Borrowed).or_else(within);
        id.filter(|id| !id.is_empty())
    }

    /// Who made it: the service and the instrumentation.
    pub fn origin(&self) -> (&'a str, &'a str) {
        let service = self.resource.iter().find(|attribute| attribute.key == "service.name");
        let service = service.and_then(|attribute| attributes::text(attribute)).unwrap_or("unknown service");
        (service, self.scope.map_or("", |scope| &scope.name))
    }

    /// When it began, in microseconds since 1970-01-01 UTC by the clock of its sender; 0 if it does not say.
    pub fn started_at(&self) -> i64 {
        micros(self.message.start_time_unix_nano)
    }

    /// When it ended, by the same clock.
    pub fn ended_at(&self) -> i64 {
        micros(self.message.end_time_unix_nano)
    }

    /// What goes on record of it: an interaction or a step, then the judgements among its events as feedback. `call` is
    /// the record of the call that it is around, if there is one: a model's call is then a step, so that it does not count
    /// twice. `new` gives an empty record.
    pub fn records(&self, call: Option<Uuid>, mut new: impl FnMut(Kind) -> Record) -> Vec<Record> {
        let record = self.own_record(call, &mut new);
        // What a client judges is the answer, where that is on record.
        let judged = call.unwrap_or(record.id);
        std::iter::once(record).chain(self.judgements(judged, new)).collect()
    }

    /// The first of [its records](Self::records), which is about itself.
    pub fn own_record(&self, call: Option<Uuid>, new: impl FnOnce(Kind) -> Record) -> Record {
        let mut record = new(if self.is_model_call() && call.is_none() { Kind::Interaction } else { Kind::Step });
        self.record(&mut record);
        if let Some(id) = call {
            record.refs.push(Ref { rel: Rel::Subject, id });
            record.set(&field::SUBJECT, id.to_string());
        }
        record
    }

    /// The others, which judge the record `judged`, in the order of its events.
    pub fn judgements(&self, judged: Uuid, mut new: impl FnMut(Kind) -> Record) -> impl Iterator<Item = Record> {
        self.evaluations().map(move |evaluation| {
            let mut record = new(Kind::Feedback);
            evaluation.record(Some(judged), &mut record);
            record
        })
    }

    /// Fills in a record of kind `interaction` or `step`.
    pub fn record(&self, record: &mut Record) {
        let attributes = Attributes::of(self.message);
        record.captured_at = self.started_at();
        self.record_place(record);
        record_maker(self.resource, self.scope, record);
        attributes.record(record);
        if let Some(operation) = kind::operation(&attributes).filter(|_| record.get(&field::OPERATION).is_none()) {
            record.set(&field::OPERATION, operation);
        }
        if record.kind == Kind::Step {
            record.set(&field::STEP, kind::of_step(&attributes));
        }
        events::record(&self.message.events, record);
        events::record_links(&self.message.links, record);
        self.record_end(record);
    }

    /// The judgements of answers among its events, each to be recorded as `feedback`.
    fn evaluations(&self) -> impl Iterator<Item = Evaluation<'a>> + use<'a> {
        let Self { source, resource, scope, message } = *self;
        let judgements = message.events.iter().filter(|event| event.name == evaluation::NAME);
        judgements.map(move |event| Evaluation {
            source,
            resource,
            scope,
            at: event.time_unix_nano,
            trace_id: &message.trace_id,
            span_id: &message.span_id,
            attributes: &event.attributes,
        })
    }

    fn record_place(&self, record: &mut Record) {
        let Message { trace_id, span_id, name, trace_state, .. } = self.message;
        record.set(&field::SOURCE, self.source);
        record.set(&field::TRACE_ID, hex(trace_id));
        record.set(&field::SPAN_ID, hex(span_id));
        if let Some((_, parent)) = self.parent() {
            record.set(&field::PARENT_SPAN_ID, hex(&parent));
        }
        if !name.is_empty() {
            record.set(&field::SPAN_NAME, name.as_str());
        }
        if !trace_state.is_empty() {
            record.set_named(Group::Context, "trace_state", trace_state.as_str());
        }
    }

    fn record_end(&self, record: &mut Record) {
        let Message { start_time_unix_nano, end_time_unix_nano, status, .. } = self.message;
        let nanos = end_time_unix_nano.saturating_sub(*start_time_unix_nano);
        record.set(&field::DURATION, micros(nanos));
        let failed = status.as_ref().is_some_and(|status| status.code == STATUS_ERROR);
        let outcome = match (failed, record.kind) {
            (false, _) => "completed",
            (true, Kind::Interaction) => "upstream_error",
            (true, _) => "failed",
        };
        record.set(&field::OUTCOME, outcome);
        let message = status.as_ref().map(|status| status.message.as_str()).filter(|message| !message.is_empty());
        if let Some(message) = message {
            record.set(&field::ERROR_MESSAGE, message);
        }
    }
}

/// Records who made it: the resource and the instrumentation.
fn record_maker(resource: &[KeyValue], scope: Option<&InstrumentationScope>, record: &mut Record) {
    for attribute in resource {
        if attribute.key == "service.name" {
            if let Some(name) = attributes::text(attribute) {
                record.set(&field::SERVICE_NAME, name);
            }
        } else if let Some(value) = attributes::value(attribute) {
            record.set_named(Group::Context, format!("resource.{}", attribute.key), value);
        }
    }
    if let Some(scope) = scope {
        record.set_named(Group::Context, "otel.scope.name", scope.name.as_str());
        record.set_named(Group::Context, "otel.scope.version", scope.version.as_str());
    }
}

fn micros(nanos: u64) -> i64 {
    i64::try_from(nanos / 1000).unwrap_or(i64::MAX)
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
