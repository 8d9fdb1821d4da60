//! The API: what the command line, dashboards and scripts ask. JSON over HTTP below `/api/v1`.
//!
//! It listens on an address of its own, so that no path of a model server is ever taken.

mod calls;
mod configs;
mod encode;
mod error;
mod evidence;
mod export;
mod forward;
mod ingest;
mod keep;
mod log;
mod metrics;
mod query;
mod rows;
mod search;
mod sessions;
mod templates;
mod verify;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::header::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};

use crate::auth::{Denied, Identity, Role, Tokens};
use crate::engine::{Engine, Reading};

pub(crate) use encode::{Encoder, Format};
pub(crate) use error::ApiError;
pub(crate) use evidence::UNWITNESSED;

/// Bytes of a request with records.
const RECORDS_MAX: usize = 16 << 20;

/// Bytes of the contents of an export: some hundred thousand runs of leaves.
const EXPORT_MAX: usize = 16 << 20;

/// What every handler has.
#[derive(Clone)]
pub(crate) struct Api {
    pub engine: Arc<Engine>,
    pub access: Access,
    /// Checkpoints, tiles and leaves are for everybody.
    pub public_log: bool,
}

/// Who may ask.
#[derive(Clone)]
pub(crate) enum Access {
    /// The command line on a folder that it has opened itself: whoever can read the folder can read the log.
    Local,
    /// Anybody with a token of role `read`, or with the token that the server leaves in its data folder for the command
    /// line; and if there are no tokens, everybody on this machine.
    Tokens { tokens: Arc<Tokens>, own: Arc<str> },
}

/// The API's routes.
pub(crate) fn router(api: Api) -> Router {
    let log = Router::new()
        .route("/log/checkpoint", get(log::checkpoint))
        .route("/log/keys", get(log::keys))
        .route("/log/tile/{*path}", get(log::tile));
    let (open, log) = if api.public_log { (log, Router::new()) } else { (Router::new(), log) };
    // What one of these roles may ask.
    let guarded = |routes: Router<Api>, roles: &'static [Role]| {
        routes.layer(middleware::from_fn_with_state((api.clone(), roles), authorize))
    };
    let reading = Router::new()
        .route("/api/v1/calls", get(calls::list))
        .route("/api/v1/calls/{wanted}", get(calls::show))
        .route("/api/v1/calls/{wanted}/evidence", get(evidence::one))
        .route("/api/v1/evidence", post(evidence::several))
        .route("/api/v1/calls/{wanted}/tokens", get(sessions::tokens))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/sessions/{session}", get(sessions::show))
        .route("/api/v1/config-diff", get(configs::diff))
        .route("/api/v1/templates", get(templates::list))
        .route("/api/v1/slow", get(calls::slow))
        .route("/api/v1/tail", get(calls::tail))
        .route("/api/v1/query", get(query::get).post(query::post))
        .route("/api/v1/exports", post(export::record).layer(DefaultBodyLimit::max(EXPORT_MAX)))
        .route("/api/v1/search", get(search::search))
        .route("/api/v1/columns", get(query::columns))
        .route("/api/v1/verify", post(verify::verify))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/forward", get(forward::status))
        .route("/api/v1/stats", get(calls::stats))
        .route("/api/v1/checkpoint", get(calls::checkpoint))
        .route("/api/v1/traces/{wanted}", get(ingest::trace))
        .merge(log);
    // A reader must not add to the log: it could announce a deployment and so hide drift.
    let adding = Router::new()
        .route("/api/v1/records", post(ingest::records))
        .route("/api/v1/templates", post(templates::add))
        .route("/api/v1/deployments", post(configs::deploy))
        .layer(DefaultBodyLimit::max(RECORDS_MAX));
    let administration = Router::new()
        .route("/api/v1/erase", post(keep::erase))
        .route("/api/v1/holds", get(keep::holds).post(keep::add_hold))
        .route("/api/v1/holds/{id}/release", post(keep::release_hold))
        .route("/api/v1/retention", get(keep::plan))
        .route("/api/v1/retention/run", post(keep::run))
        .route("/api/v1/key/rotate", post(keep::rotate_key));
    // Whoever may call a model may say what they think of its answer.
    let judging = Router::new().route("/api/v1/feedback", post(ingest::feedback));
    Router::new()
        .route("/health", get(calls::health))
        .merge(open)
        .merge(guarded(reading, &[Role::Read]))
        .merge(guarded(adding, &[Role::Ingest]))
        .merge(guarded(judging, &[Role::Ingest, Role::Call]))
        .merge(guarded(administration, &[Role::Admin]))
        .fallback(error::not_found)
        .with_state(api)
}

/// Lets a request pass whose token has one of these roles, with who makes it among its extensions.
async fn authorize(
    State((api, roles)): State<(Api, &'static [Role])>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let identity = match &api.access {
        Access::Local => Identity::named("local"),
        Access::Tokens { tokens, own } => identify(tokens, own, request.headers(), roles)?,
    };
    request.extensions_mut().insert(identity);
    Ok(next.run(request).await)
}

fn identify(tokens: &Tokens, own: &str, headers: &HeaderMap, roles: &[Role]) -> Result<Identity, ApiError> {
    if tokens.is_empty() {
        own_name(headers)?;
    }
    if crate::auth::is_token(headers, own) {
        return Ok(Identity::named("local"));
    }
    // While there are no tokens everybody on this machine may read and add. Who can read the data folder has the server's own.
    if tokens.is_empty() && roles == [Role::Admin] {
        return Err(ApiError::forbidden(
            "this needs an access token of the role admin (`onrecord token create --role admin`), or the command line on the data folder",
        ));
    }
    let mut denied = Denied::Missing;
    for role in roles {
        match tokens.authorize(headers, *role) {
            Ok(identity) => return Ok(identity),
            Err(other) => denied = other,
        }
    }
    Err(ApiError::denied(denied))
}

/// Without tokens the API answers to its own machine only.
fn own_name(headers: &HeaderMap) -> Result<(), ApiError> {
    crate::auth::names_this_machine(headers).map_err(ApiError::bad_request)
}

/// Who reads, and why: for the access record.
pub(crate) struct Reader(pub Reading);

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let principal =
            parts.extensions.get::<Identity>().map_or_else(|| "anonymous".into(), |identity| identity.name.clone());
        let address = parts.extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>();
        let purpose =
            parts.headers.get("x-onrecord-purpose").map(|p| String::from_utf8_lossy(p.as_bytes()).into_owned());
        Ok(Self(Reading { principal, address: address.map(|info| info.0.ip().to_string()), purpose, user: None }))
    }
}
