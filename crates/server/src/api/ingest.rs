//! Records and feedback that come in, and traces that go out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Api, ApiError, Reader};
use crate::auth::Identity;
use crate::engine::{Access, Trace};
use crate::ingest::{Feedback, NotTaken, items};

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

/// Takes a JSON array of records, or one a line. All are durable when it answers 201.
pub(super) async fn records(
    State(api): State<Api>,
    Extension(identity): Extension<Identity>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let items = items(&body).map_err(ApiError::bad_request)?;
    let taken = api.engine.take_items(items, &identity.name).await?;
    Ok((StatusCode::CREATED, Json(json!({ "records": taken }))))
}

/// Takes one judgement of an answer or a session.
pub(super) async fn feedback(
    State(api): State<Api>,
    Extension(identity): Extension<Identity>,
    Json(feedback): Json<Feedback>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (id, receipt) = api.engine.take_feedback(&feedback, &identity.name).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id, "leaf_index": receipt.index }))))
}

/// Everything of one trace: of a trace id, or of a record in it.
pub(super) async fn trace(
    State(api): State<Api>,
    Reader(reading): Reader,
    Path(wanted): Path<String>,
) -> Result<Json<Trace>, ApiError> {
    let trace = api.engine.trace(&wanted).await.map_err(ApiError::internal)?;
    let trace = trace.ok_or_else(|| ApiError::not_found(format!("there is no trace {wanted}, nor such a record")))?;
    let (rows, statement) = (Some(trace.nodes.len() as i64), trace.trace_id.as_deref().unwrap_or(&wanted));
    api.engine.accessed(&reading, Access { event: "trace", statement }, rows).await?;
    Ok(Json(trace))
}
