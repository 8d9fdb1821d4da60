//! The records as JSON lines: what somebody would write who keeps calls in a file.

use std::io::{BufWriter, Write as _};

use onrecord_proof::{GroupState, Record, Value};
use serde_json::{Map, json};

use crate::call::Plan;

pub(crate) fn write(plan: &Plan, count: u64) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    for number in 0..count {
        serde_json::to_writer(&mut out, &line(number, &plan.record(number)))?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Every field of the record under its name; what is derived from them, such as commitments, is left out.
fn line(number: u64, record: &Record) -> serde_json::Value {
    let mut fields = Map::new();
    fields.insert("leaf_index".into(), json!(number));
    fields.insert("id".into(), json!(record.id));
    fields.insert("kind".into(), json!(record.kind.name()));
    fields.insert("captured_at".into(), json!(record.captured_at));
    for (_, state) in record.groups() {
        if let GroupState::Open(group) = state {
            fields.extend(group.iter().map(|(name, value)| (name.to_owned(), plain(value))));
        }
    }
    fields.into()
}

fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(text) => json!(text),
        // Digests are not UTF-8.
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()),
        },
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Map(map) => {
            map.iter().map(|(name, value)| (name.to_owned(), plain(value))).collect::<Map<_, _>>().into()
        }
    }
}
