//! WebSocket and any other protocol that a connection is upgraded to (RFC 9110 §7.8): passed through in both directions.
//! The record has the size and the digest of each direction, and how it ended.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use onrecord_proof::{Field, Group, field};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use super::body::ReplyBody;
use super::call::{Call, Failure, Outcome};
use super::reply;

/// Of each direction; a WebSocket message of a token is some dozen bytes.
const BUFFER: usize = 8 << 10;

/// A request to speak another protocol on its connection.
#[derive(Clone)]
pub(crate) struct Asked {
    client: OnUpgrade,
    protocol: HeaderValue,
}

impl Asked {
    /// Takes it out of the head of a request, if the head asks for it.
    pub(crate) fn take(parts: &mut http::request::Parts) -> Option<Self> {
        let protocol = parts.headers.get(UPGRADE)?.clone();
        let client = parts.extensions.remove::<OnUpgrade>()?;
        Some(Self { client, protocol })
    }

    /// Says in the head for the next hop, and in the record, what is asked for.
    pub(crate) fn put(&self, headers: &mut HeaderMap, call: &mut Call) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
        let protocol = String::from_utf8_lossy(self.protocol.as_bytes()).into_owned();
        call.record().set_named(Group::Context, "onrecord.upgrade", protocol);
    }
}

/// The two connections that become one.
pub(crate) struct Ends {
    client: OnUpgrade,
    upstream: OnUpgrade,
}

impl Ends {
    /// Both ends, if the model server has agreed to what was asked for.
    pub(crate) fn of(asked: Asked, parts: &mut http::response::Parts) -> Option<Self> {
        let upstream = parts.extensions.remove::<OnUpgrade>();
        let upstream = upstream.filter(|_| parts.status == StatusCode::SWITCHING_PROTOCOLS)?;
        Some(Self { client: asked.client, upstream })
    }
}

/// Answers the client that its connection speaks another protocol from now on, and passes on what is spoken. At most
/// `patience` may go by without a byte in either direction.
pub(crate) fn open(
    tunnels: &TaskTracker,
    mut call: Call,
    parts: http::response::Parts,
    Ends { client, upstream }: Ends,
    patience: Duration,
    permit: OwnedSemaphorePermit,
) -> Response<ReplyBody> {
    let (connection, protocol) = (parts.headers.get(CONNECTION).cloned(), parts.headers.get(UPGRADE).cloned());
    let mut response = Response::from_parts(parts, reply::full(Bytes::new()));
    super::headers::for_client(response.headers_mut());
    for (name, value) in [(CONNECTION, connection), (UPGRADE, protocol)] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    call.pass_through();
    let mut tunnel = Tunnel { call, up: Flow::default(), down: Flow::default() };
    tunnels.spawn(async move {
        let _permit = permit;
        let outcome = match tokio::try_join!(client, upstream) {
            Ok((client, upstream)) => tunnel.pass(client, upstream, patience).await,
            Err(error) => failed("upgrade_failed", "gateway", format!("the connection was not handed over: {error}")),
        };
        tunnel.measure();
        tunnel.call.leave(&outcome);
    });
    response
}

fn failed(kind: &'static str, stage: &'static str, message: String) -> Outcome {
    Outcome::UpstreamError(Failure::new(kind, stage, message))
}

/// What is known of one direction.
#[derive(Default)]
struct Flow {
    size: i64,
    hash: Sha256,
}

impl Flow {
    fn record(&self, call: &mut Call, size: &Field, digest: &Field) {
        call.record().set(size, self.size);
        call.record().set(digest, <[u8; 32]>::from(self.hash.clone().finalize()));
    }
}

/// A call that has become a tunnel. One that is dropped, when the program stops say, still has its sizes on record.
struct Tunnel {
    call: Call,
    up: Flow,
    down: Flow,
}

impl Tunnel {
    async fn pass(&mut self, client: Upgraded, upstream: Upgraded, patience: Duration) -> Outcome {
        let (from_client, to_client) = split(TokioIo::new(client));
        let (from_upstream, to_upstream) = split(TokioIo::new(upstream));
        let moved = std::sync::Mutex::new(Instant::now());
        let client = |_| Broken::Client;
        let up = pass((from_client, client), (to_upstream, Broken::Upstream), &mut self.up, &moved);
        let down = pass((from_upstream, Broken::Upstream), (to_client, client), &mut self.down, &moved);
        let both = async { tokio::try_join!(up, down) };
        tokio::select! {
            ended = both => match ended {
                Ok(_) => Outcome::Completed,
                Err(Broken::Client) => Outcome::ClientDisconnected,
                Err(Broken::Upstream(error)) => {
                    failed("tunnel_closed", "stream", format!("the model server broke the connection off: {error}"))
                }
            },
            () = idle(&moved, patience) => {
                failed("timeout", "stream", format!("nothing was said in either direction for {} s", patience.as_secs()))
            }
        }
    }

    fn measure(&mut self) {
        self.up.record(&mut self.call, &field::INPUT_SIZE, &field::INPUT_SHA256);
        self.down.record(&mut self.call, &field::OUTPUT_SIZE, &field::OUTPUT_SHA256);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // The call is dropped after this, and sends itself if it has not ended.
        self.measure();
    }
}

/// Who broke a tunnel off.
enum Broken {
    Client,
    Upstream(std::io::Error),
}

/// Passes one direction on to its end; each side comes with what its failure means. Backpressure is that of the sockets:
/// nothing is read before the last piece is gone.
async fn pass(
    (from, from_broke): (impl AsyncRead, impl Fn(std::io::Error) -> Broken),
    (to, to_broke): (impl AsyncWrite, impl Fn(std::io::Error) -> Broken),
    flow: &mut Flow,
    moved: &std::sync::Mutex<Instant>,
) -> Result<(), Broken> {
    let (mut from, mut to) = (pin!(from), pin!(to));
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await.map_err(&from_broke)?;
        if read == 0 {
            // The other direction may go on; one that is closed already needs no closing.
            let _ = to.shutdown().await;
            return Ok(());
        }
        *moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
        flow.size += i64::try_from(read).unwrap_or(i64::MAX);
        flow.hash.update(&buffer[..read]);
        to.write_all(&buffer[..read]).await.map_err(&to_broke)?;
        to.flush().await.map_err(&to_broke)?;
    }
}

/// Returns once nothing has moved for `patience`.
async fn idle(moved: &std::sync::Mutex<Instant>, patience: Duration) {
    loop {
        let until = *moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner) + patience;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}
