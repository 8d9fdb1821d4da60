//! Records as OTLP log records.

use onrecord_proof::Value;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::record::{Outgoing, Severity, cut, longest};

/// The request that has these records, of the log of this name; none of them is longer than about `max` bytes.
pub(crate) fn request(records: &[Outgoing], origin: &str, max: usize) -> ExportLogsServiceRequest {
    let resource =
        [("service.name", "onrecord"), ("service.version", env!("CARGO_PKG_VERSION")), ("onrecord.log.origin", origin)];
    let attributes = resource.map(|(name, value)| pair(name, text(value))).to_vec();
    let scope = InstrumentationScope {
        name: "onrecord".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Default::default()
    };
    let logs = ScopeLogs {
        scope: Some(scope),
        log_records: records.iter().map(|record| log_record(record, max)).collect(),
        ..Default::default()
    };
    let resource = Resource { attributes, ..Default::default() };
    let logs = ResourceLogs { resource: Some(resource), scope_logs: vec![logs], ..Default::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }
}

impl Severity {
    const fn level(self) -> (SeverityNumber, &'static str) {
        match self {
            Self::Debug => (SeverityNumber::Debug, "DEBUG"),
            Self::Info => (SeverityNumber::Info, "INFO"),
            // The number that the data model gives to the notice of syslog.
            Self::Notice => (SeverityNumber::Info2, "NOTICE"),
            Self::Warning => (SeverityNumber::Warn, "WARN"),
            Self::Error => (SeverityNumber::Error, "ERROR"),
        }
    }
}

fn log_record(record: &Outgoing, max: usize) -> LogRecord {
    let (number, level) = record.severity.level();
    let mut attributes = vec![
        pair("onrecord.kind", text(record.kind.name())),
        pair("onrecord.id", text(&record.id.to_string())),
        pair("onrecord.leaf_index", Any::IntValue(record.leaf_index as i64)),
    ];
    if !record.erased.is_empty() {
        attributes.push(pair("onrecord.erased", list(record.erased.iter().map(|group| text(group.name())))));
    }
    attributes.extend(values(record, max));
    LogRecord {
        time_unix_nano: nanoseconds(record.captured_at),
        observed_time_unix_nano: nanoseconds(record.committed_at),
        severity_number: number.into(),
        severity_text: level.to_owned(),
        body: Some(AnyValue { value: Some(text(&record.summary)) }),
        attributes,
        trace_id: digits(record.trace_id.as_deref(), 16),
        span_id: digits(record.span_id.as_deref(), 8),
        event_name: format!("onrecord.{}", record.kind.name()),
        ..Default::default()
    }
}

/// The fields; of a record that is too long the longest texts are cut, and named.
fn values(record: &Outgoing, max: usize) -> Vec<KeyValue> {
    let texts = record.attributes.iter().map(|(_, value)| value.as_text().map_or(0, str::len));
    let around = record.size().saturating_sub(texts.clone().sum());
    let most = longest(texts, max.saturating_sub(around));
    let mut truncated = Vec::new();
    let value = |(name, value): &(std::borrow::Cow<'static, str>, Value)| match value {
        Value::Text(long) if long.len() > most => {
            truncated.push(text(name));
            pair(name, text(cut(long, most)))
        }
        value => pair(name, any(value)),
    };
    let mut values: Vec<_> = record.attributes.iter().map(value).collect();
    if !truncated.is_empty() {
        values.push(pair("onrecord.truncated", list(truncated.into_iter())));
    }
    values
}

fn any(value: &Value) -> Any {
    match value {
        Value::Null => text(""),
        Value::Bool(value) => Any::BoolValue(*value),
        Value::Int(value) => Any::IntValue(*value),
        Value::Float(value) => Any::DoubleValue(*value),
        Value::Text(value) => text(value),
        Value::Bytes(bytes) => Any::BytesValue(bytes.clone()),
        Value::Array(items) => list(items.iter().map(any)),
        Value::Map(fields) => Any::KvlistValue(KeyValueList {
            values: fields.iter().map(|(name, value)| pair(name, any(value))).collect(),
        }),
    }
}

fn text(text: &str) -> Any {
    Any::StringValue(text.to_owned())
}

fn list(items: impl Iterator<Item = Any>) -> Any {
    Any::ArrayValue(ArrayValue { values: items.map(|item| AnyValue { value: Some(item) }).collect() })
}

fn pair(name: &str, value: Any) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// Times before 1970 cannot be written.
fn nanoseconds(at: i64) -> u64 {
    u64::try_from(at).unwrap_or(0).saturating_mul(1000)
}

/// The bytes of a trace or span id; none if these are not its digits, which a caller can make up.
fn digits(text: Option<&str>, bytes: usize) -> Vec<u8> {
    let text = text.filter(|text| text.len() == 2 * bytes && text.is_ascii()).unwrap_or_default();
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let read: Option<Vec<_>> = (0..text.len()).step_by(2).map(byte).collect();
    read.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use onrecord_proof::{Group, field};
    use uuid::Uuid;

    use super::super::record::Content;
    use super::super::record::tests::call;
    use super::*;

    fn one(committed: &onrecord_ledger::Committed, max: usize) -> LogRecord {
        let request = request(&[Outgoing::of(committed, Content::All)], "example.org/log", max);
        request.resource_logs[0].scope_logs[0].log_records[0].clone()
    }

    fn of<'r>(record: &'r LogRecord, name: &str) -> Option<&'r Any> {
        record.attributes.iter().find(|pair| pair.key == name)?.value.as_ref()?.value.as_ref()
    }

    #[test]
    fn a_record_is_a_log_record() {
        let mut committed = call();
        committed.record.erase(Group::Decisions, Uuid::nil());
        let record = one(&committed, 1 << 20);
        assert_eq!(record.event_name, "onrecord.interaction");
        assert_eq!(
            (record.time_unix_nano, record.observed_time_unix_nano),
            (1_767_323_045_678_901_000, 1_767_323_046_000_000_000)
        );
        assert_eq!((record.severity_number, record.severity_text.as_str()), (17, "ERROR"));
        assert_eq!((record.trace_id[..2].to_vec(), record.trace_id.len()), (vec![0x0a, 0xf7], 16));
        assert_eq!(record.span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(of(&record, "onrecord.leaf_index"), Some(&Any::IntValue(12)));
        assert_eq!(of(&record, "onrecord.erased"), Some(&list([text("decisions")].into_iter())));
        assert_eq!(
            of(&record, "gen_ai.response.finish_reasons"),
            Some(&list(["stop", "length"].map(text).into_iter()))
        );
        assert_eq!(of(&record, "trace_id"), None);
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let mut committed = call();
        committed.record.set(&field::INPUT_TEXT, "ñ".repeat(50_000));
        committed.record.set(&field::TRACE_ID, "ñot a trace id, 32 bytes, no hex");
        let record = one(&committed, 10_000);
        let Some(Any::StringValue(left)) = of(&record, "onrecord.input.text") else { panic!("{record:?}") };
        assert!((8_000..10_000).contains(&left.len()), "{}", left.len());
        assert_eq!(of(&record, "onrecord.truncated"), Some(&list([text("onrecord.input.text")].into_iter())));
        assert_eq!(record.trace_id, Vec::<u8>::new());
    }
}
