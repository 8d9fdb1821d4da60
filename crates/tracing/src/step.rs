//! A span while it is open, and the records that it becomes.

use std::fmt::{self, Debug, Write as _};
use std::time::{Instant, SystemTime};

use onrecord_capture::otlp::{self, SpanKey};
use onrecord_proof::{Group, Kind, Record};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use tracing::Metadata;
use tracing::field::{Field, Visit};
use uuid::Uuid;

/// Bytes of text that were left out, beyond what is kept of one step.
const OMITTED: &str = "onrecord.span.omitted_bytes";
/// What a number, or an event, costs of what is kept.
const COST: usize = 16;

/// A span of which something is known, in the form in which OpenTelemetry exports it.
#[derive(Debug)]
pub(crate) struct Step {
    span: Span,
    key: SpanKey,
    target: &'static str,
    began: Instant,
    /// The call that it is around.
    call: Option<Uuid>,
    room: usize,
    omitted: usize,
}

impl Step {
    /// Begins now, as a part of `parent` or of nothing.
    pub(crate) fn begin(metadata: &Metadata<'static>, parent: Option<SpanKey>, room: usize) -> Self {
        let id = Uuid::now_v7();
        let trace = parent.map_or(id.into_bytes(), |(trace, _)| trace);
        // The half of a UUIDv7 that is random.
        let key = (trace, id.as_u64_pair().1.to_be_bytes());
        let span = Span {
            trace_id: key.0.to_vec(),
            span_id: key.1.to_vec(),
            parent_span_id: parent.map(|(_, span)| span.to_vec()).unwrap_or_default(),
            name: metadata.name().to_owned(),
            start_time_unix_nano: now(),
            ..Span::default()
        };
        Self { span, key, target: metadata.target(), began: Instant::now(), call: None, room, omitted: 0 }
    }

    /// What names it.
    pub(crate) const fn key(&self) -> SpanKey {
        self.key
    }

    /// Takes fields; one that is there already has a new value.
    pub(crate) fn add(&mut self, fields: Fields) {
        self.omitted += fields.omitted;
        if let Some(message) = fields.error {
            self.fail(message);
        }
        for attribute in fields.attributes {
            let old = self.span.attributes.iter().position(|old| old.key == attribute.key);
            if let Some(old) = old {
                self.room += cost(&self.span.attributes.remove(old));
            }
            let kept = self.fit(attribute);
            self.span.attributes.extend(kept);
        }
    }

    /// It has failed, for a reason of which the first one counts.
    pub(crate) fn fail(&mut self, mut message: String) {
        if self.span.status.is_none() {
            self.cut(&mut message);
            self.span.status = Some(Status { message, code: StatusCode::Error.into() });
        }
    }

    /// Something of this name happened in it.
    pub(crate) fn event(&mut self, name: &str, fields: Fields) {
        self.omitted += fields.omitted;
        let Some(room) = self.room.checked_sub(COST + name.len()) else {
            self.omitted += name.len();
            return;
        };
        self.room = room;
        let attributes = fields.attributes.into_iter().filter_map(|attribute| self.fit(attribute)).collect();
        let event = Event { time_unix_nano: now(), name: name.to_owned(), attributes, ..Event::default() };
        self.span.events.push(event);
    }

    /// A call was made in it, whose record has this id; the first one counts.
    pub(crate) fn around(&mut self, call: Uuid) {
        self.call.get_or_insert(call);
    }

    /// The call that it carried for the span around it, which may be the one that asked the model.
    pub(crate) fn carried(&self) -> Option<Uuid> {
        self.call.filter(|_| !otlp::Span::embedded(&[], &InstrumentationScope::default(), &self.span).is_model_call())
    }

    pub(crate) fn end(&mut self) {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.span.end_time_unix_nano = self.span.start_time_unix_nano.saturating_add(nanos);
    }

    /// Its records, made of empty ones.
    pub(crate) fn records(&self, resource: &[KeyValue], new: impl FnMut(Kind) -> Record) -> Vec<Record> {
        let scope = InstrumentationScope { name: self.target.to_owned(), ..InstrumentationScope::default() };
        let mut records = otlp::Span::embedded(resource, &scope, &self.span).records(self.call, new);
        if let Some(record) = records.first_mut().filter(|_| self.omitted > 0) {
            record.set_named(Group::Context, OMITTED, i64::try_from(self.omitted).unwrap_or(i64::MAX));
        }
        records
    }

    /// As much of an attribute as there is room for.
    fn fit(&mut self, mut attribute: KeyValue) -> Option<KeyValue> {
        if let Some(AnyValue { value: Some(Value::StringValue(text)) }) = &mut attribute.value {
            self.cut(text);
            return Some(attribute);
        }
        let Some(room) = self.room.checked_sub(COST) else {
            self.omitted += COST;
            return None;
        };
        self.room = room;
        Some(attribute)
    }

    fn cut(&mut self, text: &mut String) {
        let kept = text.floor_char_boundary(self.room);
        self.room -= kept;
        self.omitted += text.len() - kept;
        text.truncate(kept);
    }
}

/// Nanoseconds since 1970-01-01 UTC.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::StringValue(text.into())
}

pub(crate) fn attribute(name: &str, value: Value) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn cost(attribute: &KeyValue) -> usize {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.len(),
        _ => COST,
    }
}

/// The fields of a span or an event, with at most so many bytes of text.
#[derive(Debug)]
pub(crate) struct Fields {
    attributes: Vec<KeyValue>,
    /// What the field `error` says.
    error: Option<String>,
    room: usize,
    omitted: usize,
}

impl Fields {
    pub(crate) const fn new(room: usize) -> Self {
        Self { attributes: Vec::new(), error: None, room, omitted: 0 }
    }

    /// Why something failed, in an event that says so.
    pub(crate) fn message(&self) -> String {
        let message = || {
            let message = self.attributes.iter().find(|attribute| attribute.key == "message")?;
            match message.value.as_ref()?.value.as_ref()? {
                Value::StringValue(text) => Some(text.clone()),
                _ => None,
            }
        };
        self.error.clone().or_else(message).unwrap_or_default()
    }

    fn add(&mut self, field: &Field, value: Value) {
        self.attributes.push(attribute(field.name(), value));
    }

    fn text(&mut self, field: &Field, format: fmt::Arguments<'_>) {
        let mut text = Bounded { text: String::new(), fields: self };
        // What stands there before an error is worth having; a value that cannot be shown is the application's.
        let _ = text.write_fmt(format);
        let text = text.text;
        if field.name() == "error" {
            self.error = Some(text);
        } else {
            self.add(field, self::text(text));
        }
    }
}

/// Text that takes up no more memory than there is room for, however long it is.
struct Bounded<'f> {
    text: String,
    fields: &'f mut Fields,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let kept = piece.floor_char_boundary(self.fields.room);
        self.text.push_str(&piece[..kept]);
        self.fields.omitted += piece.len() - kept;
        // After a cut nothing more is taken, so that what is kept is a beginning.
        self.fields.room = if kept < piece.len() { 0 } else { self.fields.room - kept };
        Ok(())
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.text(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.record_i64(field, value),
            Err(_) => self.text(field, format_args!("{value}")),
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::DoubleValue(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == "error" && value {
            self.error = Some(String::new());
        } else {
            self.add(field, Value::BoolValue(value));
        }
    }
}
