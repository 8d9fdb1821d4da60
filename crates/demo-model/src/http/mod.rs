//! The model behind an OpenAI-compatible HTTP API.

mod answer;
mod chat;
mod error;
mod fields;
mod messages;
mod models;
mod parts;
mod request;
mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::available_parallelism;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::error::ApiError;
use crate::{Model, Result};

/// The largest request body in bytes. The context of 2,048 tokens takes some 10 KB of text; the rest is room for tool
/// definitions and for requests that are meant to be too long.
const BODY_LIMIT: usize = 1 << 20;

/// What the handlers share.
#[derive(Clone)]
struct Server {
    model: Model,
    /// One permit for each core: more generations at once would only slow each other down. The others wait.
    slots: Arc<Semaphore>,
    capacity: usize,
    /// Tokens generated since the start.
    generated: Arc<AtomicU64>,
}

impl Server {
    fn new(model: Model) -> Self {
        let capacity = available_parallelism().map_or(1, usize::from);
        Self { model, slots: Arc::new(Semaphore::new(capacity)), capacity, generated: Arc::default() }
    }
}

/// The API as a router: `POST /v1/chat/completions`, `GET /v1/models`, `GET /v1/models/{id}` and `GET /health`.
///
/// At most one generation runs for each core, the others are queued. A client that goes away ends its generation.
pub fn router(model: Model) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::show))
        .route("/health", get(models::health))
        .fallback(async || ApiError::no_such_path())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Server::new(model))
}

/// Serves the API until `shutdown` completes, then lets the running answers end.
///
/// # Errors
///
/// [`Error::Serve`](crate::Error::Serve) if the listener fails.
pub async fn serve(
    listener: TcpListener,
    model: Model,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    // A token is a small packet that somebody waits for.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused");
        }
    });
    axum::serve(listener, router(model)).with_graceful_shutdown(shutdown).await?;
    Ok(())
}

type Shared = State<Server>;
