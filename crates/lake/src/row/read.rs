//! From rows to records.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use onrecord_ledger::Committed;
use onrecord_proof::{Group, GroupState, Kind, Map, Record, Ref, Rel, Salts, Shape, Value};
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

/// The columns of some rows, in the order of [`COLUMNS`].
struct Columns<'a>(Vec<(Source, &'a ArrayRef)>);

impl<'a> Columns<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self> {
        let is_there = |column: &&Column| match column.source {
            Source::Origin | Source::CommitDate => false,
            Source::Field(_) => rows.column_by_name(column.field.name()).is_some(),
            _ => true,
        };
        let stored = COLUMNS.iter().filter(is_there);
        let find = |column: &Column| {
            let name = column.field.name();
            let array = rows.column_by_name(name).ok_or_else(|| Error::corrupt("rows", format!("no column {name}")))?;
            if array.data_type() != column.field.data_type() {
                return Err(Error::corrupt("rows", format!("column {name} is of type {}", array.data_type())));
            }
            Ok((column.source, array))
        };
        stored.map(find).collect::<Result<_>>().map(Self)
    }

    fn committed(&self, row: usize) -> Result<Committed> {
        let index = self.get(Source::LeafIndex).as_primitive::<Int64Type>().value(row) as u64;
        let record = self.record(row).map_err(|problem| Error::corrupt(format!("row of leaf {index}"), problem))?;
        Ok(Committed { index, committed_at: self.time(Source::CommittedAt, row), record })
    }

    fn record(&self, row: usize) -> Result<Record, Problem> {
        let kind = self.text(Source::Kind, row);
        Ok(Record::from_parts(
            parse_id(self.text(Source::Id, row))?,
            Kind::from_name(kind).ok_or_else(|| format!("there is no kind {kind:?}"))?,
            self.time(Source::CapturedAt, row),
            self.refs(row)?,
            self.salts(row)?,
            self.groups(row)?,
        ))
    }

    fn refs(&self, row: usize) -> Result<Vec<Ref>, Problem> {
        let items = self.get(Source::Refs).as_list::<i32>().value(row);
        let (rels, ids): (&StringArray, &StringArray) =
            (items.as_struct().column(0).as_string(), items.as_struct().column(1).as_string());
        let read = |at| {
            let rel = Rel::from_name(rels.value(at)).ok_or_else(|| format!("no relation {:?}", rels.value(at)))?;
            Ok(Ref { rel, id: parse_id(ids.value(at))? })
        };
        (0..items.len()).map(read).collect()
    }

    fn salts(&self, row: usize) -> Result<Salts, Problem> {
        if let Some(secret) = self.bytes(Source::Secret, row) {
            return Ok(Salts::Secret(array_of(secret)?));
        }
        let salts = read_map(self.bytes(Source::Salts, row).ok_or("neither a secret nor salts")?)?;
        let read = |(name, value): (&str, &Value)| {
            Ok((group_of(name)?, array_of(value.as_bytes().ok_or("a salt is not bytes")?)?))
        };
        salts.iter().map(read).collect::<Result<_, Problem>>().map(Salts::Each)
    }

    fn groups(&self, row: usize) -> Result<BTreeMap<Group, GroupState>, Problem> {
        let mut groups = self.bytes(Source::Erased, row).map_or_else(|| Ok(BTreeMap::new()), read_erased)?;
        for (source, array) in &self.0 {
            if let Source::Extra(group) = source
                && array.is_valid(row)
            {
                let map = read_map(array.as_binary::<i32>().value(row))?;
                groups.insert(*group, GroupState::Open(map));
            }
        }
        for (source, array) in &self.0 {
            if let Source::Field(field) = source
                && array.is_valid(row)
            {
                let Some(GroupState::Open(map)) = groups.get_mut(&field.group) else {
                    return Err(format!("{} is set, but the record has no group {}", field.name, field.group));
                };
                map.set(field.name, value(field.shape, array, row));
            }
        }
        Ok(groups)
    }

    fn get(&self, wanted: Source) -> &'a ArrayRef {
        // Every source is there once `of` has succeeded.
        self.0.iter().find(|(source, _)| *source == wanted).map_or(self.0[0].1, |(_, array)| array)
    }

    fn text(&self, source: Source, row: usize) -> &'a str {
        self.get(source).as_string::<i32>().value(row)
    }

    fn time(&self, source: Source, row: usize) -> i64 {
        self.get(source).as_primitive::<TimestampMicrosecondType>().value(row)
    }

    fn bytes(&self, source: Source, row: usize) -> Option<&'a [u8]> {
        let array = self.get(source).as_binary::<i32>();
        array.is_valid(row).then(|| array.value(row))
    }
}

/// The value of a field whose column is not null.
fn value(shape: Shape, array: &ArrayRef, row: usize) -> Value {
    match shape {
        Shape::Text => Value::Text(array.as_string::<i32>().value(row).to_owned()),
        Shape::Int => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        Shape::Float => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        Shape::Bool => Value::Bool(array.as_boolean().value(row)),
        Shape::Bytes => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        Shape::Body => Value::Bytes(body(&array.as_list::<i32>().value(row))),
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
pub(crate) fn body(pieces: &ArrayRef) -> Vec<u8> {
    let pieces = pieces.as_binary::<i32>();
    let mut body = Vec::with_capacity(pieces.offsets().last().map_or(0, |end| (*end - pieces.offsets()[0]) as usize));
    pieces.iter().flatten().for_each(|piece| body.extend_from_slice(piece));
    body
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
