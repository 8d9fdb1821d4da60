//! The registry of prompt templates.

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::extract::Json;
use super::{Api, ApiError, Reader};
use crate::engine::Template;
use crate::render;

/// Bytes of a template's text.
const TEXT_MAX: usize = 1 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    /// `name` or `name@version`.
    name: String,
    text: String,
}

/// The record of the text.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Added {
    id: Uuid,
    /// Of the text, in hexadecimal digits.
    sha256: String,
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Vec<Template>>, ApiError> {
    Ok(Json(api.engine.templates().await?))
}

pub(super) async fn add(
    State(api): State<Api>,
    Reader(reading): Reader,
    Json(New { name, text }): Json<New>,
) -> Result<Json<Added>, ApiError> {
    if name.trim().is_empty() || text.is_empty() || text.len() > TEXT_MAX {
        return Err(ApiError::bad_request(format!("a template has a `name` and a `text` of 1 to {TEXT_MAX} bytes")));
    }
    let (id, digest) = api.engine.register_template(&reading, &name, &text).await?;
    Ok(Json(Added { id, sha256: render::hex(&digest) }))
}
