//! A client for the other ends that onrecord speaks to by itself: witnesses, anchors, other logs, time stamping.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Bytes of an answer. The largest is an entry bundle of 256 leaves of at most 4 KiB.
const BODY_MAX: usize = 2 << 20;

/// A place on the web that is spoken to. Redirects are not followed.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    /// For a whole exchange.
    patience: Duration,
    headers: HeaderMap,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Bytes,
    /// When to ask again, if it says so in seconds.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// The body as text; what is no UTF-8 shows as such.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Web {
    /// `base` is an http:// or https:// URL.
    pub(crate) fn new(base: &str, patience: Duration) -> anyhow::Result<Self> {
        let uri = base.parse().with_context(|| format!("{base:?} is no URL"))?;
        Ok(Self::over(crate::gateway::connector(&uri, patience)?, base, patience))
    }

    /// The same, believing whom `tls` says.
    pub(crate) fn trusting(base: &str, patience: Duration, tls: rustls::ClientConfig) -> anyhow::Result<Self> {
        base.parse::<http::Uri>().with_context(|| format!("{base:?} is no URL"))?;
        Ok(Self::over(crate::gateway::connector_trusting(tls, patience), base, patience))
    }

    fn over(connector: HttpsConnector<HttpConnector>, base: &str, patience: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("onrecord/", env!("CARGO_PKG_VERSION"))));
        Self { client, base: base.trim_end_matches('/').to_owned(), patience, headers }
    }

    /// Sends these headers with every request.
    pub(crate) fn with_all(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Sends this header with every request.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> anyhow::Result<Self> {
        let value = value.parse().with_context(|| format!("the value of {name} cannot stand in a header"))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// The URL below which it speaks.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(Method::GET, path, "", Bytes::new()).await
    }

    /// One exchange; `path` follows the base as it is.
    pub(crate) async fn ask(&self, method: Method, path: &str, kind: &str, body: Bytes) -> anyhow::Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(&url);
        if !kind.is_empty() {
            request = request.header(CONTENT_TYPE, kind);
        }
        let mut request = request.body(Full::new(body)).with_context(|| format!("{url:?} is no URL"))?;
        request.headers_mut().extend(self.headers.clone());
        let exchange = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            let body = Limited::new(body, BODY_MAX).collect().await.map_err(|e| anyhow::anyhow!("{e}"))?;
            let retry_after = head.headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
            let retry_after = retry_after.map(Duration::from_secs);
            anyhow::Ok(Answer { status: head.status.as_u16(), body: body.to_bytes(), retry_after })
        };
        let answer = tokio::time::timeout(self.patience, exchange).await;
        answer
            .map_err(|_| anyhow::anyhow!("no answer within {} s", self.patience.as_secs_f64()))
            .flatten()
            .with_context(|| format!("asking {url}"))
    }
}
