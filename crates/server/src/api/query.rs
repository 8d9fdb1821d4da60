//! SQL over HTTP.

use axum::extract::State;
use axum::http::header::{ACCEPT, HeaderMap};
use axum::response::Response;
use futures::TryStreamExt;
use onrecord_lake::QueryLimits;
use onrecord_lake::datafusion::common::ScalarValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::encode::{Encoder, Format};
use super::extract::{Json, Query};
use super::rows::{Rest, rows};
use super::{Api, ApiError, Reader};
use crate::engine::Access;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// The statement.
    sql: String,
    /// Values for its parameters `$1`, `$2`, …: texts, numbers, booleans and nulls.
    #[serde(default)]
    params: Vec<Value>,
    /// At most so many rows, and more are left out; without it an answer with more than `query_rows` breaks off.
    rows: Option<usize>,
    /// `json`, `jsonl`, `csv`, `parquet` or `arrow`; without it the `Accept` header decides.
    format: Option<Format>,
}

/// The same in a URL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskInUrl {
    /// The statement.
    sql: String,
    /// Values for its parameters `$1`, `$2`, …: the text of a JSON array of texts, numbers, booleans and nulls.
    params: Option<String>,
    /// At most so many rows, and more are left out; without it an answer with more than `query_rows` breaks off.
    rows: Option<usize>,
    /// `json`, `jsonl`, `csv`, `parquet` or `arrow`; without it the `Accept` header decides.
    format: Option<Format>,
}

impl TryFrom<AskInUrl> for Ask {
    type Error = ApiError;

    fn try_from(AskInUrl { sql, params, rows, format }: AskInUrl) -> Result<Self, ApiError> {
        let params = params.as_deref().map(serde_json::from_str).transpose();
        let wrong = |error| ApiError::bad_request(format!("`params` is no JSON array such as [200,\"tiny\"]: {error}"));
        Ok(Self { sql, params: params.map_err(wrong)?.unwrap_or_default(), rows, format })
    }
}

fn scalar(n: usize, value: &Value) -> Result<ScalarValue, ApiError> {
    Ok(match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, float) => float.into(),
        },
        Value::Array(_) | Value::Object(_) => {
            let problem = format!("the value for ${n} must be a text, a number, a boolean or null, not {value}");
            return Err(ApiError::bad_request(problem));
        }
    })
}

impl Ask {
    /// What goes on record: the statement with what was bound to it.
    fn statement(&self) -> String {
        let bound = self.params.iter().enumerate().map(|(n, value)| format!("\n-- ${} = {value}", n + 1));
        bound.fold(self.sql.clone(), |statement, value| statement + &value)
    }

    fn values(&self) -> Result<Vec<ScalarValue>, ApiError> {
        self.params.iter().enumerate().map(|(n, value)| scalar(n + 1, value)).collect()
    }

    fn limits(&self, usual: &QueryLimits) -> QueryLimits {
        QueryLimits { rows: self.rows.map_or(usual.rows, |rows| rows.min(usual.rows)), ..usual.clone() }
    }
}

pub(super) async fn get(
    state: State<Api>,
    reader: Reader,
    headers: HeaderMap,
    Query(ask): Query<AskInUrl>,
) -> Result<Response, ApiError> {
    run(state, reader, &headers, ask.try_into()?).await
}

pub(super) async fn post(
    state: State<Api>,
    reader: Reader,
    headers: HeaderMap,
    Json(ask): Json<Ask>,
) -> Result<Response, ApiError> {
    run(state, reader, &headers, ask).await
}

async fn run(
    State(api): State<Api>,
    Reader(reading): Reader,
    headers: &HeaderMap,
    ask: Ask,
) -> Result<Response, ApiError> {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = ask.format.or_else(|| accept.and_then(Format::of_accept)).unwrap_or(Format::Json);
    let values = ask.values()?;
    // First the access, then the rows: what cannot be put on record is not read.
    api.engine.accessed(&reading, Access { event: "query", statement: &ask.statement() }, None).await?;
    let mut result = api.engine.lake.query_with(&ask.sql, values, ask.limits(&api.engine.limits)).await?;
    // Most that can go wrong goes wrong before the first row, and then has a status of its own.
    let first = result.try_next().await?;
    let encoder = Encoder::new(format, &result.schema()).map_err(ApiError::internal)?;
    let rest = if ask.rows.is_some() { Rest::LeftOut } else { Rest::Error };
    Ok(rows(format, encoder, first, result, rest))
}

/// A column of a view.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Column {
    table: &'static str,
    name: String,
    /// Its type in SQL.
    r#type: String,
    meaning: String,
}

/// The documentation of every table, view and column.
pub(super) async fn columns() -> Json<Vec<Column>> {
    let columns = onrecord_lake::columns().into_iter();
    Json(columns.map(|c| Column { table: c.table, name: c.name, r#type: c.definition, meaning: c.doc }).collect())
}
