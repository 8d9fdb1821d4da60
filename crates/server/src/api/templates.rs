//! The registry of prompt templates.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, Reader};
use crate::engine::Template;
use crate::render;

/// Bytes of a template's text.
const TEXT_MAX: usize = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// `name` or `name@version`.
    name: String,
    text: String,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Vec<Template>>, ApiError> {
    Ok(Json(api.engine.templates().await?))
}

pub(super) async fn add(
    State(api): State<Api>,
    Reader(reading): Reader,
    Json(New { name, text }): Json<New>,
) -> Result<Json<Value>, ApiError> {
    if name.trim().is_empty() || text.is_empty() || text.len() > TEXT_MAX {
        return Err(ApiError::bad_request(format!("a template has a `name` and a `text` of 1 to {TEXT_MAX} bytes")));
    }
    let (id, digest) = api.engine.register_template(&reading, &name, &text).await?;
    Ok(Json(json!({ "id": id, "sha256": render::hex(&digest) })))
}
