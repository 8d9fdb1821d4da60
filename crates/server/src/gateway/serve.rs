//! Connections: accepting them, speaking HTTP/1.1 or HTTP/2 on them, and letting them finish on shutdown.

use std::convert::Infallible;
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use onrecord_capture::Dialect;
use onrecord_proof::field;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::call::{Call, Failure, Outcome};
use super::{Gateway, forward};

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After an accept failed, e.g. because no file descriptor is left.
const BREATH: Duration = Duration::from_millis(50);

/// Serves until `stop` is cancelled, then lets running calls finish, for as long as the settings allow. Calls that are
/// cut off then are on record as such.
pub(crate) async fn serve(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    let connections = TaskTracker::new();
    let grace = gateway.settings.shutdown_grace;
    let kill = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (gateway, tls, stop) = (Arc::clone(&gateway), tls.clone(), stop.clone());
                let connection =
                    kill.clone().run_until_cancelled_owned(connection(gateway, stream, peer.ip(), tls, stop));
                connections.spawn(connection);
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    // Whoever connects now is told at once that nobody is there.
    drop(listener);
    connections.close();
    if tokio::time::timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "calls are still running after the grace period and are cut off");
        kill.cancel();
        connections.wait().await;
    }
}

async fn connection(
    gateway: Arc<Gateway>,
    stream: TcpStream,
    peer: IpAddr,
    tls: Option<TlsAcceptor>,
    stop: CancellationToken,
) {
    // Tokens are small and must not wait for more of them (Nagle).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    if !speaks(&stream, gateway.settings.client_timeout).await {
        return;
    }
    match tls {
        None => http(gateway, stream, peer, stop).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => http(gateway, stream, peer, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        },
    }
}

/// Waits until the client has said which version of HTTP it speaks, which the HTTP library would do without end. False
/// if it goes away or says nothing for `patience`.
async fn speaks(stream: &TcpStream, patience: Duration) -> bool {
    // RFC 9113 §3.4; a client of HTTP/1 differs from it within its first three bytes.
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let said = async {
        let mut start = [0; PREFACE.len()];
        loop {
            match stream.peek(&mut start).await {
                Ok(0) | Err(_) => return false,
                Ok(len) if len == PREFACE.len() || start[..len] != PREFACE[..len] => return true,
                // Part of the preface stays readable, so there is nothing to wait for but time.
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(patience, said).await.unwrap_or(false)
}

async fn http(
    gateway: Arc<Gateway>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    stop: CancellationToken,
) {
    let service = {
        let gateway = Arc::clone(&gateway);
        service_fn(move |request| {
            let answer = forward::handle(Arc::clone(&gateway), peer, request);
            async move { Ok::<_, Infallible>(answer.await) }
        })
    };
    let builder = builder(&gateway);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        unreadable(&gateway, peer, &*error);
    }
}

fn builder(gateway: &Gateway) -> Builder<TokioExecutor> {
    let settings = &gateway.settings;
    let mut builder = Builder::new(TokioExecutor::new());
    let head = settings.max_header_size.max(8192);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.client_timeout).max_buf_size(head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(settings.max_header_size).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(Duration::from_secs(20)));
    builder
}

/// A request whose head could not be read got its answer from the HTTP library; the attempt is on record.
fn unreadable(gateway: &Arc<Gateway>, peer: IpAddr, error: &(dyn std::error::Error + 'static)) {
    let Some(http) = error.downcast_ref::<hyper::Error>() else { return };
    let (kind, status) = match http {
        e if e.is_parse_too_large() => ("head_too_large", 431_i64),
        e if e.is_parse() => ("bad_request", 400),
        _ => return,
    };
    let mut call = Call::new(Arc::clone(gateway), Dialect::Unknown);
    let cause = http.source().map_or_else(|| http.to_string(), |source| format!("{http}: {source}"));
    let record = call.record();
    record.set(&field::CLIENT_ADDRESS, peer.to_string());
    record.set(&field::STATUS, status);
    record.set(&field::DIALECT, Dialect::Unknown.name());
    let failure = Failure::new(kind, "client", format!("the request's head could not be read: {cause}"));
    if let Err(error) = call.end(&Outcome::Rejected(failure)) {
        tracing::error!(%error, "a refused request is not on record");
    }
}
