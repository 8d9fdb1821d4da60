//! What a failed query says: a text for the statement's author, without the internals of the engine.

use std::time::Duration;

use datafusion::common::{Column, SchemaError};
use datafusion::error::DataFusionError;

use super::QueryLimits;
use crate::error::Error;

/// So many names are listed at most.
const NAMES_MAX: usize = 200;

/// The error of a query that was planned or run with `limits`.
pub(super) fn explain(error: DataFusionError, limits: &QueryLimits) -> Error {
    // Wherever it is met, in a filter within a file too. The engine names the value, which is somebody's.
    if error.to_string().contains("Cannot cast string '") {
        return Error::Query(
            "a text is read as a value of another type, and not every one of these texts is one: compare texts with a text, in quotes (as a value of a parameter too), or use try_cast"
                .to_owned(),
        );
    }
    match error.find_root() {
        DataFusionError::External(ours) if matches!(ours.downcast_ref(), Some(Error::Query(_))) => {
            Error::Query(ours.to_string())
        }
        DataFusionError::SchemaError(error, _) => Error::Query(schema(error)),
        DataFusionError::SQL(error, _) => {
            Error::Query(format!("the statement is not valid SQL: {}", plain(&error.to_string())))
        }
        DataFusionError::Plan(text) => Error::Query(plan(text)),
        DataFusionError::NotImplemented(text) => Error::Query(format!("not supported: {}", plain(text))),
        DataFusionError::Execution(text) | DataFusionError::Configuration(text) => Error::Query(plain(text)),
        DataFusionError::ArrowError(error, _) => Error::Query(plain(&error.to_string())),
        DataFusionError::ResourcesExhausted(_) => Error::QueryMemory {
            limit: limits.memory_bytes,
            advice: "narrow it down by time, select fewer columns, or raise the limit",
        },
        _ => error.into(),
    }
}

/// The query took longer than it may.
pub(super) fn too_long(limit: Duration) -> Error {
    Error::QueryTime { limit }
}

fn schema(error: &SchemaError) -> String {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } if valid_fields.is_empty() => {
            format!("no column named \"{}\"", field.name())
        }
        SchemaError::FieldNotFound { field, valid_fields } => {
            let names: Vec<_> =
                valid_fields.iter().map(Column::name).filter(|name| !name.starts_with('_')).take(NAMES_MAX).collect();
            format!("no column named \"{}\"; there are {}", field.name(), names.join(", "))
        }
        SchemaError::AmbiguousReference { field } => {
            format!("column \"{}\" could be of several tables; put the table's name in front", field.name())
        }
        other => plain(&other.to_string()),
    }
}

fn plan(text: &str) -> String {
    let text = plain(text);
    if let Some(name) = text.strip_prefix("table '").and_then(|rest| rest.strip_suffix("' not found")) {
        let name = name.rsplit('.').next().unwrap_or(name);
        let views: Vec<_> = super::views::VIEWS.iter().map(|view| view.name).collect();
        return format!("no table named \"{name}\"; there are records, {}", views.join(", "));
    }
    for (prefix, kind) in [("DDL not supported", "DDL"), ("DML not supported", "DML"), ("Statement not supported", "")]
    {
        if text.starts_with(prefix) {
            let kind = if kind.is_empty() { String::new() } else { format!(" ({kind})") };
            return format!("a query only reads: statements that change something{kind} are not allowed");
        }
    }
    text
}

/// Without a backtrace, and without the names of the engine's error types.
fn plain(text: &str) -> String {
    let text = text.split("\n\nbacktrace:").next().unwrap_or(text);
    ["sql parser error: ", "ParserError(\"", "Error during planning: ", "Arrow error: "]
        .iter()
        .fold(text, |text, prefix| text.strip_prefix(prefix).unwrap_or(text))
        .trim_end_matches("\")")
        .to_owned()
}
