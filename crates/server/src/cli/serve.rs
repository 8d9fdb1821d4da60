//! `onrecord serve`.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::server::Server;
use crate::terminal::note;

/// Serves until the process is told to stop.
pub(crate) async fn serve(config: &Config) -> anyhow::Result<ExitCode> {
    crate::terminal::log_to_stderr(&config.telemetry);
    let upstreams = config.upstreams()?;
    let server = Server::start(config, &upstreams).await?;
    let scheme = if server.tls { "https" } else { "http" };
    let stats = server.engine.stats();
    let names: Vec<_> = upstreams.iter().map(|upstream| upstream.url.as_str()).collect();
    note(format_args!("onrecord {} keeps the record of {}", stats.version, names.join(", ")));
    note(format_args!("  gateway   {scheme}://{}   (the base URL for your clients)", server.gateway));
    note(format_args!("  API       http://{}", server.api));
    if let Some(address) = server.postgres {
        note(format_args!("  SQL       postgresql://{address}/onrecord   (PostgreSQL protocol; read only)"));
    }
    let [grpc, http] = server.otlp;
    let addresses =
        [grpc.map(|grpc| format!("http://{grpc} (gRPC)")), http.map(|http| format!("http://{http} (HTTP)"))];
    let addresses: Vec<_> = addresses.into_iter().flatten().collect();
    if !addresses.is_empty() {
        note(format_args!("  OTLP      {}", addresses.join(", ")));
    }
    note(format_args!("  log       {} in {}, {} records", stats.origin, stats.data, stats.records));
    if stats.interrupted_at_start > 0 {
        note(format_args!(
            "  {} calls of the last run had no end and are on record as interrupted",
            stats.interrupted_at_start
        ));
    }
    note("Stop with Ctrl-C. Calls show with `onrecord tail -f`.");
    until_told_to_stop().await?;
    note("stopping; running calls may finish");
    server.stop().await?;
    Ok(ExitCode::SUCCESS)
}

/// SIGINT or SIGTERM. A second one ends the process at once; the next start recovers the log.
pub(crate) async fn until_told_to_stop() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(())
}
