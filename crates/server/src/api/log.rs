//! The log as C2SP tlog-tiles has it: `/log/checkpoint`, `/log/tile/<level>/<n>`, `/log/tile/entries/<n>`.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use onrecord_proof::tile::{EntryBundle, Tile};

use super::extract::Path;
use super::{Api, ApiError};

/// What a path names never changes.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The last checkpoint that was signed; if there are witnesses, the last one that enough of them have cosigned.
pub(super) async fn checkpoint(State(api): State<Api>) -> Result<Response, ApiError> {
    let published = api.engine.shown_checkpoint().ok_or_else(|| ApiError::not_found("there is no checkpoint yet"))?;
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    Ok((headers, published.note.to_string()).into_response())
}

/// The keys that the log has had, and what makes each follow the one before.
pub(super) async fn keys(State(api): State<Api>) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, api.engine.reader().keys().to_string()).into_response()
}

/// A tile or an entry bundle, whole or partial.
pub(super) async fn tile(State(api): State<Api>, Path(path): Path<String>) -> Result<Response, ApiError> {
    let path = format!("tile/{path}");
    let bytes = if let Ok(bundle) = EntryBundle::from_path(&path) {
        api.engine.entries(bundle).await.map_err(ApiError::internal)?
    } else {
        let tile = Tile::from_path(&path).map_err(|problem| ApiError::not_found(problem.to_string()))?;
        let engine = api.engine.clone();
        let read = tokio::task::spawn_blocking(move || engine.tile(tile)).await;
        read.map_err(ApiError::internal)?.map_err(ApiError::internal)?
    };
    let bytes = bytes.ok_or_else(|| ApiError::not_found(format!("the last checkpoint does not cover {path}")))?;
    Ok(([(CONTENT_TYPE, "application/octet-stream"), (CACHE_CONTROL, FOREVER)], bytes).into_response())
}
