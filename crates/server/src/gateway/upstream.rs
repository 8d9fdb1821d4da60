//! The way to the model server: connections that are kept between calls, and what goes up and comes down on them.
//!
//! An HTTP/1.1 connection is moved by whoever uses it: polling an answer polls its connection. So a call is one task from
//! the client's request to the end of the answer, and a client that goes away takes the connection with it, by which the
//! model server learns to stop. HTTP/2, which only TLS brings, has one connection for all calls and a task of its own.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::UPGRADE;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::Service as _;

use super::body::UpBody;

/// llama-server closes idle connections after 5 s, others later.
const IDLE_MAX: Duration = Duration::from_secs(4);
/// How long a connection rests after an answer whose length was not stated. llama-server says that it keeps the connection and
/// closes it some microseconds after the end of a stream, later on a busy machine; a request that is on its way by then is lost.
const REST: Duration = Duration::from_millis(50);
/// How often an HTTP/2 connection is asked whether the model server is still there, and how long the answer may take. Nothing
/// else tells of one that a router between the two has forgotten.
const PING: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 20_000 });
const PONG: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 10_000 });

type Connector = HttpsConnector<HttpConnector>;
type Connection = http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, UpBody>;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// There is no connection.
    #[error("no connection")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke, or the request's body did.
    #[error("the exchange broke off")]
    Exchange(#[source] hyper::Error),
}

/// The connections of one lane to the model server.
pub(crate) struct Pool {
    connector: Connector,
    url: Uri,
    /// HTTP/1.1 connections that nobody uses, the one that was used last at the end.
    idle: Mutex<Vec<Idle>>,
    /// The HTTP/2 connection, if the model server speaks that.
    shared: Mutex<Option<http2::SendRequest<UpBody>>>,
}

/// An HTTP/1.1 connection; some KiB, so it stays where it is while it is handed on.
struct Line {
    sender: http1::SendRequest<UpBody>,
    /// None once it has ended.
    connection: Option<Connection>,
}

/// A connection that nobody uses.
struct Idle {
    line: Box<Line>,
    since: Instant,
    /// Not before it has rested.
    rests: bool,
}

enum Connected {
    Line(Box<Line>),
    Shared(http2::SendRequest<UpBody>),
}

/// An answer whose body is still to come.
pub(crate) struct Answer {
    pub parts: http::response::Parts,
    pub body: AnswerBody,
    /// How long it took to connect; zero if a connection was there.
    pub connecting: Duration,
}

/// The body of an answer, and the connection on which it comes.
pub(crate) struct AnswerBody {
    incoming: Incoming,
    line: Option<Box<Line>>,
    pool: Arc<Pool>,
    /// Its head says how long it is.
    is_sized: bool,
}

impl Line {
    /// Moves bytes in both directions.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // Whoever waits for something on it learns so by its end.
            self.connection = None;
        }
    }

    /// True if it can take a request, as far as this side knows.
    fn is_free(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }

    async fn exchange(
        &mut self,
        mut request: Request<UpBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<UpBody>>> {
        in_origin_form(&mut request);
        let mut response = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            self.drive(cx);
            response.as_mut().poll(cx)
        })
        .await
    }
}

impl Pool {
    pub(crate) const fn new(connector: Connector, url: Uri) -> Self {
        Self { connector, url, idle: Mutex::new(Vec::new()), shared: Mutex::new(None) }
    }

    /// Sends a request and gives the head of its answer. One that was not sent at all, because the model server closed
    /// the connection meanwhile, is sent again on another.
    pub(crate) async fn send(self: &Arc<Self>, mut request: Request<UpBody>) -> Result<Answer, SendError> {
        if request.headers().contains_key(UPGRADE) {
            return Box::pin(self.upgrade(request)).await;
        }
        let uri = request.uri().clone();
        loop {
            let (connected, connecting) = if let Some(connected) = self.connected() {
                (connected, Duration::ZERO)
            } else {
                let start = Instant::now();
                // Rare, and boxed: every call would carry the 7 KiB of a handshake along.
                (Box::pin(self.connect()).await?, start.elapsed())
            };
            let (sent, line) = match connected {
                Connected::Line(mut line) => (line.exchange(request).await, Some(line)),
                Connected::Shared(mut sender) => (sender.try_send_request(request).await, None),
            };
            match sent {
                Ok(response) => return Ok(self.answer(response, line, connecting)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if connecting.is_zero() => {
                        request = unsent;
                        *request.uri_mut() = uri.clone();
                        // If it was this one, it is of no use any more; if not, the next call makes another.
                        lock(&self.shared).take();
                    }
                    _ => return Err(SendError::Exchange(failed.into_error())),
                },
            }
        }
    }

    /// Sends a request to speak another protocol. Its connection serves nothing else, so it has a task of its own, which
    /// ends with it.
    async fn upgrade(self: &Arc<Self>, mut request: Request<UpBody>) -> Result<Answer, SendError> {
        let start = Instant::now();
        let stream = self.open().await?;
        if stream.connected().is_negotiated_h2() {
            return Err(SendError::Connect("it speaks HTTP/2, on which no connection changes its protocol".into()));
        }
        let (mut sender, connection) = http1::handshake(stream).await.map_err(SendError::Exchange)?;
        tokio::spawn(connection.with_upgrades());
        let connecting = start.elapsed();
        in_origin_form(&mut request);
        let response = sender.send_request(request).await.map_err(SendError::Exchange)?;
        Ok(self.answer(response, None, connecting))
    }

    fn answer(self: &Arc<Self>, response: Response<Incoming>, line: Option<Box<Line>>, connecting: Duration) -> Answer {
        let (mut parts, incoming) = response.into_parts();
        // That of this hop, and not of the next one (RFC 9110 §2.5): with 1.0 a client could not tell an answer that breaks
        // off from one that ends.
        parts.version = Version::HTTP_11;
        let is_sized = incoming.size_hint().exact().is_some();
        Answer { parts, body: AnswerBody { incoming, line, pool: Arc::clone(self), is_sized }, connecting }
    }

    async fn open(&self) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, SendError> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await.map_err(SendError::Connect)?;
        connector.call(self.url.clone()).await.map_err(SendError::Connect)
    }

    /// Closes connections that were not used for a while.
    pub(crate) fn prune(&self) {
        lock(&self.idle).retain(|idle| idle.since.elapsed() < IDLE_MAX);
    }

    /// A connection that is open and free.
    fn connected(&self) -> Option<Connected> {
        if let Some(sender) = lock(&self.shared).as_ref().filter(|sender| !sender.is_closed()) {
            return Some(Connected::Shared(sender.clone()));
        }
        loop {
            let Idle { mut line, since, .. } = self.rested()?;
            if since.elapsed() < IDLE_MAX && line.is_free() {
                return Some(Connected::Line(line));
            }
        }
    }

    /// The connection that was used last of those that need not rest any more.
    fn rested(&self) -> Option<Idle> {
        let mut idle = lock(&self.idle);
        let at = idle.iter().rposition(|idle| !idle.rests || idle.since.elapsed() >= REST)?;
        Some(idle.remove(at))
    }

    async fn connect(&self) -> Result<Connected, SendError> {
        let stream = self.open().await?;
        if stream.connected().is_negotiated_h2() {
            let mut two = http2::Builder::new(TokioExecutor::new());
            two.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PONG).keep_alive_while_idle(true);
            let (sender, connection) = two.handshake(stream).await.map_err(SendError::Exchange)?;
            tokio::spawn(connection);
            *lock(&self.shared) = Some(sender.clone());
            return Ok(Connected::Shared(sender));
        }
        let (sender, connection) = http1::handshake(stream).await.map_err(SendError::Exchange)?;
        Ok(Connected::Line(Box::new(Line { sender, connection: Some(connection) })))
    }
}

impl AnswerBody {
    /// The whole answer has come: its connection is free for the next one.
    fn give_back(&mut self) {
        if let Some(mut line) = self.line.take()
            && line.is_free()
        {
            lock(&self.pool.idle).push(Idle { line, since: Instant::now(), rests: !self.is_sized });
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut frame = Pin::new(&mut self.incoming).poll_frame(cx);
        if frame.is_pending()
            && let Some(line) = &mut self.line
        {
            line.drive(cx);
            frame = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        if matches!(frame, Poll::Ready(None)) {
            self.give_back();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Nobody asks an empty body for its end.
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }
}

/// HTTP/1.1 names the host in a header (RFC 9112 §3.2.1).
fn in_origin_form(request: &mut Request<UpBody>) {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = path.into();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use hyper::service::service_fn;
    use rustls::{ClientConfig, RootCertStore, ServerConfig};
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::gateway::{connector, connector_trusting};

    fn request(url: &str) -> Request<UpBody> {
        Request::get(url).body(UpBody::Read(Full::default())).unwrap()
    }

    #[tokio::test]
    async fn an_answer_has_the_version_of_this_hop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let read = stream.read(&mut asked).await.unwrap();
            assert!(asked[..read].starts_with(b"GET /a?b HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nyes").await.unwrap();
        });
        let uri: Uri = url.parse().unwrap();
        let pool = Arc::new(Pool::new(connector(&uri, Duration::from_secs(5)).unwrap(), uri));
        let answer = pool.send(request(&format!("{url}a?b"))).await.unwrap();
        assert_eq!(answer.parts.version, Version::HTTP_11);
        assert_eq!(answer.body.collect().await.unwrap().to_bytes(), "yes");
    }

    /// As llama-server does it: the end of a stream and, in a moment, that of its connection.
    #[tokio::test]
    async fn a_connection_that_is_closed_after_a_stream_loses_no_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in ["transfer-encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n", "content-length: 3\r\n\r\nyes"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut asked = [0; 1024];
                    while stream.read(&mut asked).await.unwrap() > 0 {
                        stream.write_all(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes()).await.unwrap();
                        if answer.contains("chunked") {
                            tokio::time::sleep(REST / 10).await;
                            return;
                        }
                    }
                });
            }
        });
        let uri: Uri = url.parse().unwrap();
        let pool = Arc::new(Pool::new(connector(&uri, Duration::from_secs(5)).unwrap(), uri));
        for is_new in [true, true, false, false] {
            let answer = pool.send(request(&url)).await.unwrap();
            assert_eq!(answer.connecting > Duration::ZERO, is_new);
            assert_eq!(answer.body.collect().await.unwrap().to_bytes(), "yes");
        }
    }

    /// A certificate for `localhost`: what a server serves with it, and what a client that believes it has.
    fn trust() -> (TlsAcceptor, ClientConfig) {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let provider = || Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let mut server = server.with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key).unwrap();
        server.alpn_protocols = vec![b"h2".to_vec()];
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        (Arc::new(server).into(), client.with_root_certificates(roots).with_no_client_auth())
    }

    /// Serves HTTP/2 on a connection until it is told to stop, and then leaves the connection open, as if a router had
    /// forgotten it.
    async fn serve(stream: TcpStream, acceptor: TlsAcceptor, stop: tokio::sync::oneshot::Receiver<()>) {
        let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
        let answer = service_fn(async |_: Request<Incoming>| {
            Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("yes"))))
        });
        let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, answer);
        let mut serving = pin!(serving);
        tokio::select! {
            _ = &mut serving => {}
            _ = stop => std::future::pending::<()>().await,
        }
    }

    #[tokio::test]
    async fn an_http2_connection_that_is_dead_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let (acceptor, client) = trust();
        let pool = Arc::new(Pool::new(connector_trusting(client, Duration::from_secs(5)), url.parse().unwrap()));
        for _ in 0..2 {
            let (stop, stopped) = tokio::sync::oneshot::channel();
            let serving = async { serve(listener.accept().await.unwrap().0, acceptor.clone(), stopped).await };
            let asking = async {
                let answer = pool.send(request(&url)).await.unwrap();
                assert_eq!(answer.body.collect().await.unwrap().to_bytes(), "yes");
                stop.send(()).unwrap();
                while !lock(&pool.shared).as_ref().unwrap().is_closed() {
                    tokio::time::sleep(PING).await;
                }
            };
            tokio::select! {
                () = serving => unreachable!("it is told to stop, and does not end"),
                noticed = tokio::time::timeout(Duration::from_secs(10), asking) => noticed.expect("nobody noticed"),
            }
        }
    }
}
