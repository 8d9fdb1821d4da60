//! Functions of PostgreSQL that drivers and dashboards call when they connect, and that the catalogue does not have.

use std::sync::Arc;

use datafusion_postgres::pgwire::api::Type;
use onrecord_lake::datafusion::arrow::datatypes::DataType;
use onrecord_lake::datafusion::common::ScalarValue;
use onrecord_lake::datafusion::error::Result;
use onrecord_lake::datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use onrecord_lake::datafusion::prelude::SessionContext;

use super::login::SERVER_VERSION;
use super::session;

/// Built-in types have smaller numbers than what is created; `Type` knows those up to here.
const OIDS: std::ops::Range<u32> = 16..6_000;

pub(super) fn register(context: &SessionContext) {
    let version = format!("PostgreSQL {SERVER_VERSION} (onrecord {})", env!("CARGO_PKG_VERSION"));
    context.register_udf(constant("version", version.into()));
    context.register_udf(constant("pg_is_in_recovery", false.into()));
    context.register_udf(of_text("current_setting", DataType::Utf8, |name| session::default(name).into()));
    context.register_udf(of_text("to_regtype", DataType::Int32, |name| ScalarValue::Int32(oid(name))));
}

fn constant(name: &str, value: ScalarValue) -> ScalarUDF {
    let data_type = value.data_type();
    let give = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone()));
    create_udf(name, Vec::new(), data_type, Volatility::Immutable, Arc::new(give))
}

/// A function of one text that is the same for all rows, as all callers of these have it.
fn of_text(name: &str, gives: DataType, value: fn(&str) -> ScalarValue) -> ScalarUDF {
    let give = move |arguments: &[ColumnarValue]| -> Result<ColumnarValue> {
        let text = match &arguments[0] {
            ColumnarValue::Scalar(text) => text.clone(),
            ColumnarValue::Array(texts) => ScalarValue::try_from_array(texts, 0)?,
        };
        Ok(ColumnarValue::Scalar(value(text.try_as_str().flatten().unwrap_or_default())))
    };
    create_udf(name, vec![DataType::Utf8], gives, Volatility::Stable, Arc::new(give))
}

/// The number of a built-in type; extensions have none here.
fn oid(name: &str) -> Option<i32> {
    let known = OIDS.filter_map(Type::from_oid).find(|known| known.name() == name)?;
    i32::try_from(known.oid()).ok()
}
