//! Rows of the table are records: one becomes the other and back without loss, so that a leaf hash can be recomputed
//! from the row alone.

mod read;
mod write;

use std::collections::HashMap;
use std::sync::LazyLock;

use datafusion::arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::scalar::ScalarValue;
use onrecord_proof::{Field, Group, Shape, Value, field};

pub(crate) use read::{body as join_body, read_rows};
pub(crate) use write::write_rows;

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// Days from 1970-01-01 to the first and the last day that can be written as a date with four digits of year.
const DATES: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

/// The partition that a record committed at `committed_at` (microseconds since 1970-01-01 UTC) belongs to: its day. A
/// clock that is thousands of years off gives the first or the last day there is.
pub(crate) fn commit_date(committed_at: i64) -> i32 {
    committed_at.div_euclid(DAY).clamp(*DATES.start(), *DATES.end()) as i32
}

/// The day of a date as a partition names it, `2025-11-23`, in days since 1970-01-01.
pub(crate) fn date_of_text(text: &str) -> Result<i32, DataFusionError> {
    let date = ScalarValue::from(text).cast_to(&DataType::Date32)?;
    match date {
        ScalarValue::Date32(Some(days)) => Ok(days),
        _ => Err(DataFusionError::Execution(format!("not a date: {text:?}"))),
    }
}

/// True if `value` can be kept in a column of that shape. If not it is kept among the group's extras.
fn fits(shape: Shape, value: &Value) -> bool {
    match (shape, value) {
        (Shape::Text, Value::Text(_))
        | (Shape::Int, Value::Int(_))
        | (Shape::Float, Value::Float(_))
        | (Shape::Bool, Value::Bool(_))
        | (Shape::Bytes | Shape::Body, Value::Bytes(_)) => true,
        (Shape::TextList, Value::Array(items)) => items.iter().all(|item| item.as_text().is_some()),
        (Shape::TextMap, Value::Map(map)) => map.iter().all(|(_, value)| value.as_text().is_some()),
        _ => false,
    }
}

/// The field of that name in that group, if it has a column. Asked for every field of every record that is sealed.
fn known(group: Group, name: &str) -> Option<&'static Field> {
    static FIELDS: LazyLock<HashMap<&str, &Field>> =
        LazyLock::new(|| field::ALL.iter().map(|field| (field.name, *field)).collect());
    FIELDS.get(name).copied().filter(|field| field.group == group)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::compute::concat_batches;
    use datafusion::arrow::ipc::{reader::StreamReader, writer::StreamWriter};
    use proptest::prelude::*;

    use super::*;
    use crate::schema::{COLUMNS, table_schema};
    use crate::tests::records::committed;

    fn all_columns() -> Vec<usize> {
        (0..COLUMNS.len()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn a_record_comes_back_from_its_row(records in proptest::collection::vec(committed(), 0..4)) {
            let batch = write_rows(&records, &all_columns(), "log.example/1").unwrap();
            let back = read_rows(&batch).unwrap();
            for (record, back) in records.iter().zip(&back) {
                prop_assert_eq!(record.leaf().hash(), back.leaf().hash());
                prop_assert_eq!(record.record.to_bytes(), back.record.to_bytes());
            }
            prop_assert_eq!(records, back);
        }

        #[test]
        fn a_projection_is_a_part_of_the_row(record in committed(), columns in proptest::sample::subsequence(all_columns(), 0..20)) {
            let whole = write_rows(std::slice::from_ref(&record), &all_columns(), "o").unwrap();
            let part = write_rows(&[record], &columns, "o").unwrap();
            prop_assert_eq!(whole.project(&columns).unwrap(), part);
        }
    }

    #[test]
    fn a_row_without_the_columns_of_a_newer_version_is_the_same_record() {
        let mut record = crate::tests::records::call(1);
        record.record.set_named(Group::Context, "app.release", 7_i64);
        let rows = write_rows(std::slice::from_ref(&record), &all_columns(), "o").unwrap();
        let is_new =
            |source| matches!(source, crate::schema::Source::Field(field) if record.record.get(field).is_none());
        let older: Vec<_> = all_columns().into_iter().filter(|at| !is_new(COLUMNS[*at].source)).collect();
        assert!(older.len() < COLUMNS.len());
        assert_eq!(read_rows(&rows.project(&older).unwrap()).unwrap(), [record]);
    }

    #[test]
    fn the_batch_has_the_schema_of_the_table() {
        let batch = write_rows(&[], &all_columns(), "o").unwrap();
        assert_eq!(batch.schema(), table_schema());
        let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        stream.write(&batch).unwrap();
        let bytes = stream.into_inner().unwrap();
        let back: Vec<_> = StreamReader::try_new(&*bytes, None).unwrap().map(Result::unwrap).collect();
        assert_eq!(concat_batches(&batch.schema(), &back).unwrap(), batch);
    }

    #[test]
    fn days_begin_at_midnight_on_both_sides_of_1970() {
        for (at, day) in [(0, 0), (DAY - 1, 0), (DAY, 1), (-1, -1), (i64::MIN, -719_528), (i64::MAX, 2_932_896)] {
            assert_eq!(commit_date(at), day, "{at}");
        }
    }
}
