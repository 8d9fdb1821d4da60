//! The API: what the command line, dashboards and scripts ask. JSON over HTTP below `/api/v1`.
//!
//! It listens on an address of its own, so that no path of a model server is ever taken.

mod calls;
mod configs;
mod document;
mod encode;
mod error;
mod evidence;
mod export;
mod extract;
mod forward;
mod ingest;
mod keep;
mod log;
mod metrics;
mod query;
mod router;
mod rows;
mod search;
mod sessions;
mod templates;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use crate::auth::{Denied, Identity, Role, Tokens};
use crate::engine::{Engine, Reading};

pub(crate) use encode::{Encoder, Format};
pub(crate) use error::ApiError;
pub(crate) use evidence::UNWITNESSED;
pub(crate) use router::router;

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
