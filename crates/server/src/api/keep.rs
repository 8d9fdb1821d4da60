//! Keeping and disposing over HTTP. All of it needs the role `admin`.

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::extract::{Json, Path, Query};
use super::{Api, ApiError, Reader};
use crate::engine::{AddHold, Erase, Hold, Outcome, PlanLine};

pub(super) async fn erase(
    State(api): State<Api>,
    Reader(reading): Reader,
    Json(ask): Json<Erase>,
) -> Result<Json<Outcome>, ApiError> {
    Ok(Json(api.engine.erase(&reading, &ask).await?))
}

pub(super) async fn holds(State(api): State<Api>) -> Result<Json<Vec<Hold>>, ApiError> {
    Ok(Json(api.engine.holds().await?))
}

/// A hold that was added.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Held {
    hold: Hold,
    /// So many records are under it now.
    records: u64,
}

pub(super) async fn add_hold(
    State(api): State<Api>,
    Reader(reading): Reader,
    Json(ask): Json<AddHold>,
) -> Result<Json<Held>, ApiError> {
    let (hold, records) = api.engine.add_hold(&reading, &ask).await?;
    Ok(Json(Held { hold, records }))
}

pub(super) async fn release_hold(
    State(api): State<Api>,
    Reader(reading): Reader,
    Path(id): Path<Uuid>,
) -> Result<Json<Hold>, ApiError> {
    Ok(Json(api.engine.release_hold(&reading, id).await?))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ahead {
    /// What is due so many days from now.
    #[serde(default)]
    ahead_days: u32,
}

pub(super) async fn plan(
    State(api): State<Api>,
    Reader(reading): Reader,
    Query(Ahead { ahead_days }): Query<Ahead>,
) -> Result<Json<Vec<PlanLine>>, ApiError> {
    Ok(Json(api.engine.plan_retention(&reading, ahead_days).await?))
}

pub(super) async fn run(State(api): State<Api>, Reader(reading): Reader) -> Result<Json<Vec<PlanLine>>, ApiError> {
    Ok(Json(api.engine.run_retention(&reading).await?))
}

/// Gives the log a new key; answers with all of its public keys.
pub(super) async fn rotate_key(State(api): State<Api>, Reader(reading): Reader) -> Result<String, ApiError> {
    Ok(api.engine.rotate_key(&reading).await?.to_string())
}
