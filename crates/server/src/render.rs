//! A record as JSON, for programs and for the command line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_ledger::Committed;
use onrecord_proof::{GroupState, Map, Shape, Value as Cbor, field};
use serde_json::{Value, json};

/// The whole record: what the leaf says, and each group with its fields.
///
/// Digests are hexadecimal. Bodies are text if they are UTF-8, else `{"base64": …}`.
pub(crate) fn record(committed: &Committed) -> Value {
    let Committed { index, committed_at, record } = committed;
    let groups = record.groups().map(|(group, state)| {
        let value = match state {
            GroupState::Open(fields) => map(fields),
            GroupState::Erased { commitment, disposal } => {
                json!({ "erased": { "commitment": hex(commitment), "disposal": disposal } })
            }
        };
        (group.name().to_owned(), value)
    });
    json!({
        "leaf_index": index,
        "id": record.id,
        "kind": record.kind.name(),
        "captured_at": time(record.captured_at),
        "committed_at": time(*committed_at),
        "leaf_hash": hex(&committed.leaf().hash()),
        "refs": record.refs.iter().map(|r| json!({ "rel": r.rel.name(), "id": r.id })).collect::<Vec<_>>(),
        "groups": groups.collect::<serde_json::Map<_, _>>(),
    })
}

/// Names and values.
pub(crate) fn map(fields: &Map) -> Value {
    Value::Object(fields.iter().map(|(name, value)| (name.to_owned(), named(name, value))).collect())
}

/// The value of a field, null if it has none.
pub(crate) fn field(field: &onrecord_proof::Field, cbor: Option<&Cbor>) -> Value {
    cbor.map_or(Value::Null, |cbor| named(field.name, cbor))
}

fn named(name: &str, cbor: &Cbor) -> Value {
    let digest = field::ALL.iter().any(|field| field.name == name && field.shape == Shape::Bytes);
    match cbor {
        Cbor::Bytes(bytes) if digest => Value::String(hex(bytes)),
        other => value(other),
    }
}

fn value(cbor: &Cbor) -> Value {
    match cbor {
        Cbor::Null => Value::Null,
        Cbor::Bool(b) => json!(b),
        Cbor::Int(n) => json!(n),
        Cbor::Float(n) => json!(n),
        Cbor::Text(text) => json!(text),
        Cbor::Bytes(bytes) => {
            std::str::from_utf8(bytes).map_or_else(|_| json!({ "base64": BASE64.encode(bytes) }), |text| json!(text))
        }
        Cbor::Array(items) => items.iter().map(value).collect(),
        Cbor::Map(fields) => map(fields),
    }
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

/// RFC 3339 in UTC with microseconds.
pub(crate) fn time(at: i64) -> String {
    jiff::Timestamp::from_microsecond(at).map_or_else(|_| at.to_string(), |time| format!("{time:.6}"))
}
