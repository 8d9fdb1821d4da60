//! From rows to records.

use std::collections::BTreeMap;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{Float64Type, Int64Type};
use onrecord_ledger::Committed;
use onrecord_proof::{Field, Group, GroupState, Kind, Map, Record, Ref, Rel, Salts, Shape, Value};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::schema::{COLUMNS, Column, Source};

/// The records of the rows of a data file. A file of an older version has no columns for the fields that were not known
/// then; what it has of them is among the group's extras.
pub(crate) fn read_rows(rows: &RecordBatch) -> Result<Vec<Committed>> {
    let columns = Columns::of(rows)?;
    (0..rows.num_rows()).map(|row| columns.committed(row)).collect()
}

type Problem = String;

/// The columns of some rows.
struct Columns<'a> {
    leaf_index: &'a Int64Array,
    id: &'a StringArray,
    kind: &'a StringArray,
    captured_at: &'a TimestampMicrosecondArray,
    committed_at: &'a TimestampMicrosecondArray,
    refs: &'a ListArray,
    secret: &'a BinaryArray,
    salts: &'a BinaryArray,
    erased: &'a BinaryArray,
    extras: Vec<(Group, &'a BinaryArray)>,
    /// The fields that some of the rows have.
    fields: Vec<(&'static Field, &'a ArrayRef)>,
}

impl<'a> Columns<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self> {
        let find = |source| {
            let column = COLUMNS.iter().find(|column| column.source == source);
            let found = column.and_then(|column| Some((column, rows.column_by_name(column.field.name())?)));
            let (column, array) = found.ok_or_else(|| Error::corrupt("rows", format!("no column of {source:?}")))?;
            has_type(column, array)?;
            Ok::<_, Error>(array)
        };
        let mut fields = Vec::new();
        for column in COLUMNS.iter() {
            if let Source::Field(field) = column.source
                && let Some(array) = rows.column_by_name(column.field.name())
            {
                has_type(column, array)?;
                fields.push((field, array));
            }
        }
        fields.retain(|(_, array)| array.null_count() < array.len());
        let extra = |group| Ok((group, find(Source::Extra(group))?.as_binary()));
        Ok(Self {
            leaf_index: find(Source::LeafIndex)?.as_primitive(),
            id: find(Source::Id)?.as_string(),
            kind: find(Source::Kind)?.as_string(),
            captured_at: find(Source::CapturedAt)?.as_primitive(),
            committed_at: find(Source::CommittedAt)?.as_primitive(),
            refs: find(Source::Refs)?.as_list(),
            secret: find(Source::Secret)?.as_binary(),
            salts: find(Source::Salts)?.as_binary(),
            erased: find(Source::Erased)?.as_binary(),
            extras: Group::ALL.into_iter().map(extra).collect::<Result<_>>()?,
            fields,
        })
    }

    fn committed(&self, row: usize) -> Result<Committed> {
        let index = self.leaf_index.value(row) as u64;
        let record = self.record(row).map_err(|problem| Error::corrupt(format!("row of leaf {index}"), problem))?;
        Ok(Committed { index, committed_at: self.committed_at.value(row), record })
    }

    fn record(&self, row: usize) -> Result<Record, Problem> {
        let kind = self.kind.value(row);
        Ok(Record::from_parts(
            parse_id(self.id.value(row))?,
            Kind::from_name(kind).ok_or_else(|| format!("there is no kind {kind:?}"))?,
            self.captured_at.value(row),
            self.refs(row)?,
            self.salts(row)?,
            self.groups(row)?,
        ))
    }

    fn refs(&self, row: usize) -> Result<Vec<Ref>, Problem> {
        let items = self.refs.value(row);
        let (rels, ids): (&StringArray, &StringArray) =
            (items.as_struct().column(0).as_string(), items.as_struct().column(1).as_string());
        let read = |at| {
            let rel = Rel::from_name(rels.value(at)).ok_or_else(|| format!("no relation {:?}", rels.value(at)))?;
            Ok(Ref { rel, id: parse_id(ids.value(at))? })
        };
        (0..items.len()).map(read).collect()
    }

    fn salts(&self, row: usize) -> Result<Salts, Problem> {
        if let Some(secret) = bytes(self.secret, row) {
            return Ok(Salts::Secret(array_of(secret)?));
        }
        let salts = read_map(bytes(self.salts, row).ok_or("neither a secret nor salts")?)?;
        let read = |(name, value): (&str, &Value)| {
            Ok((group_of(name)?, array_of(value.as_bytes().ok_or("a salt is not bytes")?)?))
        };
        salts.iter().map(read).collect::<Result<_, Problem>>().map(Salts::Each)
    }

    fn groups(&self, row: usize) -> Result<BTreeMap<Group, GroupState>, Problem> {
        let mut groups = bytes(self.erased, row).map_or_else(|| Ok(BTreeMap::new()), read_erased)?;
        for (group, extras) in &self.extras {
            if let Some(extra) = bytes(extras, row) {
                groups.insert(*group, GroupState::Open(read_map(extra)?));
            }
        }
        for (field, array) in self.fields.iter().filter(|(_, array)| array.is_valid(row)) {
            let Some(GroupState::Open(map)) = groups.get_mut(&field.group) else {
                return Err(format!("{} is set, but the record has no group {}", field.name, field.group));
            };
            map.set(field.name, value(field.shape, array, row));
        }
        Ok(groups)
    }
}

fn has_type(column: &Column, array: &ArrayRef) -> Result<()> {
    let (name, found) = (column.field.name(), array.data_type());
    if found == column.field.data_type() {
        Ok(())
    } else {
        Err(Error::corrupt("rows", format!("column {name} is of type {found}")))
    }
}

fn bytes(array: &BinaryArray, row: usize) -> Option<&[u8]> {
    array.is_valid(row).then(|| array.value(row))
}

/// The value of a field whose column is not null.
fn value(shape: Shape, array: &ArrayRef, row: usize) -> Value {
    match shape {
        Shape::Text => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        Shape::Int => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        Shape::Float => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        Shape::Bool => Value::Bool(array.as_boolean().value(row)),
        Shape::Bytes => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        Shape::Body => Value::Bytes(body(array.as_list(), row)),
        Shape::TextList => {
            let items = array.as_list::<i32>().value(row);
            Value::Array(texts(&items).map(|text| Value::Text(text.to_owned())).collect())
        }
        Shape::TextMap => {
            let entries = array.as_map().value(row);
            let pairs = texts(entries.column(0)).map(str::to_owned).zip(texts(entries.column(1)));
            Value::Map(pairs.collect())
        }
    }
}

/// The exact body, from its pieces.
pub(crate) fn body(bodies: &ListArray, row: usize) -> Vec<u8> {
    let pieces = bodies.values().as_binary::<i32>();
    let ends = &bodies.value_offsets()[row..=row + 1];
    (ends[0]..ends[1]).map(|piece| pieces.value(piece as usize)).collect::<Vec<_>>().concat()
}

fn texts(array: &ArrayRef) -> impl Iterator<Item = &str> {
    array.as_string::<i32>().iter().map(Option::unwrap_or_default)
}

fn read_erased(bytes: &[u8]) -> Result<BTreeMap<Group, GroupState>, Problem> {
    let read = |(name, value): (&str, &Value)| {
        let parts: Vec<_> = value.as_array().into_iter().flatten().filter_map(Value::as_bytes).collect();
        let [commitment, disposal] = parts[..] else { return Err("an erased group has two parts".to_owned()) };
        let disposal = Uuid::from_slice(disposal).map_err(|e| e.to_string())?;
        Ok((group_of(name)?, GroupState::Erased { commitment: array_of(commitment)?, disposal }))
    };
    read_map(bytes)?.iter().map(read).collect()
}

fn read_map(bytes: &[u8]) -> Result<Map, Problem> {
    Map::from_bytes(bytes).map_err(|e| e.to_string())
}

fn group_of(name: &str) -> Result<Group, Problem> {
    Group::from_name(name).ok_or_else(|| format!("there is no group {name:?}"))
}

fn parse_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|e| format!("id {text:?}: {e}"))
}

fn array_of(bytes: &[u8]) -> Result<[u8; 32], Problem> {
    bytes.try_into().map_err(|_| "32 bytes belong here".to_owned())
}
