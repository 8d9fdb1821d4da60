//! SQL over HTTP.

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use onrecord_lake::QueryResult;
use onrecord_lake::datafusion::arrow::array::RecordBatch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::encode::{Encoder, Format};
use super::{Api, ApiError, Reader};
use crate::engine::Access;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// The statement.
    sql: String,
    /// `json`, `jsonl`, `csv`, `parquet` or `arrow`; without it the `Accept` header decides.
    format: Option<Format>,
}

pub(super) async fn get(
    state: State<Api>,
    reader: Reader,
    headers: HeaderMap,
    Query(ask): Query<Ask>,
) -> Result<Response, ApiError> {
    run(state, reader, &headers, ask).await
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
    // First the access, then the rows: what cannot be put on record is not read.
    api.engine.accessed(&reading, Access { event: "query", statement: &ask.sql }, None).await?;
    let mut result = api.engine.lake.query(&ask.sql, api.engine.limits.clone()).await?;
    // Most that can go wrong goes wrong before the first row, and then has a status of its own.
    let first = result.try_next().await?;
    let encoder = Encoder::new(format, &result.schema()).map_err(ApiError::internal)?;
    let body = Body::from_stream(encoded(encoder, first, result));
    Ok(([(CONTENT_TYPE, format.content_type())], body).into_response())
}

enum Step {
    Batch(Option<RecordBatch>),
    Rest,
    Done,
}

/// The rows in their format. An error breaks the body off, so that nobody takes half a result for a whole one.
fn encoded(
    encoder: Encoder,
    first: Option<RecordBatch>,
    result: QueryResult,
) -> impl futures::Stream<Item = anyhow::Result<Bytes>> {
    let step = if first.is_some() { Step::Batch(first) } else { Step::Rest };
    stream::unfold((Some(encoder), result, step), |(mut encoder, mut result, step)| async move {
        let batch = match step {
            Step::Batch(first) => Ok(first),
            Step::Rest => result.try_next().await,
            Step::Done => return None,
        };
        let (bytes, next) = match (batch, encoder.as_mut()) {
            (Ok(Some(batch)), Some(writing)) => (writing.write(&batch), Step::Rest),
            (Ok(_), _) => (finish(encoder.take(), result.truncated()), Step::Done),
            (Err(error), _) => (Err(error.into()), Step::Done),
        };
        Some((bytes, (encoder, result, next)))
    })
    .boxed()
}

fn finish(encoder: Option<Encoder>, truncated: bool) -> anyhow::Result<Bytes> {
    if truncated {
        anyhow::bail!(
            "there are more rows than a query may give; add a LIMIT, or raise `query_rows` in the configuration"
        );
    }
    encoder.map_or_else(|| Ok(Bytes::new()), Encoder::finish)
}

/// The documentation of every table, view and column.
pub(super) async fn columns() -> Json<Vec<Value>> {
    let columns = onrecord_lake::columns().into_iter();
    Json(columns.map(|c| json!({ "table": c.table, "name": c.name, "type": c.definition, "meaning": c.doc })).collect())
}
