//! Sessions, and the tokens of one call.

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::calls::find;
use super::extract::{Json, Path, Query};
use super::{Api, ApiError, Reader};
use crate::engine::{Access, Conversation, Decision, Session, decisions};

/// Sessions that a list has at most.
const LIST_MAX: usize = 10_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Newest {
    #[serde(default = "Newest::usual")]
    limit: usize,
}

impl Newest {
    const fn usual() -> usize {
        50
    }
}

/// The sessions that were used last.
pub(super) async fn list(
    State(api): State<Api>,
    Query(Newest { limit }): Query<Newest>,
) -> Result<Json<Vec<Session>>, ApiError> {
    Ok(Json(api.engine.sessions(limit.min(LIST_MAX)).await?))
}

/// A session as it went.
pub(super) async fn show(
    State(api): State<Api>,
    Reader(reading): Reader,
    Path(session): Path<String>,
) -> Result<Json<Conversation>, ApiError> {
    let found = api.engine.conversation(&session).await?;
    let found = found.ok_or_else(|| ApiError::not_found(format!("there is no session {session:?}")))?;
    let rows = i64::try_from(found.turns.len()).ok();
    api.engine.accessed(&reading, Access { event: "session", statement: &session }, rows).await?;
    Ok(Json(found))
}

/// The tokens of a call's answers, and what else they could have been.
pub(super) async fn tokens(
    State(api): State<Api>,
    Reader(reading): Reader,
    Path(wanted): Path<String>,
) -> Result<Json<Vec<Decision>>, ApiError> {
    let committed = find(&api, &wanted).await?;
    let statement = committed.record.id.to_string();
    api.engine.accessed(&reading, Access { event: "tokens", statement: &statement }, Some(1)).await?;
    // A large body takes longer to decode than other tasks should wait.
    let decisions = tokio::task::spawn_blocking(move || decisions(&committed.record)).await;
    Ok(Json(decisions.map_err(ApiError::internal)?))
}
