//! How far the destinations of forwarding have come.

use axum::extract::State;

use super::Api;
use super::extract::Json;
use crate::shipping::{Shipping, Status};

pub(super) async fn status(State(api): State<Api>) -> Json<Vec<Status>> {
    Json(Shipping::status(&api.engine).await)
}
