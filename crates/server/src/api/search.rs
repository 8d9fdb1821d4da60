//! Full-text search over HTTP.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};

use super::{Api, ApiError, Reader};
use crate::engine::{Access, Search, SearchAnswer};

pub(super) async fn search(
    State(api): State<Api>,
    Reader(reading): Reader,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Json<SearchAnswer>, ApiError> {
    let Query(search) = search.map_err(|rejection| ApiError::bad_request(rejection.body_text()))?;
    // The access first and then the hits, as for a query: what cannot be put on record is not read.
    api.engine.accessed(&reading, Access { event: "search", statement: &search.q }, None).await?;
    Ok(Json(api.engine.search(&search).await?))
}
