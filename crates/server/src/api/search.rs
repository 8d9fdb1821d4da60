//! Full-text search over HTTP.

use axum::extract::State;

use super::extract::{Json, Query};
use super::{Api, ApiError, Reader};
use crate::engine::{Access, Search, SearchAnswer};

pub(super) async fn search(
    State(api): State<Api>,
    Reader(reading): Reader,
    Query(search): Query<Search>,
) -> Result<Json<SearchAnswer>, ApiError> {
    // The access first and then the hits, as for a query: what cannot be put on record is not read.
    api.engine.accessed(&reading, Access { event: "search", statement: &search.q }, None).await?;
    Ok(Json(api.engine.search(&search).await?))
}
