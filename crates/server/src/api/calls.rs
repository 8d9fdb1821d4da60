//! Calls: lists, one whole, and the end of the log as it grows.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use onrecord_ledger::Committed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::extract::{Json, Path, Query};
use super::{Api, ApiError, Reader};
use crate::engine::{Access, Filter, Outlier, Slow, Stats, Summary, Wanted};
use crate::render;

/// Calls that a list has if it is not told otherwise.
const LIST: usize = 50;
/// How often the end of the log is looked at.
const POLL: Duration = Duration::from_millis(50);

pub(super) async fn list(State(api): State<Api>, Query(filter): Query<Filter>) -> Result<Json<Vec<Summary>>, ApiError> {
    let filter = Filter { limit: Some(filter.limit.unwrap_or(LIST)), ..filter };
    Ok(Json(api.engine.list(&filter).await?))
}

/// The outliers among the calls.
pub(super) async fn slow(State(api): State<Api>, Query(slow): Query<Slow>) -> Result<Json<Vec<Outlier>>, ApiError> {
    Ok(Json(api.engine.slow(&slow).await?))
}

pub(super) async fn find(api: &Api, wanted: &str) -> Result<Committed, ApiError> {
    let wanted: Wanted = wanted.parse().map_err(ApiError::bad_request)?;
    api.engine.find(wanted).await?.ok_or_else(|| ApiError::not_found("there is no such record"))
}

pub(super) async fn show(
    State(api): State<Api>,
    Reader(reading): Reader,
    Path(wanted): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let committed = find(&api, &wanted).await?;
    let statement = committed.record.id.to_string();
    api.engine.accessed(&reading, Access { event: "show", statement: &statement }, Some(1)).await?;
    Ok(Json(render::record(&committed)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tail {
    /// So many of the newest calls first.
    #[serde(default = "Tail::newest")]
    last: usize,
    /// Then whatever is committed, until the client goes.
    #[serde(default)]
    follow: bool,
}

impl Tail {
    const fn newest() -> usize {
        10
    }
}

/// NDJSON: a summary a line.
pub(super) async fn tail(
    State(api): State<Api>,
    Query(Tail { last, follow }): Query<Tail>,
) -> Result<Response, ApiError> {
    let start = api.engine.reader().size();
    let mut newest = api.engine.list(&Filter { limit: Some(last), ..Filter::default() }).await?;
    newest.reverse();
    let next = newest.last().map_or(start, |call| call.leaf_index + 1).max(start);
    let first = lines(&newest);
    let rest = stream::unfold((api, next, follow), |(api, next, follow)| async move {
        if !follow {
            return None;
        }
        let (lines, next) = wait_for_more(&api, next).await;
        Some((lines, (api, next, follow)))
    });
    let body = Body::from_stream(futures::StreamExt::chain(stream::iter([Ok(first)]), rest));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn wait_for_more(api: &Api, next: u64) -> (anyhow::Result<String>, u64) {
    loop {
        let size = api.engine.reader().size();
        if size > next {
            let filter = Filter { from: Some(next), ..Filter::default() };
            return match api.engine.list(&filter).await {
                // What was committed after `size` was read may be in the list too.
                Ok(calls) => {
                    let next = calls.last().map_or(size, |call| size.max(call.leaf_index + 1));
                    (Ok(lines(&calls)), next)
                }
                Err(error) => (Err(error), next),
            };
        }
        tokio::time::sleep(POLL).await;
    }
}

fn lines(calls: &[Summary]) -> String {
    calls.iter().filter_map(|call| serde_json::to_string(call).ok()).map(|line| line + "\n").collect()
}

pub(super) async fn stats(State(api): State<Api>) -> Result<Json<Stats>, ApiError> {
    let engine = api.engine.clone();
    let stats = tokio::task::spawn_blocking(move || engine.stats()).await;
    stats.map(Json).map_err(ApiError::internal)
}

/// The last signed checkpoint, over everything that is committed now.
pub(super) async fn checkpoint(State(api): State<Api>) -> Result<String, ApiError> {
    let reader = api.engine.reader().clone();
    let published = tokio::task::spawn_blocking(move || reader.checkpoint_now()).await.map_err(ApiError::internal)?;
    let published = published.map_err(ApiError::internal)?;
    published.map(|published| published.note.to_string()).ok_or_else(|| ApiError::not_found("the log is empty"))
}

/// Whether the log can be written.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    healthy: bool,
    version: &'static str,
    /// Why records cannot be moved to the table, if so. Calls are recorded all the same.
    sealing_stands_still: Option<String>,
}

pub(super) async fn health(State(api): State<Api>) -> (StatusCode, Json<Health>) {
    let healthy = api.engine.ledger.is_healthy();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    // It is for a message and not for whoever would start the program again.
    let sealing_stands_still = api.engine.lake.standstill().map(|standstill| standstill.why);
    (status, Json(Health { healthy, version: env!("CARGO_PKG_VERSION"), sealing_stands_still }))
}
