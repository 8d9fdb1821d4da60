//! Verification over HTTP: progress a line, then the report.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::sync::mpsc;

use super::Api;

/// Lines that may wait for a slow reader; progress beyond them is left out.
const LINES: usize = 64;

/// NDJSON: `{"progress": …}` lines, then `{"report": …}` or `{"error": …}`.
pub(super) async fn verify(State(api): State<Api>) -> Response {
    let (lines, waiting) = mpsc::channel(LINES);
    let told = lines.clone();
    let progress = Arc::new(move |phase| drop(told.try_send(json!({ "progress": phase }))));
    let work = async move {
        let last = match api.engine.verify(progress).await {
            Ok(report) => json!({ "report": report }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        // A reader that has gone does not wait for it.
        let _ = lines.send(last).await;
        None
    };
    let lines = stream::unfold(waiting, |mut waiting| async move { Some((Some(waiting.recv().await?), waiting)) });
    let both = stream::select(stream::once(work), lines).filter_map(|line| async move { line });
    let body = Body::from_stream(both.map(|line| Ok::<_, std::convert::Infallible>(format!("{line}\n"))));
    ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}
