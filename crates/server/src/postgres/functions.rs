//! Functions of PostgreSQL that drivers and dashboards call when they connect, and that the catalogue does not have.

use std::sync::Arc;

use datafusion_postgres::pgwire::api::Type;
use onrecord_lake::datafusion::arrow::array::{Array as _, ArrayRef, AsArray, StringArray};
use onrecord_lake::datafusion::arrow::compute::cast;
use onrecord_lake::datafusion::arrow::datatypes::DataType;
use onrecord_lake::datafusion::common::ScalarValue;
use onrecord_lake::datafusion::error::{DataFusionError, Result};
use onrecord_lake::datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, create_udf,
};
use onrecord_lake::datafusion::prelude::SessionContext;

use super::login::SERVER_VERSION;
use super::session;

/// Built-in types have smaller numbers than what is created; `Type` knows those up to here.
const OIDS: std::ops::Range<u32> = 16..6_000;

pub(super) fn register(context: &SessionContext) {
    let version = format!("PostgreSQL {SERVER_VERSION} (onrecord {})", env!("CARGO_PKG_VERSION"));
    context.register_udf(constant("version", version.into()));
    context.register_udf(ScalarUDF::from(Format { signature: Signature::variadic_any(Volatility::Immutable) }));
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

/// `format(…)` with `%s`, `%I`, `%L` and `%%`, one value after the other.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Format {
    signature: Signature,
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = ColumnarValue::values_to_arrays(&args.args)?;
        let texts = texts.iter().map(|values| Ok(cast(values, &DataType::Utf8)?)).collect::<Result<Vec<ArrayRef>>>()?;
        let Some((forms, values)) = texts.split_first() else {
            return Err(DataFusionError::Plan("format() has no format".into()));
        };
        let rows = forms.as_string::<i32>().iter().enumerate().map(|(row, form)| {
            let values = values.iter().map(AsArray::as_string::<i32>);
            let mut values = values.map(|values| values.is_valid(row).then(|| values.value(row)));
            form.map(|form| formatted(form, &mut values)).transpose()
        });
        Ok(ColumnarValue::Array(Arc::new(rows.collect::<Result<StringArray>>()?)))
    }
}

fn formatted<'v>(form: &str, values: &mut impl Iterator<Item = Option<&'v str>>) -> Result<String> {
    let wrong = |problem: &str| DataFusionError::Execution(format!("format({form:?}): {problem}"));
    let (mut out, mut rest) = (String::new(), form);
    while let Some((before, after)) = rest.split_once('%') {
        out += before;
        let kind = after.chars().next().ok_or_else(|| wrong("it ends in the middle"))?;
        rest = &after[kind.len_utf8()..];
        let mut next = || values.next().ok_or_else(|| wrong("there are too few values"));
        match kind {
            '%' => out.push('%'),
            's' => out += next()?.unwrap_or_default(),
            'I' => out += &identifier(next()?.ok_or_else(|| wrong("a name is NULL"))?),
            'L' => out += &next()?.map_or("NULL".to_owned(), |text| format!("'{}'", text.replace('\'', "''"))),
            other => return Err(wrong(&format!("%{other} is not known here; %s, %I, %L and %% are"))),
        }
    }
    Ok(out + rest)
}

/// A name as it stands in a statement.
fn identifier(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let plain = name.chars().all(is_plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// The number of a built-in type; extensions have none here.
fn oid(name: &str) -> Option<i32> {
    let known = OIDS.filter_map(Type::from_oid).find(|known| known.name() == name)?;
    i32::try_from(known.oid()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_put_together_as_postgresql_does() {
        let format = |form: &str, values: &[Option<&str>]| {
            formatted(form, &mut values.iter().copied()).map_err(|error| error.to_string())
        };
        let of = |form, values: &[Option<&str>]| format(form, values).unwrap();
        assert_eq!(of("%s.%s 100 %%", &[Some("a"), None]), "a. 100 %");
        assert_eq!(of("%I.%I", &[Some("public"), Some("My \"Table\"")]), "public.\"My \"\"Table\"\"\"");
        assert_eq!(of("%L %L", &[Some("it's"), None]), "'it''s' NULL");
        for form in ["%s %s", "%", "%d", "%I"] {
            let values: &[_] = if form == "%I" { &[None] } else { &[Some("a")] };
            assert!(format(form, values).unwrap_err().contains("format("), "{form}");
        }
    }
}
