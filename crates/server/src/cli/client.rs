//! How the command line reaches a log: a server over HTTP, or a folder that nobody has open, through the same API.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt as _;

use crate::api::{self, Access, Api};
use crate::config::Config;
use crate::engine::Engine;
use crate::server;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Speaks HTTP and HTTPS. It is made for the first request: HTTPS needs the certificates of the system, HTTP does not.
#[derive(Debug, Default)]
pub(crate) struct Http(OnceLock<hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>>);

impl Http {
    async fn request(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        let client = if let Some(client) = self.0.get() {
            client
        } else {
            let connector = crate::gateway::connector(request.uri(), CONNECT)?;
            let made = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
            self.0.get_or_init(|| made)
        };
        Ok(client.request(request).await?)
    }
}

/// A log to ask.
pub(crate) enum Client {
    /// A running server.
    Server { http: Box<Http>, base: String, token: Option<String>, purpose: Option<String>, key: Option<PathBuf> },
    /// A folder that this process has opened.
    Folder { router: axum::Router, engine: Arc<Engine>, purpose: Option<String>, key: PathBuf },
}

/// Which log, where it is not that of the data folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remote {
    pub url: Option<String>,
    pub token: Option<String>,
    pub purpose: Option<String>,
}

/// More was asked for than one query may give.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TooMuch(pub String);

/// The file of the key that a log is checked with.
fn public_key(data: &Path) -> PathBuf {
    crate::engine::ledger_dir(data).join("key.pub")
}

fn http() -> Http {
    Http::default()
}

impl Client {
    /// The server that is named, or the one that has the data folder open, or else the folder itself.
    pub(crate) async fn connect(config: &Config, remote: Remote) -> anyhow::Result<Self> {
        let Remote { url, token, purpose } = remote;
        if let Some(url) = url {
            return Ok(Self::Server {
                http: Box::new(http()),
                base: url.trim_end_matches('/').to_owned(),
                token,
                purpose,
                key: None,
            });
        }
        if let Some(contact) = server::contact(&config.data) {
            let base = format!("http://{}", contact.api);
            let key = Some(public_key(&config.data));
            return Ok(Self::Server { http: Box::new(http()), base, token: Some(contact.token), purpose, key });
        }
        Self::open(config, purpose).await
    }

    /// The command that checks a file with the key of this log.
    pub(crate) fn how_to_check(&self, file: &Path) -> String {
        let check = format!("onrecord check {} --key", file.display());
        match self {
            Self::Server { key: Some(key), .. } | Self::Folder { key, .. } => format!("{check} {}", key.display()),
            Self::Server { key: None, .. } => {
                format!("{check} KEY, where KEY is what `onrecord key` prints beside the log")
            }
        }
    }

    async fn open(config: &Config, purpose: Option<String>) -> anyhow::Result<Self> {
        no_log_in(&config.data)?;
        let engine = server::open_when_free(&config.data, server::engine_options(config)?).await?;
        let router = api::router(Api { engine: Arc::clone(&engine), access: Access::Local, public_log: false });
        Ok(Self::Folder { router, engine, purpose, key: public_key(&config.data) })
    }

    /// What a path answers; an error if it is one.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Response<Body>> {
        self.ask(Method::GET, path, None, None).await
    }

    /// What a path answers, as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        parsed(self.get(path).await?).await
    }

    /// What a path answers to a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value, accept: Option<&str>) -> anyhow::Result<Response<Body>> {
        self.ask(Method::POST, path, Some(body.to_string()), accept).await
    }

    /// What a path answers to a JSON body, as JSON.
    pub(crate) async fn post_json<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        let body = serde_json::to_string(body)?;
        parsed(self.ask(Method::POST, path, Some(body), None).await?).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        accept: Option<&str>,
    ) -> anyhow::Result<Response<Body>> {
        let (base, token, purpose) = match self {
            Self::Server { base, token, purpose, .. } => (base.as_str(), token.as_deref(), purpose),
            Self::Folder { purpose, .. } => ("", None, purpose),
        };
        let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
        if let Some(token) = token {
            request = request.header("x-onrecord-token", token);
        }
        if let Some(purpose) = purpose {
            request = request.header("x-onrecord-purpose", purpose);
        }
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::from(body.unwrap_or_default()))?;
        let response = match self {
            Self::Server { http, base, .. } => {
                let answer =
                    http.request(request).await.with_context(|| format!("the server at {base} cannot be reached"))?;
                answer.map(Body::new)
            }
            Self::Folder { router, .. } => {
                let Ok(answer) = router.clone().oneshot(request.map(Body::new)).await;
                answer
            }
        };
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// Closes a folder again.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Server { .. } => Ok(()),
            Self::Folder { engine, .. } => engine.close().await,
        }
    }
}

/// A folder without a log is a wrong path far more often than a log to be created.
pub(crate) fn no_log_in(data: &Path) -> anyhow::Result<()> {
    if !crate::engine::ledger_dir(data).exists() {
        bail!(
            "there is no log in {}; name its folder with --data, or start one with `onrecord demo` or `onrecord serve`",
            data.display()
        );
    }
    Ok(())
}

async fn parsed<T: DeserializeOwned>(response: Response<Body>) -> anyhow::Result<T> {
    let body = response.into_body().collect().await?.to_bytes();
    serde_json::from_slice(&body)
        .context("the server's answer is not what this program expects; are they of one version?")
}

async fn refused(response: Response<Body>) -> anyhow::Error {
    let status = response.status();
    let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let message = serde_json::from_slice::<Value>(&body)
        .ok()
        .and_then(|body| Some(body["error"]["message"].as_str()?.to_owned()));
    match message {
        Some(message) if status == StatusCode::UNAUTHORIZED => anyhow::anyhow!("{message} (--token or ONRECORD_TOKEN)"),
        Some(message) if status == StatusCode::UNPROCESSABLE_ENTITY => TooMuch(message).into(),
        Some(message) => anyhow::anyhow!(message),
        None => anyhow::anyhow!("the server answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// What comes first is the record of a TLS handshake (RFC 8446 §5.1), or a request.
    #[tokio::test]
    async fn a_server_is_spoken_to_over_tls_if_its_address_says_so() {
        for (scheme, first) in [("https", 22), ("http", b'G')] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let base = format!("{scheme}://{}", listener.local_addr().unwrap());
            let client = Client::Server { http: Box::new(http()), base, token: None, purpose: None, key: None };
            let accept = async { listener.accept().await.unwrap().0.read_u8().await.unwrap() };
            let both = async { tokio::join!(accept, client.get("/health")) };
            let (byte, refused) = tokio::time::timeout(CONNECT, both).await.expect("the server is spoken to");
            assert_eq!(byte, first, "{scheme}");
            assert!(refused.unwrap_err().to_string().contains("cannot be reached"), "nobody answers");
        }
    }
}
