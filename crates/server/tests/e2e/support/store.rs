//! An object store over HTTP: moto, a stand-in for S3, or a real one that the environment names, behind a door that can
//! refuse requests, lose answers and stop at a request until the test goes on.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures::TryStreamExt as _;
use http::header::{HeaderName, IF_NONE_MATCH};
use http::{Method, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use object_store::ObjectStore as _;
use object_store::aws::AmazonS3Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::process::Messages;
use super::wait_for;

/// What the door does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Lets it pass.
    Open,
    /// Answers that there is an error, at once.
    Refuse,
    /// Lets it pass without the condition that there is no such object.
    Careless,
    /// Some pass; some are refused; of some the answer is lost.
    Flaky,
    /// Says so before the write of this number, and answers no more from then on.
    StopBefore(u64),
    /// The same when that write is done.
    StopAfter(u64),
}

/// A bucket, and the door to it.
pub(crate) struct Store {
    child: Option<Child>,
    bucket: &'static str,
    pub(crate) address: SocketAddr,
    inside: Arc<Inside>,
    stops: UnboundedReceiver<String>,
}

struct Inside {
    backend: String,
    door: Mutex<Door>,
    writes: AtomicU64,
    seen: AtomicU64,
    stopped: UnboundedSender<String>,
}

impl Store {
    /// With a bucket of moto for this test alone, or a prefix of its own in that of a real store. `None`, with a message, on a
    /// machine without moto.
    pub(crate) async fn start() -> Option<Self> {
        Self::with_bucket("audit", &[]).await
    }

    /// The same with a bucket that is made with these headers.
    pub(crate) async fn with_bucket(bucket: &'static str, headers: &[(&str, &str)]) -> Option<Self> {
        let (child, backend) = match std::env::var("ONRECORD_TEST_S3") {
            Ok(url) => (None, url.trim_start_matches("http://").trim_end_matches('/').to_owned()),
            Err(_) => moto().map(|(child, address)| (Some(child), address))?,
        };
        let (stopped, stops) = unbounded_channel();
        let (writes, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        let inside = Arc::new(Inside { backend, door: Mutex::new(Door::Open), writes, seen, stopped });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().fallback(pass).with_state(Arc::clone(&inside));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let store = Self { child, bucket, address, inside, stops };
        if store.child.is_some() {
            let (status, text) = store.ask(Method::PUT, "", headers).await;
            assert!(status.is_success(), "{status}: {text}");
        }
        Some(store)
    }

    /// The environment names a store that is none of ours.
    pub(crate) fn is_real(&self) -> bool {
        self.child.is_none()
    }

    /// The objects of the log whose names end so.
    pub(crate) async fn objects(&self, end: &str) -> Vec<String> {
        let mut builder = AmazonS3Builder::new().with_bucket_name(self.bucket).with_allow_http(true);
        for (name, value) in self.environment() {
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        let list = builder.build().unwrap().list(Some(&self.prefix().into()));
        let names: Vec<_> = list.map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
        names.into_iter().filter(|name| name.ends_with(end)).collect()
    }

    /// Lets the program find it: the bucket with a prefix of its own, and who may use it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let of = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
        let pairs = [
            ("ONRECORD_STORE", format!("s3://{}/{}", self.bucket, self.prefix())),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", of("AWS_ACCESS_KEY_ID", "test")),
            ("AWS_SECRET_ACCESS_KEY", of("AWS_SECRET_ACCESS_KEY", "test")),
            ("AWS_REGION", of("AWS_REGION", "us-east-1")),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Where in the bucket the table is.
    pub(crate) fn prefix(&self) -> String {
        format!("test-{}/log", self.address.port())
    }

    pub(crate) fn set(&self, door: Door) {
        self.inside.writes.store(0, Ordering::SeqCst);
        *self.inside.door.lock().unwrap() = door;
    }

    /// Waits until the door stops; gives the request.
    pub(crate) async fn stopped(&mut self) -> String {
        tokio::time::timeout(super::PATIENCE, self.stops.recv()).await.expect("a request to stop at").unwrap()
    }

    /// A request of moto, which asks for no signature.
    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(format!("/{}{path}", self.bucket));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.inside.forward(request.body(Body::empty()).unwrap()).await;
        let (parts, body) = answer.into_parts();
        (parts.status, String::from_utf8_lossy(&to_bytes(body, usize::MAX).await.unwrap()).into_owned())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

async fn pass(State(inside): State<Arc<Inside>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return refused() };
    let what = format!("{} {}", parts.method, parts.uri);
    let is_write = parts.method != Method::GET && parts.method != Method::HEAD;
    let door = *inside.door.lock().unwrap();
    let write = if is_write { inside.writes.fetch_add(1, Ordering::SeqCst) } else { 0 };
    let stops = |at: u64| is_write && write >= at;
    let mut request = Request::from_parts(parts, Body::from(body));
    match door {
        Door::Refuse => refused(),
        Door::Careless => {
            request.headers_mut().remove(IF_NONE_MATCH);
            inside.forward(request).await
        }
        // Another one each time, and never for so long that a request that is tried again gets nowhere.
        Door::Flaky => match inside.seen.fetch_add(1, Ordering::SeqCst) % 7 {
            2 => refused(),
            5 => {
                inside.forward(request).await;
                refused()
            }
            _ => inside.forward(request).await,
        },
        Door::StopBefore(at) if stops(at) => inside.stop(what).await,
        Door::StopAfter(at) if stops(at) => {
            if write == at {
                inside.forward(request).await;
            }
            inside.stop(what).await
        }
        Door::Open | Door::StopBefore(_) | Door::StopAfter(_) => inside.forward(request).await,
    }
}

fn refused() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the door is closed").into_response()
}

impl Inside {
    async fn stop(&self, what: String) -> Response {
        drop(self.stopped.send(what));
        std::future::pending().await
    }

    /// With the name by which the client knows the store, which its signature is over.
    async fn forward(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = format!("http://{}{path}", self.backend).parse().unwrap();
        for name in ["connection", "transfer-encoding"] {
            parts.headers.remove(HeaderName::from_static(name));
        }
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        match client.request(http::Request::from_parts(parts, body)).await {
            Ok(answer) => answer.map(Body::new),
            Err(error) => (StatusCode::BAD_GATEWAY, Bytes::from(error.to_string())).into_response(),
        }
    }
}

/// Starts moto on a free port.
fn moto() -> Option<(Child, String)> {
    let python = std::env::var_os("ONRECORD_TEST_PYTHON").map(Into::into).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cache/onrecord/venv/bin/python"))
    })?;
    let has_moto = Command::new(&python).args(["-c", "import moto.server"]).output();
    if !has_moto.is_ok_and(|output| output.status.success()) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no moto: run .ci/clients.sh");
        eprintln!("SKIPPED: moto is not installed; .ci/clients.sh does it");
        return None;
    }
    let mut command = Command::new(&python);
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let messages = Messages::of(child.stderr.take().unwrap());
    let address = wait_for("moto", || {
        let text = messages.so_far();
        assert!(child.try_wait().unwrap().is_none(), "moto ended: {text}");
        Some(text.split("Running on http://").nth(1)?.split_whitespace().next()?.to_owned())
    });
    Some((child, address))
}
