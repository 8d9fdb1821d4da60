//! The manifest of an export. Its rows are asked for by SQL.

use axum::extract::State;
use onrecord_proof::manifest::{Contents, Manifest};

use super::extract::Json;
use super::{Api, ApiError, Reader};

/// Puts an export on record and answers with its manifest.
pub(super) async fn record(
    State(api): State<Api>,
    Reader(reading): Reader,
    Json(contents): Json<Contents>,
) -> Result<Json<Manifest>, ApiError> {
    Ok(Json(api.engine.exported(&reading, contents).await?))
}
