//! From records to rows.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BooleanArray, Date32Array, Float64Array, Int64Array, ListBuilder, MapBuilder,
    MapFieldNames, RecordBatch, RecordBatchOptions, StringArray, StringBuilder, StructBuilder,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::DataType;
use onrecord_ledger::Committed;
use onrecord_proof::{Field, Group, GroupState, Map, Salts, Shape, Value};

use super::{commit_date, fits, known};
use crate::body;
use crate::error::Result;
use crate::schema::{COLUMNS, Source, list_item, map_entries, refs_fields, refs_item, table_schema};

/// The rows of `records`, which belong to the log `origin`; of the columns only those at `columns`.
pub(crate) fn write_rows(records: &[Committed], columns: &[usize], origin: &str) -> Result<RecordBatch> {
    let schema = Arc::new(table_schema().project(columns)?);
    let arrays = columns.iter().map(|at| array(COLUMNS[*at].source, records, origin)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
}

fn array(source: Source, rows: &[Committed], origin: &str) -> ArrayRef {
    match source {
        Source::LeafIndex => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.index as i64))),
        Source::Id => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.record.id.to_string()))),
        Source::Kind => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.record.kind.name()))),
        Source::CapturedAt => times(rows.iter().map(|row| row.record.captured_at)),
        Source::CommittedAt => times(rows.iter().map(|row| row.committed_at)),
        Source::Refs => refs(rows),
        Source::Field(field) => field_array(field, rows),
        Source::Secret => binary(rows.iter().map(|row| match row.record.salts() {
            Salts::Secret(secret) => Some(secret),
            Salts::Each(_) => None,
        })),
        Source::Salts => binary(rows.iter().map(salts)),
        Source::Erased => binary(rows.iter().map(erased)),
        Source::Extra(group) => binary(rows.iter().map(|row| extra(row, group))),
        Source::Origin => Arc::new(StringArray::from_iter_values(rows.iter().map(|_| origin))),
        Source::CommitDate => {
            Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| commit_date(row.committed_at))))
        }
    }
}

fn times(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn binary<T: AsRef<[u8]>>(values: impl Iterator<Item = Option<T>>) -> ArrayRef {
    Arc::new(values.collect::<BinaryArray>())
}

fn refs(rows: &[Committed]) -> ArrayRef {
    let mut list = ListBuilder::new(StructBuilder::from_fields(refs_fields(), rows.len())).with_field(refs_item());
    for row in rows {
        for reference in &row.record.refs {
            let parts = list.values();
            for (at, text) in [reference.rel.name().to_owned(), reference.id.to_string()].into_iter().enumerate() {
                if let Some(builder) = parts.field_builder::<StringBuilder>(at) {
                    builder.append_value(text);
                }
            }
            parts.append(true);
        }
        list.append(true);
    }
    Arc::new(list.finish())
}

/// The values of a field, null where it is missing or has another shape.
fn field_array(field: &'static Field, rows: &[Committed]) -> ArrayRef {
    let values = rows.iter().map(|row| row.record.get(field));
    match field.shape {
        Shape::Text => Arc::new(values.map(|v| v?.as_text()).collect::<StringArray>()),
        Shape::Int => Arc::new(values.map(|v| v?.as_int()).collect::<Int64Array>()),
        Shape::Float => Arc::new(values.map(|v| v?.as_float()).collect::<Float64Array>()),
        Shape::Bool => Arc::new(values.map(|v| v?.as_bool()).collect::<BooleanArray>()),
        Shape::Bytes => binary(values.map(|v| v?.as_bytes())),
        Shape::Body => bodies(values),
        Shape::TextList => text_lists(values),
        Shape::TextMap => text_maps(values),
    }
}

fn bodies<'a>(values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    let mut list = ListBuilder::new(BinaryBuilder::new()).with_field(list_item(DataType::Binary));
    for value in values {
        let body = value.and_then(Value::as_bytes);
        body.into_iter().flat_map(body::cut).for_each(|piece| list.values().append_value(piece));
        list.append(body.is_some());
    }
    Arc::new(list.finish())
}

fn text_lists<'a>(values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new()).with_field(list_item(DataType::Utf8));
    for value in values {
        let items = value.filter(|value| fits(Shape::TextList, value)).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_text).for_each(|text| list.values().append_value(text));
        list.append(items.is_some());
    }
    Arc::new(list.finish())
}

fn text_maps<'a>(values: impl Iterator<Item = Option<&'a Value>>) -> ArrayRef {
    let entries = map_entries();
    let names = MapFieldNames { entry: entries.name().clone(), key: "key".into(), value: "value".into() };
    let text = |name: &str| Arc::new(datafusion::arrow::datatypes::Field::new(name, DataType::Utf8, false));
    let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_keys_field(text("key"))
        .with_values_field(text("value"));
    for value in values {
        let map = value.filter(|value| fits(Shape::TextMap, value)).and_then(Value::as_map);
        for (name, value) in map.into_iter().flat_map(Map::iter) {
            maps.keys().append_value(name);
            maps.values().append_value(value.as_text().unwrap_or_default());
        }
        // Keys and values were appended together.
        maps.append(map.is_some()).unwrap_or_default();
    }
    Arc::new(maps.finish())
}

/// Null unless an erasure took the secret away.
fn salts(row: &Committed) -> Option<Vec<u8>> {
    let Salts::Each(salts) = row.record.salts() else { return None };
    Some(salts.iter().map(|(group, salt)| (group.name(), *salt)).collect::<Map>().to_bytes())
}

/// Null if nothing was erased.
fn erased(row: &Committed) -> Option<Vec<u8>> {
    let groups = row.record.groups().filter_map(|(group, state)| match state {
        GroupState::Open(_) => None,
        GroupState::Erased { commitment, disposal } => {
            Some((group.name(), vec![Value::from(*commitment), Value::from(&disposal.as_bytes()[..])]))
        }
    });
    let groups: Map = groups.collect();
    (!groups.is_empty()).then(|| groups.to_bytes())
}

/// What a group has besides its columns: null if the record does not have the group, or it was erased.
fn extra(row: &Committed, group: Group) -> Option<Vec<u8>> {
    let fields = row.record.group(group)?;
    let has_column = |name: &str, value| known(group, name).is_some_and(|field| fits(field.shape, value));
    let extras = fields.iter().filter(|(name, value)| !has_column(name, value));
    Some(extras.map(|(name, value)| (name.to_owned(), value.clone())).collect::<Map>().to_bytes())
}
