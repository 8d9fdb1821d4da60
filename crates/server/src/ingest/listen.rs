//! The listeners for spans.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Ingest, grpc, http};
use crate::config;

/// For requests under way at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The port of OTLP over gRPC.
pub(crate) const GRPC_PORT: u16 = 4317;
/// The port of OTLP over HTTP.
pub(crate) const HTTP_PORT: u16 = 4318;

/// The addresses that are configured, free and listened on.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    grpc: Option<TcpListener>,
    http: Option<TcpListener>,
    max_body: usize,
}

impl Listeners {
    /// Listens where the configuration says so. A default address that is taken, say by a collector, is left to whoever has
    /// it; one that was chosen is an error.
    pub(crate) async fn bind(config: &config::Ingest) -> anyhow::Result<Self> {
        if !config.otlp {
            return Ok(Self::default());
        }
        let grpc = bind(config.grpc, GRPC_PORT, "ingest.grpc").await?;
        let http = bind(config.http, HTTP_PORT, "ingest.http").await?;
        Ok(Self { grpc, http, max_body: config.max_body.as_usize() })
    }

    /// Where spans can be sent to: over gRPC, over HTTP.
    pub(crate) fn addresses(&self) -> [Option<SocketAddr>; 2] {
        [&self.grpc, &self.http].map(|listener| listener.as_ref().and_then(|listener| listener.local_addr().ok()))
    }

    /// Serves until `stop`.
    pub(crate) fn serve(self, ingest: &Arc<Ingest>, stop: &CancellationToken, tasks: &TaskTracker) {
        if let Some(listener) = self.grpc {
            let serve = grpc::serve(Arc::clone(ingest), listener, self.max_body, stop.clone());
            tasks.spawn(with_patience(serve, stop.clone()));
        }
        if let Some(listener) = self.http {
            let serve = http::serve(Arc::clone(ingest), listener, self.max_body, stop.clone());
            tasks.spawn(with_patience(serve, stop.clone()));
        }
    }
}

/// After `stop`, requests under way have so long to end: a sender may have begun one and say no more.
async fn with_patience(serve: impl Future<Output = ()>, stop: CancellationToken) {
    tokio::select! {
        () = serve => {}
        () = async { stop.cancelled().await; tokio::time::sleep(PATIENCE).await } => {}
    }
}

/// True if the program goes on without this address where it is taken.
pub(crate) fn is_default(address: SocketAddr, default_port: u16) -> bool {
    address.port() == default_port && address.ip().is_loopback()
}

async fn bind(address: SocketAddr, default_port: u16, key: &str) -> anyhow::Result<Option<TcpListener>> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if is_default(address, default_port) => {
            tracing::warn!(%address, %error, "no spans are taken here: another program has the address; set `{key}` to another one, or `ingest.otlp = false`");
            Ok(None)
        }
        Err(error) => {
            Err(anyhow::anyhow!("spans cannot be taken at {address}: {error}; another address can be set as `{key}`"))
        }
    }
}
