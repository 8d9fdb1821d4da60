//! `onrecord witness`: runs a witness that cosigns the checkpoints of other logs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use onrecord_ledger::witness::{Refusal, Witness};
use onrecord_proof::KeyHistory;

use super::options::WitnessArgs;
use super::serve::until_told_to_stop;
use crate::config::Telemetry;
use crate::terminal::{escape, log_to_stderr, note, print_line};

/// Bytes of a request: 63 hashes, and a checkpoint with the lines of many signers.
const BODY_MAX: usize = 64 << 10;
/// Requests that are worked on at once. Each waits for the ones before it anyway, since what was seen is made durable.
const AT_ONCE: usize = 64;

pub(super) async fn witness(
    data: Option<&Path>,
    telemetry: &Telemetry,
    args: &WitnessArgs,
) -> anyhow::Result<ExitCode> {
    log_to_stderr(telemetry);
    let data = std::path::absolute(data.map_or_else(|| PathBuf::from("onrecord-witness"), Path::to_owned))?;
    let logs = args.log.iter().map(|key| super::check::read_key(key)).collect::<anyhow::Result<Vec<KeyHistory>>>()?;
    let names: Vec<_> = logs.iter().map(|log| log.name().to_owned()).collect();
    // Before the folder is opened, so that a port that is taken leaves no trace.
    let listener = tokio::net::TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("the witness cannot listen on {}", args.listen))?;
    let (name, dir) = (args.name.clone(), data.clone());
    let witness = tokio::task::spawn_blocking(move || Witness::open(&dir, name.as_deref(), logs)).await??;
    note(format_args!("onrecord {} witnesses {}", env!("CARGO_PKG_VERSION"), escape(&names.join(", "))));
    note(format_args!("  takes checkpoints at  http://{}/add-checkpoint", listener.local_addr()?));
    note(format_args!("  its memory            {}", data.display()));
    for last in witness.last() {
        note(format_args!("  has cosigned          {} leaves of {}", last.size, escape(&last.origin)));
    }
    note("  its key, for [[witness]] and `onrecord check --witness`:");
    print_line(&witness.witness().to_string())?;
    let serve = axum::serve(listener, router(witness)).with_graceful_shutdown(async {
        let _ = until_told_to_stop().await;
    });
    serve.await?;
    Ok(ExitCode::SUCCESS)
}

fn router(witness: Witness) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(tower::limit::GlobalConcurrencyLimitLayer::new(AT_ONCE))
        .route("/health", get(async || "ok\n"))
        .with_state(Arc::new(witness))
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: String) -> Response {
    match tokio::task::spawn_blocking(move || witness.add_checkpoint(&body)).await {
        Ok(Ok(line)) => format!("{line}\n").into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn refused(refusal: &Refusal) -> Response {
    // Of a known log: its evidence that it has two histories, or that somebody else has its key.
    if matches!(refusal, Refusal::OtherRoot(_) | Refusal::Inconsistent(_)) {
        tracing::error!(%refusal, "a log has shown a checkpoint that does not go on from the one before");
    }
    let status = match refusal {
        Refusal::Bad(_) => StatusCode::BAD_REQUEST,
        Refusal::UnknownLog(_) => StatusCode::NOT_FOUND,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
        Refusal::OtherSize(size) | Refusal::OtherRoot(size) => {
            return (StatusCode::CONFLICT, [(CONTENT_TYPE, "text/x.tlog.size")], format!("{size}\n")).into_response();
        }
        Refusal::Inconsistent(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Storage(problem) => {
            tracing::error!(problem, "what was seen cannot be made durable, so nothing is cosigned");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    (status, format!("{refusal}\n")).into_response()
}
