//! The attributes of a span, and the fields that they become.

use onrecord_proof::{Field, Group, Record, Shape, Value, field};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span as Message;
use serde_json::{Map, Value as Json};

use super::names::{self, Meaning};
use super::nested;

/// Containers within containers are kept as such so deep, and as the text of their JSON below that; the format allows 32.
const DEPTH_MAX: usize = 24;

/// The attributes of one span or event.
pub(super) struct Attributes<'a>(&'a [KeyValue]);

impl<'a> Attributes<'a> {
    pub(super) const fn of(message: &'a Message) -> Self {
        Self(message.attributes.as_slice())
    }

    pub(super) const fn of_list(attributes: &'a [KeyValue]) -> Self {
        Self(attributes)
    }

    /// The text of an attribute.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|attribute| attribute.key == name).and_then(text)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|attribute| attribute.key == name)
    }

    /// True if the name of one of them begins so.
    pub(super) fn have(&self, begin: &str) -> bool {
        self.0.iter().any(|attribute| attribute.key.starts_with(begin))
    }

    /// True if one of them says what was asked or answered.
    pub(super) fn have_content(&self) -> bool {
        self.0.iter().any(says_content)
    }

    /// Sets the fields that they mean. Of several names for one field the first in the table counts.
    pub(super) fn record(&self, record: &mut Record) {
        nested::record(self.0, record);
        let mut known = Vec::with_capacity(self.0.len());
        for attribute in self.0 {
            match names::place_of(&attribute.key) {
                Some(place) => known.extend(attribute.value.as_ref().map(|any| (place, any))),
                None if nested::is_part(&attribute.key) => {}
                None => {
                    if let Some(value) = value(attribute) {
                        record.set_named(names::group_of(&attribute.key), names::kept_as(&attribute.key), value);
                    }
                }
            }
        }
        known.sort_by_key(|(place, _)| *place);
        for (place, any) in known {
            let (name, meaning) = names::NAMES[place];
            set(record, meaning, name, any);
        }
        self.record_parameters(record);
        record_finish_reasons(record);
        record_texts(record);
    }

    /// Sets the fields of the parameters that OpenInference keeps as one JSON, unless attributes have set them.
    fn record_parameters(&self, record: &mut Record) {
        let text = names::INVOCATIONS.iter().find_map(|name| self.text(name));
        let Some(Json::Object(parameters)) = text.and_then(|text| serde_json::from_str(text).ok()) else { return };
        for (name, field) in names::PARAMETERS {
            let value = parameters.get(*name).and_then(|value| shaped(field.shape, &any(value)?));
            if let Some(value) = value.filter(|_| record.get(field).is_none()) {
                record.set(field, value);
            }
        }
        if let Some(asked) = parameters.get("model").and_then(Json::as_str) {
            let said = names::SAID_OF_MODEL.iter().find_map(|name| self.text(name));
            let answered = said.filter(|said| record.text(&field::REQUEST_MODEL) == Some(said));
            if answered.is_some() || record.get(&field::REQUEST_MODEL).is_none() {
                record.set(&field::REQUEST_MODEL, asked);
            }
            if let Some(answered) = answered.filter(|_| record.get(&field::RESPONSE_MODEL).is_none()) {
                record.set(&field::RESPONSE_MODEL, answered);
            }
        }
    }
}

/// True if an attribute says what was asked or answered.
pub(super) fn says_content(attribute: &KeyValue) -> bool {
    names::is_content(&attribute.key) && text(attribute) != Some(names::HIDDEN)
}

/// A plain value of JSON, or a list of texts, as that of an attribute.
fn any(value: &Json) -> Option<AnyValue> {
    let value = match value {
        Json::String(text) => Any::StringValue(text.clone()),
        Json::Bool(flag) => Any::BoolValue(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Any::IntValue(number),
            None => Any::DoubleValue(number.as_f64()?),
        },
        Json::Array(items) => {
            let values = items.iter().filter(|item| item.is_string()).filter_map(any).collect();
            Any::ArrayValue(ArrayValue { values })
        }
        Json::Null | Json::Object(_) => return None,
    };
    Some(AnyValue { value: Some(value) })
}

/// Sets the field that an attribute means, unless another name has set it. A value that does not fit is kept under the
/// attribute's name.
fn set(record: &mut Record, meaning: Meaning, name: &'static str, any: &AnyValue) {
    let (field, shaped) = match meaning {
        Meaning::Is(field) => (field, shaped(field.shape, any)),
        Meaning::Seconds(field) => (field, seconds(any)),
    };
    match shaped {
        Some(value) if record.get(field).is_none() => record.set(field, value),
        _ => {
            if let Some(value) = convert(any, 0) {
                record.set_named(field.group, names::kept_as(name), value);
            }
        }
    }
}

/// The value in the shape of a field, if it has one there.
fn shaped(shape: Shape, any: &AnyValue) -> Option<Value> {
    let value = any.value.as_ref()?;
    match (shape, value) {
        (Shape::Text, Any::StringValue(text)) => Some(text.as_str().into()),
        (Shape::Int, Any::IntValue(number)) => Some((*number).into()),
        (Shape::Int, Any::StringValue(text)) => text.parse::<i64>().ok().map(Into::into),
        (Shape::Float, Any::DoubleValue(number)) => Some((*number).into()),
        (Shape::Float, Any::IntValue(number)) => Some((*number as f64).into()),
        (Shape::Bool, Any::BoolValue(flag)) => Some((*flag).into()),
        (Shape::Body, Any::StringValue(text)) => Some(text.as_bytes().into()),
        (Shape::Body, _) => Some(json(any).to_string().into_bytes().into()),
        (Shape::TextList, Any::StringValue(text)) => Some(vec![Value::from(text.as_str())].into()),
        (Shape::TextList, Any::ArrayValue(list)) => {
            let texts: Option<Vec<_>> = list.values.iter().map(|item| Some(Value::from(plain_text(item)?))).collect();
            texts.map(Into::into)
        }
        _ => None,
    }
}

/// Microseconds, of a time in seconds.
fn seconds(any: &AnyValue) -> Option<Value> {
    let seconds = match any.value.as_ref()? {
        Any::DoubleValue(seconds) => *seconds,
        Any::IntValue(seconds) => *seconds as f64,
        _ => return None,
    };
    // A float becomes the nearest integer there is, and no number becomes 0.
    Some(Value::from((seconds * 1e6) as i64))
}

/// Some instrumentations say in the messages alone why they ended.
fn record_finish_reasons(record: &mut Record) {
    if record.get(&field::FINISH_REASONS).is_some() {
        return;
    }
    let messages = record.get(&field::OUTPUT_MESSAGES).and_then(Value::as_bytes);
    let Some(Json::Array(messages)) = messages.and_then(|json| serde_json::from_slice(json).ok()) else { return };
    let reason =
        |message: &Json| message.get("finish_reason")?.as_str().filter(|reason| !reason.is_empty()).map(Value::from);
    let reasons: Vec<_> = messages.iter().filter_map(reason).collect();
    if !reasons.is_empty() {
        record.set(&field::FINISH_REASONS, reasons);
    }
}

/// The text of the last of the messages, for people and for searching.
fn record_texts(record: &mut Record) {
    let sources = [
        (&field::INPUT_TEXT, [&field::INPUT_MESSAGES, &field::INPUT_BODY]),
        (&field::OUTPUT_TEXT, [&field::OUTPUT_MESSAGES, &field::OUTPUT_BODY]),
    ];
    for (text, bodies) in sources {
        if record.get(text).is_some() {
            continue;
        }
        let found = bodies.iter().find_map(|body| last_text(record, body));
        if let Some(found) = found.filter(|found| found != names::HIDDEN) {
            record.set(text, found);
        }
    }
}

fn last_text(record: &Record, body: &Field) -> Option<String> {
    let body = std::str::from_utf8(record.get(body)?.as_bytes()?).ok()?;
    match serde_json::from_str(body) {
        Ok(Json::Array(messages)) => message_text(messages.last()?),
        Ok(Json::String(text)) => Some(text),
        // What is embedded, and the question that a chain is asked.
        Ok(Json::Object(body)) => Some(body.get("input")?.as_str()?.to_owned()),
        Ok(_) => None,
        Err(_) => Some(body.to_owned()).filter(|body| !body.is_empty()),
    }
}

/// The text of a message in the shapes of the semantic conventions (`parts`), of model servers (`content`) and of OpenInference
/// (`contents`).
fn message_text(message: &Json) -> Option<String> {
    let parts = ["parts", "content", "contents"].iter().find_map(|name| message.get(name))?;
    if let Json::String(text) = parts {
        return Some(text.clone()).filter(|text| !text.is_empty());
    }
    let text = |part: &Json| ["content", "text"].iter().find_map(|name| part.get(name)?.as_str().map(str::to_owned));
    let texts: Vec<_> = parts.as_array()?.iter().filter_map(text).filter(|text| !text.is_empty()).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// The text of an attribute.
pub(super) fn text(attribute: &KeyValue) -> Option<&str> {
    plain_text(attribute.value.as_ref()?)
}

fn plain_text(any: &AnyValue) -> Option<&str> {
    match any.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The value of an attribute as it is kept.
pub(super) fn value(attribute: &KeyValue) -> Option<Value> {
    any_value(attribute.value.as_ref()?)
}

/// Any value as it is kept.
pub(super) fn any_value(any: &AnyValue) -> Option<Value> {
    convert(any, 0)
}

fn convert(any: &AnyValue, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return Some(json(any).to_string().into());
    }
    Some(match any.value.as_ref()? {
        Any::StringValue(text) => text.as_str().into(),
        Any::BoolValue(flag) => (*flag).into(),
        Any::IntValue(number) => (*number).into(),
        Any::DoubleValue(number) => (*number).into(),
        Any::BytesValue(bytes) => bytes.as_slice().into(),
        Any::ArrayValue(list) => {
            let items = list.values.iter().map(|item| convert(item, depth + 1).unwrap_or(Value::Null));
            Value::Array(items.collect())
        }
        Any::KvlistValue(list) => {
            let entry = |entry: &KeyValue| Some((entry.key.clone(), convert(entry.value.as_ref()?, depth + 1)?));
            Value::Map(list.values.iter().filter_map(entry).collect())
        }
        Any::StringValueStrindex(_) => return None,
    })
}

/// The value as JSON. How deep it is was limited by what it was decoded by.
pub(super) fn json(any: &AnyValue) -> Json {
    match &any.value {
        None | Some(Any::StringValueStrindex(_)) => Json::Null,
        Some(Any::StringValue(text)) => text.as_str().into(),
        Some(Any::BoolValue(flag)) => (*flag).into(),
        Some(Any::IntValue(number)) => (*number).into(),
        Some(Any::DoubleValue(number)) => (*number).into(),
        Some(Any::BytesValue(bytes)) => super::hex(bytes).into(),
        Some(Any::ArrayValue(list)) => list.values.iter().map(json).collect(),
        Some(Any::KvlistValue(list)) => json_object(&list.values),
    }
}

pub(super) fn json_object(attributes: &[KeyValue]) -> Json {
    let entry = |entry: &KeyValue| (entry.key.clone(), entry.value.as_ref().map_or(Json::Null, json));
    Json::Object(attributes.iter().map(entry).collect::<Map<_, _>>())
}

/// The group in which what says what was asked, or answered, is kept.
pub(super) const CONTENT: [Group; 2] = [Group::Input, Group::Output];
