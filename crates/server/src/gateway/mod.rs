//! The gateway: stands in front of a model server, passes every call through and puts it on record.
//!
//! `serve` accepts connections and gives them to `lanes`, `forward` takes one request through, `upstream` is the way to the
//! model server, `call` is the record that a request becomes, `body` lets the answer flow while it is recorded and holds its
//! end until the record is durable.

mod body;
mod call;
mod forward;
mod gap;
mod headers;
mod lanes;
mod reply;
mod serve;
mod upstream;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use onrecord_capture::Limits;
use onrecord_ledger::Ledger;
use tokio::sync::Semaphore;

use crate::auth::Tokens;

pub(crate) use lanes::Lanes;
pub(crate) use serve::serve;

/// What to do with a call that cannot be put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLogFailure {
    /// Answer 503 before the model is called.
    Refuse,
    /// Pass it through, and say later how many there were.
    Forward,
}

/// The model server.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// Its name in the records.
    pub name: String,
    /// Its base URL.
    pub url: Uri,
    /// Replaces the client's `Authorization`.
    pub key: Option<HeaderValue>,
}

/// How the gateway behaves.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub upstream: Upstream,
    pub limits: Limits,
    /// Bytes of a request's body.
    pub max_request_body: u64,
    /// Bytes of a request's head.
    pub max_header_size: usize,
    /// Calls at a time.
    pub max_in_flight: usize,
    pub connect_timeout: Duration,
    /// Without a byte from the model server.
    pub response_timeout: Duration,
    /// Without a byte from the client while a request is expected.
    pub client_timeout: Duration,
    /// How long running calls may go on after a shutdown began.
    pub shutdown_grace: Duration,
    pub on_log_failure: OnLogFailure,
    /// An answer does not end before its record is durable.
    pub wait_for_commit: bool,
}

/// The gateway in front of one model server.
pub(crate) struct Gateway {
    ledger: Arc<Ledger>,
    tokens: Arc<Tokens>,
    settings: Settings,
    limits: Limits,
    host: HeaderValue,
    connector: HttpsConnector<HttpConnector>,
    in_flight: Arc<Semaphore>,
    gap: gap::Gap,
}

impl Gateway {
    /// A gateway that records in `ledger`. The upstream's URL has a host.
    pub(crate) fn new(ledger: Arc<Ledger>, tokens: Arc<Tokens>, settings: Settings) -> anyhow::Result<Self> {
        let authority = settings.upstream.url.authority();
        let host = authority.ok_or_else(|| anyhow::anyhow!("the upstream {} has no host", settings.upstream.url))?;
        let host = HeaderValue::from_str(host.as_str().rsplit('@').next().unwrap_or_default())?;
        Ok(Self {
            connector: connector(&settings)?,
            in_flight: Arc::new(Semaphore::new(settings.max_in_flight)),
            limits: settings.limits,
            gap: gap::Gap::default(),
            ledger,
            tokens,
            settings,
            host,
        })
    }
}

fn connector(settings: &Settings) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(settings.connect_timeout));
    let https = hyper_rustls::HttpsConnectorBuilder::new();
    let https = if settings.upstream.url.scheme_str() == Some("https") {
        https.with_native_roots()?
    } else {
        // The system's certificates are not needed, and may not be there.
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
        let config = config.with_safe_default_protocol_versions()?;
        https.with_tls_config(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
    };
    Ok(https.https_or_http().enable_all_versions().wrap_connector(http))
}
