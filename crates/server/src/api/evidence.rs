//! Evidence: of one record by its path, of several by a body.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::extract::{Json, Path, Query};
use super::{Api, ApiError, Reader};
use crate::engine::Prove;

/// Says of evidence which cosignatures its checkpoint lacks.
pub(crate) const UNWITNESSED: &str = "x-onrecord-unwitnessed";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reveal {
    /// Names of groups, separated by commas.
    #[serde(default)]
    reveal: String,
}

pub(super) async fn one(
    api: State<Api>,
    reader: Reader,
    Path(wanted): Path<String>,
    Query(Reveal { reveal }): Query<Reveal>,
) -> Result<Response, ApiError> {
    let reveal = reveal.split(',').map(str::to_owned).collect();
    several(api, reader, Json(Prove { records: vec![wanted], reveal, ..Prove::default() })).await
}

pub(super) async fn several(
    State(api): State<Api>,
    Reader(reading): Reader,
    Json(ask): Json<Prove>,
) -> Result<Response, ApiError> {
    let (evidence, unwitnessed) = api.engine.prove(&reading, &ask).await?;
    let mut response = Json(evidence).into_response();
    if let Some(short) = unwitnessed.and_then(|short| short.parse().ok()) {
        response.headers_mut().insert(UNWITNESSED, short);
    }
    Ok(response)
}
