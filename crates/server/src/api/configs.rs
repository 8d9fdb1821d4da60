//! Configurations: what changed between two of them, and announced deployments.

use axum::extract::State;
use onrecord_ledger::Committed;
use onrecord_proof::{Record, Rel};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::extract::{Json, Query};
use super::{Api, ApiError, Reader};
use crate::engine::{Access, Change, Wanted, between};
use crate::render;

/// Bytes of a note.
const NOTE_MAX: usize = 4096;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Two {
    /// An id, a leaf index or a time.
    a: String,
    b: String,
    /// Only of this model server, where times are compared.
    upstream: Option<String>,
    /// Only of this model, where times are compared.
    model: Option<String>,
}

/// What is compared: a record each.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Side {
    id: String,
    kind: &'static str,
    time: String,
    /// The configuration in force, if the record is a call.
    config: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Compared {
    a: Side,
    b: Side,
    changes: Vec<Change>,
}

pub(super) async fn diff(
    State(api): State<Api>,
    Reader(reading): Reader,
    Query(two): Query<Two>,
) -> Result<Json<Compared>, ApiError> {
    let (a, b) = (find(&api, &two, &two.a).await?, find(&api, &two, &two.b).await?);
    let statement = format!("{} {}", two.a, two.b);
    api.engine.accessed(&reading, Access { event: "config-diff", statement: &statement }, Some(2)).await?;
    let (config_a, config_b) = (configuration(&api, &a).await?, configuration(&api, &b).await?);
    let mut changes = match (&config_a, &config_b) {
        (Some(a), Some(b)) if a.id != b.id => between(a, b).map_err(ApiError::bad_request)?,
        _ => Vec::new(),
    };
    if a.record.kind == b.record.kind && a.record.kind != onrecord_proof::Kind::Config {
        changes.extend(between(&a.record, &b.record).map_err(ApiError::bad_request)?);
    }
    Ok(Json(Compared { a: side(&a, config_a.as_ref()), b: side(&b, config_b.as_ref()), changes }))
}

fn side(of: &Committed, config: Option<&Record>) -> Side {
    let config = config.filter(|config| config.id != of.record.id).map(|config| config.id.to_string());
    let Record { id, kind, captured_at, .. } = &of.record;
    Side { id: id.to_string(), kind: kind.name(), time: render::time(*captured_at), config }
}

/// A record by its id or leaf, or the configuration that was in force at a time.
async fn find(api: &Api, two: &Two, wanted: &str) -> Result<Committed, ApiError> {
    let wanted = match (wanted.parse::<Wanted>(), wanted.parse::<jiff::Timestamp>()) {
        (Ok(wanted), _) => Some(wanted),
        (_, Ok(time)) => {
            let (upstream, model) = (two.upstream.as_deref(), two.model.as_deref());
            api.engine.configuration_at(time.as_microsecond(), upstream, model).await?.map(Wanted::Leaf)
        }
        _ => {
            let problem =
                format!("{wanted:?} is neither a record's id, a leaf index nor a time such as 2026-11-24T12:00:00Z");
            return Err(ApiError::bad_request(problem));
        }
    };
    let found = match wanted {
        Some(wanted) => api.engine.find(wanted).await?,
        None => None,
    };
    found.ok_or_else(|| ApiError::not_found("there is no such record, or no configuration was on record at that time"))
}

/// The configuration of a call, or the record itself if it is one.
async fn configuration(api: &Api, of: &Committed) -> Result<Option<Record>, ApiError> {
    if of.record.kind == onrecord_proof::Kind::Config {
        return Ok(Some(of.record.clone()));
    }
    let Some(reference) = of.record.refs.iter().find(|reference| reference.rel == Rel::Config) else { return Ok(None) };
    Ok(api.engine.find(Wanted::Id(reference.id)).await?.map(|committed| committed.record))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deployment {
    /// What is deployed, and why.
    note: String,
    /// The model server; without it any.
    upstream: Option<String>,
}

/// The record of the announcement.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Announced {
    id: Uuid,
}

/// Announces a deployment: a change of the configuration within the configured window is no drift then.
pub(super) async fn deploy(
    State(api): State<Api>,
    Reader(reading): Reader,
    Json(deployment): Json<Deployment>,
) -> Result<Json<Announced>, ApiError> {
    let note = deployment.note.trim();
    if note.is_empty() || note.len() > NOTE_MAX {
        return Err(ApiError::bad_request(format!("`note` must have 1 to {NOTE_MAX} bytes, it has {}", note.len())));
    }
    let id = api.engine.announce(&reading, note, deployment.upstream.as_deref()).await?;
    Ok(Json(Announced { id }))
}
