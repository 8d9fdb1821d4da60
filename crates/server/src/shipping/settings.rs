//! Where records are sent to, as the configuration says.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::record::Content;
use super::syslog::Form;
use crate::config::Secret;

/// One destination.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// Names its place in the log, so that it keeps it when it moves to another address.
    pub name: String,
    pub to: To,
    /// An SQL condition over the columns of `records`.
    pub condition: Option<String>,
    pub content: Content,
    /// Whether all that the log has is sent to a destination that is new, or only what comes from then on.
    pub from_beginning: bool,
    /// Records of one batch at most.
    pub batch: usize,
    /// How long a record may wait for others.
    pub interval: Duration,
    /// For one batch.
    pub timeout: Duration,
}

/// How it is spoken to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum To {
    Otlp(OtlpPlace),
    Syslog(SyslogPlace),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OtlpPlace {
    /// Where requests are posted to.
    pub url: Url,
    pub headers: Headers,
    pub gzip: bool,
    /// Bytes of a record at most, about.
    pub max: usize,
    pub trust: Trust,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SyslogPlace {
    pub address: Address,
    pub form: Form,
    pub trust: Trust,
}

/// Where syslog messages go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// Host and port.
    Tcp(String, u16),
    Tls(String, u16),
    Udp(String, u16),
    /// A socket for datagrams.
    Unix(PathBuf),
}

/// Headers of each request, each as `Name: value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers {
    pub given: Vec<Secret>,
    /// An environment variable that holds more of them, one a line.
    pub variable: Option<String>,
    /// A file that does.
    pub file: Option<PathBuf>,
}

/// Whom to believe, and how to show who one is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// Certificates of authorities, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl To {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Otlp(_) => "otlp",
            Self::Syslog(_) => "syslog",
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Otlp(place) => place.url.fmt(f),
            Self::Syslog(place) => place.address.fmt(f),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "tcp://{host}:{port}"),
            Self::Tls(host, port) => write!(f, "tls://{host}:{port}"),
            Self::Udp(host, port) => write!(f, "udp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A header as it is written; the error completes a sentence.
pub(crate) fn header(line: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let wrong = "is not `Name: value`";
    let (name, value) = line.split_once(':').ok_or(wrong)?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| wrong)?;
    value.set_sensitive(true);
    Ok((name.trim().parse().map_err(|_| wrong)?, value))
}

impl Headers {
    /// All of them, as they are now.
    pub(crate) fn read(&self) -> anyhow::Result<HeaderMap> {
        let mut all = HeaderMap::new();
        let mut add = |lines: &str, place: &str| {
            for (number, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                // The line itself may be a secret.
                let Ok((name, value)) = header(line) else {
                    bail!("line {} of {place} is not `Name: value`", number + 1)
                };
                all.append(name, value);
            }
            Ok(())
        };
        self.given.iter().try_for_each(|line| add(line.reveal(), "`headers`"))?;
        if let Some(name) = &self.variable {
            let lines = std::env::var(name)
                .with_context(|| format!("the environment variable {name}, which `headers_env` names"))?;
            add(&lines, name)?;
        }
        if let Some(path) = &self.file {
            let place = path.display().to_string();
            let lines =
                std::fs::read_to_string(path).with_context(|| format!("reading {place}, the `headers_file`"))?;
            add(&lines, &place)?;
        }
        Ok(all)
    }
}

impl Trust {
    /// How TLS is spoken.
    pub(super) fn client_config(&self) -> anyhow::Result<ClientConfig> {
        use hyper_rustls::ConfigBuilderExt as _;
        let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
        let builder = builder.with_safe_default_protocol_versions()?;
        let builder = match &self.ca {
            None => builder.with_native_roots().context("the system's certificates of authorities")?,
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).with_context(|| format!("a certificate in {}", path.display()))?;
                }
                builder.with_root_certificates(roots)
            }
        };
        let Some((chain, key)) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let secret = PrivateKeyDer::from_pem_file(key).with_context(|| format!("the key in {}", key.display()))?;
        let both = || format!("{} and {}", chain.display(), key.display());
        builder.with_client_auth_cert(certificates(chain)?, secret).with_context(both)
    }
}

fn certificates(path: &PathBuf) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let read = read.with_context(|| format!("the certificates in {}", path.display()))?;
    if read.is_empty() {
        bail!("{} holds no certificate in PEM form", path.display());
    }
    Ok(read)
}
