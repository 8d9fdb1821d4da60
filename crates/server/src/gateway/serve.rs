//! Connections: accepting them, speaking HTTP/1.1 or HTTP/2 on them, and letting them finish on shutdown.

use std::convert::Infallible;
use std::error::Error as _;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use onrecord_capture::Dialect;
use onrecord_proof::field;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::call::{Call, Failure, Outcome};
use super::lanes::{Client, Lane, Lanes};
use super::patience::Patience;
use super::{Gateway, forward};

/// How long a client may take for its TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After an accept failed, e.g. because no file descriptor is left.
const BREATH: Duration = Duration::from_millis(50);
/// How often HTTP/2 asks a silent client whether it is still there.
const PING: Duration = Duration::from_secs(20);

/// The version of HTTP that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Http {
    One,
    Two,
}

/// Serves until `stop` is cancelled, then lets running calls finish, for as long as the settings allow.
pub(crate) async fn serve(mut lanes: Lanes, listener: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted.and_then(|(stream, peer)| Ok(Client { stream: stream.into_std()?, address: peer.ip() })) {
            Ok(client) => lanes.take(client),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    // Whoever connects now is told at once that nobody is there.
    drop(listener);
    lanes.stop().await;
}

/// Serves one client until it goes away or, once `stop` is answered or dropped, until its running calls have ended.
pub(crate) async fn connection(
    lane: Arc<Lane>,
    client: Client,
    tls: Option<TlsAcceptor>,
    mut stop: oneshot::Receiver<()>,
) {
    let Client { stream, address } = client;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a connection could not be taken over"),
    };
    // Tokens are small and must not wait for more of them (Nagle).
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    // A client that has not said anything yet holds no shutdown up.
    let patience = lane.gateway.settings.client_timeout;
    let version = tokio::select! {
        said = speaks(&stream, patience) => said,
        _ = &mut stop => None,
    };
    let Some(version) = version else { return };
    let Some(tls) = tls else { return http(lane, stream, version, address, stop).await };
    let encrypted = tokio::select! {
        encrypted = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => encrypted,
        _ = &mut stop => return,
    };
    match encrypted {
        Ok(Ok(stream)) => {
            let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            http(lane, stream, if two { Http::Two } else { Http::One }, address, stop).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, %address, "TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
    }
}

/// Waits until the client has said which version of HTTP it speaks. None if it goes away or says nothing for `patience`.
async fn speaks(stream: &TcpStream, patience: Duration) -> Option<Http> {
    // RFC 9113 §3.4; a client of HTTP/1 differs from it within its first three bytes.
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let said = async {
        let mut start = [0; PREFACE.len()];
        loop {
            match stream.peek(&mut start).await {
                Ok(0) | Err(_) => return None,
                Ok(len) if start[..len] != PREFACE[..len] => return Some(Http::One),
                Ok(len) if len == PREFACE.len() => return Some(Http::Two),
                // Part of the preface stays readable, so there is nothing to wait for but time.
                Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(patience, said).await.unwrap_or_default()
}

async fn http(
    lane: Arc<Lane>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    version: Http,
    peer: IpAddr,
    stop: oneshot::Receiver<()>,
) {
    let gateway = Arc::clone(&lane.gateway);
    let service = service_fn(move |request| {
        let answer = forward::handle(Arc::clone(&lane), peer, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // A client that takes nothing any more would keep its call, and the model server's connection, for ever.
    let stream = TokioIo::new(Patience::new(stream, gateway.settings.client_timeout));
    let ended = match version {
        Http::One => {
            let connection = one(&gateway).serve_connection(stream, service).with_upgrades();
            until_stopped(connection, http1::UpgradeableConnection::graceful_shutdown, stop).await
        }
        Http::Two => {
            let connection = two(&gateway).serve_connection(stream, service);
            until_stopped(connection, http2::Connection::graceful_shutdown, stop).await
        }
    };
    if let Err(error) = ended {
        unreadable(&gateway, peer, &error);
    }
}

/// Moves a connection to its end, which is after its running calls once `stop` is answered or dropped.
async fn until_stopped<C: Future>(connection: C, finish: fn(Pin<&mut C>), stop: oneshot::Receiver<()>) -> C::Output {
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        _ = stop => finish(connection.as_mut()),
    }
    connection.await
}

fn one(gateway: &Gateway) -> http1::Builder {
    let settings = &gateway.settings;
    let mut builder = http1::Builder::new();
    let head = settings.max_header_size.max(8192);
    builder.timer(TokioTimer::new()).header_read_timeout(settings.client_timeout).max_buf_size(head);
    builder
}

fn two(gateway: &Gateway) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let head = u32::try_from(gateway.settings.max_header_size).unwrap_or(u32::MAX);
    builder.timer(TokioTimer::new()).max_header_list_size(head).keep_alive_interval(Some(PING));
    builder
}

/// A request whose head could not be read got its answer from the HTTP library; the attempt is on record.
fn unreadable(gateway: &Arc<Gateway>, peer: IpAddr, error: &hyper::Error) {
    let (kind, status) = match error {
        e if e.is_parse_too_large() => ("head_too_large", 431_i64),
        e if e.is_parse() => ("bad_request", 400),
        _ => return,
    };
    let mut call = Call::new(Arc::clone(gateway), Dialect::Unknown);
    let cause = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    let record = call.record();
    record.set(&field::CLIENT_ADDRESS, peer.to_string());
    record.set(&field::STATUS, status);
    record.set(&field::DIALECT, Dialect::Unknown.name());
    let failure = Failure::new(kind, "client", format!("the request's head could not be read: {cause}"));
    call.leave(&Outcome::Rejected(failure));
}
