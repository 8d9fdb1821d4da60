//! The way of a probe to the model server: its own client, past the gateway, so that no probe is a call.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use onrecord_capture::serving::{Ask, Told};

/// For one answer; these requests compute nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer. Chat templates and licences are the longest parts of what there is.
const BODY_MAX: usize = 4 << 20;

/// How a model server is asked.
pub(crate) struct Asking {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    key: Option<HeaderValue>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// Nobody listens there.
    #[error("{0}")]
    Gone(String),
    /// It cannot be reached, which is no answer to any other question either.
    #[error("{0}")]
    Unreachable(String),
    /// It does not know this question, or must not answer it.
    #[error("status {0}")]
    Status(StatusCode),
}

impl Asking {
    pub(crate) fn new(connector: HttpsConnector<HttpConnector>, url: Uri, key: Option<HeaderValue>) -> Self {
        // A connection that is kept would hold back a model server that wants to stop.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { client, url, key }
    }

    /// Where the server is, if that is a place on this machine: what the system's tables of processes can tell about.
    pub(super) fn local_address(&self) -> Option<std::net::SocketAddr> {
        let host = self.url.host()?.trim_matches(['[', ']']);
        let host = if host == "localhost" { "127.0.0.1" } else { host };
        let ip = host.parse::<std::net::IpAddr>().ok().filter(std::net::IpAddr::is_loopback)?;
        let port = self.url.port_u16().unwrap_or(if self.url.scheme_str() == Some("https") { 443 } else { 80 });
        Some((ip, port).into())
    }

    pub(super) async fn ask(&self, ask: &Ask) -> Result<Told, NoAnswer> {
        let asked = tokio::time::timeout(PATIENCE, self.exchange(ask));
        asked.await.unwrap_or_else(|_| Err(unreachable(format!("no answer within {} s", PATIENCE.as_secs()))))
    }

    async fn exchange(&self, ask: &Ask) -> Result<Told, NoAnswer> {
        let base = self.url.to_string();
        let request = Request::builder().uri(format!("{}{}", base.trim_end_matches('/'), ask.path));
        let mut request = request.header(USER_AGENT, concat!("onrecord/", env!("CARGO_PKG_VERSION"), " probe"));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key);
        }
        let request = match &ask.body {
            None => request.body(Full::default()),
            Some(body) => {
                request.method("POST").header(CONTENT_TYPE, "application/json").body(Full::from(body.clone()))
            }
        };
        let response = self.client.request(request.map_err(unreachable)?).await.map_err(|error| failed(&error))?;
        if response.status() != StatusCode::OK {
            return Err(NoAnswer::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(unreachable)?;
        Ok(Told { ask: ask.clone(), body: body.to_bytes().to_vec() })
    }
}

fn unreachable(problem: impl std::fmt::Display) -> NoAnswer {
    NoAnswer::Unreachable(problem.to_string())
}

fn failed(error: &hyper_util::client::legacy::Error) -> NoAnswer {
    if error.is_connect() { NoAnswer::Gone(root(error)) } else { unreachable(root(error)) }
}

fn root(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root)
}
