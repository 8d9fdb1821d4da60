//! Columns as the protocol has them. It has lists of plain values; maps, structures and lists of them go as JSON.

use std::sync::Arc;

use datafusion_postgres::arrow_pg::datatypes::field_into_pg_type;
use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::FieldInfo;
use datafusion_postgres::pgwire::error::PgWireResult;
use onrecord_lake::datafusion::arrow::array::{Array as _, ArrayRef, RecordBatch, StringArray};
use onrecord_lake::datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use onrecord_lake::datafusion::arrow::error::ArrowError;
use onrecord_lake::datafusion::arrow::json::writer::{EncoderOptions, make_encoder};

/// What the client is told of the columns.
pub(super) fn describe(schema: &Schema, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
    let column = |(number, field): (usize, &FieldRef)| {
        let wire = if is_json(field.data_type()) { Type::JSON } else { field_into_pg_type(field)? };
        Ok(FieldInfo::new(field.name().clone(), None, None, wire, format.format_for(number)))
    };
    schema.fields().iter().enumerate().map(column).collect()
}

fn is_json(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            item.data_type().is_nested()
        }
        other => other.is_nested(),
    }
}

/// The rows with those columns as JSON.
pub(super) fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let json = is_json(field.data_type());
        fields.push(if json { Arc::new(Field::new(field.name(), DataType::Utf8, true)) } else { Arc::clone(field) });
        columns.push(if json { texts(field, column)? } else { Arc::clone(column) });
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn texts(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(field, column, &options)?;
    let texts = (0..column.len()).map(|row| {
        if encoder.is_null(row) {
            return Ok(None);
        }
        let mut text = Vec::new();
        encoder.encode(row, &mut text);
        String::from_utf8(text).map(Some).map_err(|wrong| ArrowError::JsonError(wrong.to_string()))
    });
    Ok(Arc::new(texts.collect::<Result<StringArray, _>>()?))
}

#[cfg(test)]
mod tests {
    use onrecord_lake::datafusion::arrow::array::{Int64Array, ListArray, MapBuilder, StringBuilder};
    use onrecord_lake::datafusion::arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn maps_are_json_and_lists_of_numbers_are_not() {
        let mut tags = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        tags.keys().append_value("team");
        tags.values().append_value("a \"quoted\" one");
        tags.append(true).unwrap();
        tags.append(false).unwrap();
        let tags: ArrayRef = Arc::new(tags.finish());
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None]), None]);
        let list: ArrayRef = Arc::new(list);
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("tags", tags, true),
            ("list", list, true),
            ("n", numbers, true),
        ]);
        let batch = batch.unwrap();
        let described = describe(&batch.schema(), &Format::UnifiedText).unwrap();
        let types: Vec<_> = described.iter().map(|column| column.datatype().clone()).collect();
        assert_eq!(types, [Type::JSON, Type::INT8_ARRAY, Type::INT8]);
        let flat = flat(&batch).unwrap();
        let texts = flat.column(0).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(texts.value(0), r#"{"team":"a \"quoted\" one"}"#);
        assert!(texts.is_null(1));
        assert_eq!(flat.columns()[1..], batch.columns()[1..]);
    }
}
