//! The listener, and how a connection is begun and ended.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use datafusion_postgres::pgwire::api::PgWireServerHandlers;
use datafusion_postgres::pgwire::api::auth::StartupHandler;
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::tokio::process_socket;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Postgres;
use super::login::Door;
use super::query::Queries;
use crate::config;

/// The address, listened on.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    connections: usize,
}

impl Listener {
    /// Listens if the configuration says where.
    pub(crate) async fn bind(config: &config::Postgres) -> anyhow::Result<Option<Self>> {
        let Some(address) = config.listen else { return Ok(None) };
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!(
                "the PostgreSQL protocol cannot be served on {address}; another address can be set as `postgres.listen`"
            )
        })?;
        Ok(Some(Self { listener, connections: config.connections }))
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until `stop`, and then leaves running queries behind: they only read.
    pub(crate) async fn serve(self, postgres: Postgres, tls: Option<TlsAcceptor>, stop: CancellationToken) {
        let postgres = Arc::new(postgres);
        let free = Arc::new(Semaphore::new(self.connections));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, _)) => {
                    let permit = Arc::clone(&free).try_acquire_owned().ok();
                    let door = Door::new(Arc::clone(&postgres), permit.is_none(), tls.is_some());
                    let serve = serve(socket, tls.clone(), door, stop.clone());
                    tasks.spawn(async move {
                        serve.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection of the PostgreSQL protocol could not be accepted");
                    // Out of file descriptors, say; the next attempt would fail at once.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn serve(socket: TcpStream, tls: Option<TlsAcceptor>, door: Door, stop: CancellationToken) {
    let served = tokio::select! {
        () = stop.cancelled() => return,
        served = process_socket(socket, tls, Handlers(Arc::new(door))) => served,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of the PostgreSQL protocol broke off");
    }
}

/// Which part answers which message.
struct Handlers(Arc<Door>);

impl PgWireServerHandlers for Handlers {
    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::clone(&self.0)
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::clone(&self.0.postgres)
    }

    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::new(Queries(Arc::clone(&self.0.postgres)))
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::new(Queries(Arc::clone(&self.0.postgres)))
    }
}
