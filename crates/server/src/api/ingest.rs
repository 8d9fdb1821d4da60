//! Records and feedback that come in, and traces that go out.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::extract::{Json, Path};
use super::{Api, ApiError, Reader};
use crate::auth::Identity;
use crate::engine::{Access, Trace};
use crate::ingest::{Feedback, NotTaken, Taken, items};

impl From<NotTaken> for ApiError {
    fn from(error: NotTaken) -> Self {
        let message = error.to_string();
        match error {
            NotTaken::Wrong(_) => Self::bad_request(message),
            NotTaken::NoRecord(_) => Self::not_found(message),
            NotTaken::Other(_) => Self::conflict(message),
            NotTaken::Lake(error) => error.into(),
            NotTaken::Log(_) => Self::unavailable(message),
        }
    }
}

/// What became of the records that were sent, in their order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Records {
    records: Vec<Taken>,
}

/// Takes a JSON array of records, or one a line. All are durable when it answers 201.
pub(super) async fn records(
    State(api): State<Api>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Records>), ApiError> {
    // A page of another origin can send a body without asking first, but none of these types.
    let content_type = headers.get(CONTENT_TYPE).and_then(|name| name.to_str().ok()).unwrap_or_default();
    let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !["application/json", "application/x-ndjson", "application/jsonl"].contains(&name.as_str()) {
        let problem = format!("the content type is {content_type:?}; send application/json or application/x-ndjson");
        return Err(ApiError::unsupported_media_type(problem));
    }
    let body = body?;
    // Some MiB take longer than other tasks should wait.
    let items = tokio::task::spawn_blocking(move || items(&body)).await.map_err(ApiError::internal)?;
    let items = items.map_err(ApiError::bad_request)?;
    let taken = api.engine.take_items(items, &identity.name).await?;
    Ok((StatusCode::CREATED, Json(Records { records: taken })))
}

/// The record of a judgement.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Judged {
    id: Uuid,
    leaf_index: u64,
}

/// Takes one judgement of an answer or a session.
pub(super) async fn feedback(
    State(api): State<Api>,
    Extension(identity): Extension<Identity>,
    Json(feedback): Json<Feedback>,
) -> Result<(StatusCode, Json<Judged>), ApiError> {
    let (id, receipt) = api.engine.take_feedback(&feedback, &identity.name).await?;
    Ok((StatusCode::CREATED, Json(Judged { id, leaf_index: receipt.index })))
}

/// Everything of one trace: of a trace id, or of a record in it.
pub(super) async fn trace(
    State(api): State<Api>,
    Reader(reading): Reader,
    Path(wanted): Path<String>,
) -> Result<Json<Trace>, ApiError> {
    let trace = api.engine.trace(&wanted).await?;
    let trace = trace.ok_or_else(|| ApiError::not_found(format!("there is no trace {wanted}, nor such a record")))?;
    let (rows, statement) = (Some(trace.nodes.len() as i64), trace.trace_id.as_deref().unwrap_or(&wanted));
    api.engine.accessed(&reading, Access { event: "trace", statement }, rows).await?;
    Ok(Json(trace))
}
