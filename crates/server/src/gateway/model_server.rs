//! What the gateway knows of one model server.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;

use super::decisions::Decisions;
use crate::config::ServerKind;
use crate::probe::{Asking, Gauge, InForce, Prompts};

/// A model server as it is configured.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamSettings {
    /// Its name in the records.
    pub name: String,
    /// Its base URL.
    pub url: Uri,
    /// Replaces the client's `Authorization`.
    pub key: Option<HeaderValue>,
    /// Which server it is, where the configuration says so.
    pub kind: ServerKind,
    /// How many alternatives for each token to ask for, whatever the client asks for; 0 asks for nothing.
    pub decisions: u8,
    /// The names of the models that it serves.
    pub models: Vec<Glob>,
    /// Calls whose path begins with this go to it, without it. Starts with `/` and does not end with one.
    pub path_prefix: Option<String>,
}

/// One model server: how it is configured, and what is found out about it while it is called. There is one for each
/// entry of the configuration, shared by all lanes; a call holds the one that it goes to from when it is routed
/// ([`Call::upstream`](super::call::Call::upstream)). Whatever belongs to a model server and not to a call has its place
/// here. The connections to it are not here: each lane has a pool of its own ([`Lane::pool`](super::lanes::Lane::pool)).
pub(crate) struct Upstream {
    /// Its place among all, from 0.
    pub number: usize,
    pub settings: UpstreamSettings,
    /// Its host and port as its own clients would name them.
    pub host: HeaderValue,
    pub connector: HttpsConnector<HttpConnector>,
    /// What it runs.
    pub in_force: Arc<InForce>,
    /// Who asks it what its models read, if somebody does.
    pub prompts: OnceLock<Prompts>,
    /// How busy it is.
    pub gauge: Arc<Gauge>,
    pub(super) decisions: Decisions,
}

impl Upstream {
    /// The model server of these settings, whose URL has a host. Connecting may take `connect_timeout`.
    pub(crate) fn new(number: usize, settings: UpstreamSettings, connect_timeout: Duration) -> anyhow::Result<Self> {
        let authority = settings.url.authority();
        let host = authority.ok_or_else(|| anyhow::anyhow!("the upstream {} has no host", settings.url))?;
        let host = HeaderValue::from_str(host.as_str().rsplit('@').next().unwrap_or_default())?;
        let connector = connector(&settings.url, connect_timeout)?;
        let decisions = Decisions::new(usize::from(settings.decisions));
        Ok(Self {
            number,
            settings,
            host,
            connector,
            in_force: Arc::default(),
            prompts: OnceLock::new(),
            gauge: Arc::default(),
            decisions,
        })
    }

    /// The URL there of a request's: its base with the request's path and query behind it.
    pub(crate) fn target(&self, uri: &Uri) -> Result<Uri, http::uri::InvalidUriParts> {
        let path = self.path(uri.path_and_query().map_or("/", PathAndQuery::as_str));
        let base = &self.settings.url;
        let prefix = base.path().trim_end_matches('/');
        let mut parts = base.clone().into_parts();
        let joined = if prefix.is_empty() && path.starts_with('/') {
            path.parse()
        } else {
            let slash = if path.starts_with('/') || !prefix.is_empty() { "" } else { "/" };
            format!("{prefix}{slash}{path}").parse()
        };
        parts.path_and_query = joined.ok();
        Uri::from_parts(parts)
    }

    /// A way to it for questions that are no calls.
    pub(crate) fn asking(&self) -> Asking {
        Asking::new(self.connector.clone(), self.settings.url.clone(), self.settings.key.clone())
    }

    /// The path of a call at this model server, without what brought it here.
    pub(crate) fn path<'p>(&self, path: &'p str) -> &'p str {
        let prefix = self.settings.path_prefix.as_deref();
        prefix.and_then(|prefix| below(path, prefix)).unwrap_or(path)
    }

    /// True if one of its patterns is the model's name.
    pub(crate) fn serves(&self, model: &str) -> bool {
        self.settings.models.iter().any(|pattern| pattern.matches(model))
    }
}

/// What follows `prefix` in `path`, which is empty or starts with `/` or `?`. None if it does not begin with it.
pub(crate) fn below<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// Connects to a server over HTTP or, with the certificates of the system, HTTPS.
pub(crate) fn connector(url: &Uri, connect_timeout: Duration) -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let https = hyper_rustls::HttpsConnectorBuilder::new();
    let https = if url.scheme_str() == Some("https") {
        // Named, since the program has another one too, of a library: rustls would not choose, and panic.
        https.with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
    } else {
        // The system's certificates are not needed, and may not be there.
        let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
        let config = config.with_safe_default_protocol_versions()?;
        https.with_tls_config(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
    };
    Ok(https.https_or_http().enable_all_versions().wrap_connector(tcp(connect_timeout)))
}

/// The same, believing whom `tls` says.
pub(crate) fn connector_trusting(
    tls: rustls::ClientConfig,
    connect_timeout: Duration,
) -> HttpsConnector<HttpConnector> {
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls);
    https.https_or_http().enable_all_versions().wrap_connector(tcp(connect_timeout))
}

fn tcp(connect_timeout: Duration) -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(connect_timeout));
    http
}

/// A pattern for names, in which `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(String);

impl Glob {
    pub(crate) fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// True if all of `name` is as the pattern says.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // The last star that was passed, and the first byte of the name that it does not stand for. Only the last one
        // needs to give way, so that the time is bounded by the product of the lengths.
        let mut star = None;
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(b'?') => (p, n) = (p + 1, n + char_len(name[n])),
                Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
                _ => {
                    let Some((at, end)) = star else { return false };
                    star = Some((at, end + 1));
                    (p, n) = (at + 1, end + 1);
                }
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

/// The bytes of the UTF-8 character that begins with this one.
const fn char_len(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expect) in [
            ("qwen3:8b", "qwen3:8b", true),
            ("qwen3:8b", "qwen3:8b-q4", false),
            ("qwen3*", "qwen3", true),
            ("qwen3*", "qwen2.5", false),
            ("*/Qwen*-Instruct", "org/Qwen3-1.7B-Instruct", true),
            ("*/Qwen*-Instruct", "org/Qwen3-Instruct-GGUF", false),
            ("*a*b", "aab", true),
            ("*a*b", "aba", false),
            ("*", "", true),
            ("?", "", false),
            ("??", "é1", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expect, "{pattern} {name}");
        }
        assert!(!Glob::new("*a".repeat(40)).matches(&"a".repeat(39)));
    }

    /// With the system's certificates, which have to be there.
    #[test]
    fn https_has_a_provider_of_cryptography() {
        for url in ["https://example.org", "http://example.org"] {
            assert!(connector(&url.parse().unwrap(), Duration::from_secs(1)).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        assert_eq!(below("/gpu/v1/models", "/gpu"), Some("/v1/models"));
        assert_eq!(below("/gpu", "/gpu"), Some(""));
        assert_eq!(below("/gpu?x", "/gpu"), Some("?x"));
        assert_eq!(below("/gpu2/v1", "/gpu"), None);
        assert_eq!(below("/v1", "/gpu"), None);
    }
}
