//! `GET /v1/models`, `GET /v1/models/{id}` and `GET /health`.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Shared;
use super::answer::fingerprint;
use super::error::ApiError;
use crate::Model;

/// When the model was trained, in seconds since 1970.
const TRAINED: u64 = 1_795_305_600;

pub(super) async fn list(State(server): Shared) -> Json<Value> {
    Json(json!({ "object": "list", "data": [describe(&server.model)] }))
}

pub(super) async fn show(State(server): Shared, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    if id == server.model.name() { Ok(Json(describe(&server.model))) } else { Err(ApiError::no_such_model(&id)) }
}

/// Besides being alive: how many generations run, of how many that may, and how many tokens were generated so far.
pub(super) async fn health(State(server): Shared) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "generating": server.capacity - server.slots.available_permits(),
        "capacity": server.capacity,
        "generated_tokens": server.generated.load(Ordering::Relaxed),
    }))
}

fn describe(model: &Model) -> Value {
    let millions = model.parameters() as f64 / 1e6;
    json!({
        "id": model.name(),
        "object": "model",
        "created": TRAINED,
        "owned_by": "onrecord",
        "description": format!(
            "{millions:.1} M parameters, trained on Python's documentation: small enough to ship, not clever"
        ),
        "parameters": model.parameters(),
        "context_length": model.context_length(),
        "digest": format!("sha256:{}", model.digest()),
        "system_fingerprint": fingerprint(model),
    })
}
