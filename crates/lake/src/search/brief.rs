//! What of a record a list of hits shows: who and what it is, and the texts that it adds to its conversation. To read
//! these few columns takes far less than to read a body with all the history that it carries.

use std::sync::LazyLock;

use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::Int64Type;
use onrecord_ledger::Committed;
use onrecord_proof::{Field, Kind, Shape, field};
use uuid::Uuid;

use super::text::{JUDGEMENTS, NOT_SEARCHED, Place, SEARCHED};
use crate::error::{Error, Result};
use crate::schema::{COLUMNS, Source};

/// The searched fields that hold one text, with what each is of.
static TEXTS: LazyLock<Vec<(Place, &Field)>> = LazyLock::new(|| {
    let place = |field: &&'static Field| {
        let place = SEARCHED.iter().find(|(group, _)| *group == field.group).map(|(_, place)| *place)?;
        let is_text = field.shape == Shape::Text && NOT_SEARCHED.iter().all(|other| other.name != field.name);
        is_text.then_some((if JUDGEMENTS.contains(field) { Place::Judgement } else { place }, *field))
    };
    field::ALL.iter().filter_map(place).collect()
});

/// A record in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Brief {
    pub(super) leaf: u64,
    pub(super) id: Uuid,
    pub(super) kind: &'static str,
    pub(super) session: Option<String>,
    /// The model that answered, or else the one that was asked for.
    pub(super) model: Option<String>,
    /// Those that it has as fields of their own: the last message, the answer, errors, judgements.
    pub(super) texts: Vec<(Place, String)>,
}

impl Brief {
    pub(super) fn of(committed: &Committed) -> Self {
        let Committed { index, record, .. } = committed;
        Self::from(*index, record.id, record.kind.name(), |field| record.text(field).map(str::to_owned))
    }

    fn from(leaf: u64, id: Uuid, kind: &'static str, text: impl Fn(&'static Field) -> Option<String>) -> Self {
        let texts = TEXTS.iter().filter_map(|(place, field)| Some((*place, text(field)?)));
        Self {
            leaf,
            id,
            kind,
            session: text(&field::SESSION),
            model: text(&field::RESPONSE_MODEL).or_else(|| text(&field::REQUEST_MODEL)),
            texts: texts.filter(|(_, text)| !text.is_empty()).collect(),
        }
    }

    /// The columns that it is read from.
    pub(crate) fn columns() -> impl Iterator<Item = &'static str> {
        let wanted = |source| match source {
            Source::LeafIndex | Source::Id | Source::Kind => true,
            Source::Field(field) => {
                [&field::SESSION, &field::RESPONSE_MODEL, &field::REQUEST_MODEL].contains(&field)
                    || TEXTS.iter().any(|(_, text)| *text == field)
            }
            _ => false,
        };
        COLUMNS.iter().filter(move |column| wanted(column.source)).map(|column| column.field.name().as_str())
    }

    /// Those of some rows.
    pub(super) fn read(rows: &RecordBatch) -> Result<Vec<Self>> {
        let texts = |name: &str| rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let missing = || Error::corrupt("rows", "columns of a search are missing");
        let leaves = rows.column_by_name("leaf_index").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (leaves, ids, kinds) =
            leaves.zip(texts("id")).zip(texts("kind")).map(|((a, b), c)| (a, b, c)).ok_or_else(missing)?;
        let value = |column: Option<&StringArray>, row| {
            column.filter(|column| column.is_valid(row)).map(|column| column.value(row).to_owned())
        };
        let read = |row| {
            let id = Uuid::try_parse(ids.value(row)).map_err(|error| Error::corrupt("rows", error))?;
            let kind = Kind::from_name(kinds.value(row)).ok_or_else(missing)?;
            let text = |field: &'static Field| value(texts(&field.column()), row);
            Ok(Self::from(leaves.value(row) as u64, id, kind.name(), text))
        };
        (0..rows.num_rows()).map(read).collect()
    }
}
