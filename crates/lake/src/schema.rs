//! The columns of the table `records`: what each holds, its type and its meaning, derived from the fields that the
//! record model knows.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use onrecord_proof::{Field, Group, Shape, field};

/// What a column holds of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    LeafIndex,
    Id,
    Kind,
    CapturedAt,
    CommittedAt,
    Refs,
    /// A field that is there and has the shape that it should.
    Field(&'static Field),
    Secret,
    /// The salts that an erasure has left.
    Salts,
    /// The groups that were erased.
    Erased,
    /// What a group has besides its columns.
    Extra(Group),
    Origin,
    CommitDate,
}

/// A column of the table `records`.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) source: Source,
    pub(crate) field: FieldRef,
    pub(crate) doc: String,
}

/// Every column, partition columns last.
pub(crate) static COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(|| {
    let mut columns: Vec<_> = HEAD.iter().map(|(source, doc)| Column::new(*source, *doc)).collect();
    columns.extend(field::ALL.iter().map(|field| Column::new(Source::Field(field), field.doc)));
    columns.extend(TAIL.iter().map(|(source, doc)| Column::new(*source, *doc)));
    columns.extend(Group::ALL.map(|group| {
        Column::new(Source::Extra(group), format!("CBOR map of what the group `{group}` has besides its columns."))
    }));
    columns.extend(PARTITION.iter().map(|(source, doc)| Column::new(*source, *doc)));
    columns
});

// First, since Delta keeps statistics of the first 32 columns.
const HEAD: &[(Source, &str)] = &[
    (Source::LeafIndex, "Position of the record in the log."),
    (Source::Id, "Id of the record, a UUIDv7."),
    (Source::Kind, "What the record is about: `interaction`, `step`, `config`, `access`, `system`, …"),
    (Source::CapturedAt, "When it began, by the recorder's clock."),
    (Source::CommittedAt, "When it was committed, by the recorder's clock."),
    (Source::Refs, "The records that this one refers to, and how."),
];

const TAIL: &[(Source, &str)] = &[
    (Source::Secret, "The 32 bytes that the salts of the record's commitments are derived from."),
    (Source::Salts, "CBOR map of the salts that are left, by group; of a record from which something was erased."),
    (Source::Erased, "CBOR map of the erased groups: commitment, and id of the disposal record."),
];

const PARTITION: &[(Source, &str)] =
    &[(Source::Origin, "Name of the log."), (Source::CommitDate, "Day of `committed_at`, in UTC.")];

/// The columns that are in the data files.
static FILE_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&COLUMNS[..COLUMNS.len() - PARTITION.len()]));
static TABLE_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema_of(&COLUMNS));

/// The schema of a data file.
pub(crate) fn file_schema() -> SchemaRef {
    Arc::clone(&FILE_SCHEMA)
}

/// The schema of the table: that of a file, then the partition columns.
pub(crate) fn table_schema() -> SchemaRef {
    Arc::clone(&TABLE_SCHEMA)
}

/// The partition columns.
pub(crate) fn partition_columns() -> Vec<FieldRef> {
    COLUMNS[COLUMNS.len() - PARTITION.len()..].iter().map(|column| Arc::clone(&column.field)).collect()
}

fn schema_of(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| Arc::clone(&column.field)).collect::<Fields>()))
}

impl Column {
    fn new(source: Source, doc: impl Into<String>) -> Self {
        let field = ArrowField::new(source.name(), source.data_type(), source.is_nullable());
        Self { source, field: Arc::new(field), doc: doc.into() }
    }
}

impl Source {
    /// The name of the column.
    pub(crate) fn name(self) -> String {
        match self {
            Self::LeafIndex => "leaf_index".into(),
            Self::Id => "id".into(),
            Self::Kind => "kind".into(),
            Self::CapturedAt => "captured_at".into(),
            Self::CommittedAt => "committed_at".into(),
            Self::Refs => "refs".into(),
            Self::Field(field) => field.column(),
            Self::Secret => "secret".into(),
            Self::Salts => "salts".into(),
            Self::Erased => "erased".into(),
            Self::Extra(group) => format!("{group}_extra"),
            Self::Origin => "origin".into(),
            Self::CommitDate => "commit_date".into(),
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::LeafIndex => DataType::Int64,
            Self::Id | Self::Kind | Self::Origin => DataType::Utf8,
            Self::CapturedAt | Self::CommittedAt => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Refs => DataType::List(refs_item()),
            Self::Field(field) => type_of_shape(field.shape),
            Self::Secret | Self::Salts | Self::Erased | Self::Extra(_) => DataType::Binary,
            Self::CommitDate => DataType::Date32,
        }
    }

    fn is_nullable(self) -> bool {
        matches!(self, Self::Field(_) | Self::Secret | Self::Salts | Self::Erased | Self::Extra(_))
    }
}

fn type_of_shape(shape: Shape) -> DataType {
    match shape {
        Shape::Text => DataType::Utf8,
        Shape::Int => DataType::Int64,
        Shape::Float => DataType::Float64,
        Shape::Bool => DataType::Boolean,
        Shape::Bytes => DataType::Binary,
        Shape::Body => body_type(),
        Shape::TextList => DataType::List(list_item(DataType::Utf8)),
        Shape::TextMap => DataType::Map(map_entries(), false),
    }
}

/// The type of a body: its pieces in order.
pub(crate) fn body_type() -> DataType {
    DataType::List(list_item(DataType::Binary))
}

/// The element of a list, under the name that Parquet and Delta give it.
pub(crate) fn list_item(data_type: DataType) -> FieldRef {
    Arc::new(ArrowField::new("element", data_type, false))
}

/// One reference.
pub(crate) fn refs_item() -> FieldRef {
    list_item(DataType::Struct(refs_fields()))
}

/// The parts of a reference.
pub(crate) fn refs_fields() -> Fields {
    ["rel", "id"].map(|name| ArrowField::new(name, DataType::Utf8, false)).to_vec().into()
}

/// The entries of a map of texts, under the names that Parquet and Delta give them.
pub(crate) fn map_entries() -> FieldRef {
    let entry = ["key", "value"].map(|name| ArrowField::new(name, DataType::Utf8, false)).to_vec();
    Arc::new(ArrowField::new("key_value", DataType::Struct(entry.into()), false))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own_and_a_meaning() {
        let names: BTreeSet<_> = COLUMNS.iter().map(|column| column.field.name()).collect();
        assert_eq!(names.len(), COLUMNS.len());
        assert!(COLUMNS.iter().all(|column| column.doc.ends_with(['.', '…', '`'])), "{:?}", *COLUMNS);
    }
}
