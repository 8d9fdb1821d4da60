//! Handing a batch over, and what comes of it.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use http::header::{CONTENT_ENCODING, HeaderValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use rustls::ClientConfig;

use super::otlp;
use super::receiver::Receiver;
use super::record::{Outgoing, cut};
use super::settings::{OtlpPlace, To};
use crate::ingest::Problem;
use crate::web::{Answer, Web};

/// Bytes of a destination's words that are passed on.
const WORDS: usize = 300;

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It may be another time, after this long if the destination says so.
    #[error("{0}")]
    Later(String, Option<Duration>),
    /// It will not be before somebody changes something.
    #[error("{0}")]
    Setup(String),
    /// These records will never be.
    #[error("{0}")]
    Refused(String),
}

/// A batch that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// So many of its records were not; it does not say which.
    pub rejected: u64,
    pub words: String,
}

/// A destination as it is spoken to.
#[derive(Debug)]
pub(super) enum Target {
    Otlp(Box<Collector>),
    Syslog(Box<Receiver>),
}

/// A receiver of OTLP over HTTP.
#[derive(Debug)]
pub(super) struct Collector {
    web: Web,
    gzip: bool,
    max: usize,
    origin: String,
}

impl Target {
    pub(super) fn new(to: &To, timeout: Duration, origin: &str) -> anyhow::Result<Self> {
        Ok(match to {
            To::Otlp(place) => Self::Otlp(Box::new(Collector::new(place, timeout, origin)?)),
            To::Syslog(place) => Self::Syslog(Box::new(Receiver::new(place, timeout)?)),
        })
    }

    pub(super) async fn send(&self, records: &[Outgoing]) -> Result<Taken, Failure> {
        match self {
            Self::Otlp(collector) => collector.send(records).await,
            Self::Syslog(receiver) => receiver.send(records).await.map(|()| Taken::default()),
        }
    }

    /// Whether it answers for what it took. Else it is in doubt, once the connection was lost, whether it has kept that.
    pub(super) const fn answers(&self) -> bool {
        matches!(self, Self::Otlp(_))
    }
}

impl Collector {
    fn new(place: &OtlpPlace, timeout: Duration, origin: &str) -> anyhow::Result<Self> {
        let OtlpPlace { url, headers, gzip, max, trust } = place;
        let mut all = headers.read()?;
        if *gzip {
            all.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let tls = if url.scheme() == "https" { trust.client_config()? } else { no_tls()? };
        let web = Web::trusting(url.as_str(), timeout, tls)?.with_all(all);
        Ok(Self { web, gzip: *gzip, max: *max, origin: origin.to_owned() })
    }

    async fn send(&self, records: &[Outgoing]) -> Result<Taken, Failure> {
        let body = otlp::request(records, &self.origin, self.max).encode_to_vec();
        let body = if self.gzip { packed(&body).map_err(|e| Failure::Later(e.to_string(), None))? } else { body };
        let answer = self.web.ask(Method::POST, "", "application/x-protobuf", Bytes::from(body)).await;
        understand(&answer.map_err(|error| Failure::Later(format!("{error:#}"), None))?)
    }
}

/// Nothing is encrypted, so nobody has to be believed.
fn no_tls() -> anyhow::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

fn packed(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(body)?;
    packer.finish()
}

/// What an answer means (OTLP specification, OTLP/HTTP Response). It calls every status of 400 and above final but 429, 502,
/// 503 and 504; here only those are that are about the records themselves, since nothing is dropped for a token that ran out.
fn understand(answer: &Answer) -> Result<Taken, Failure> {
    let status = answer.status;
    if (200..300).contains(&status) {
        let said = ExportLogsServiceResponse::decode(answer.body.clone()).unwrap_or_default().partial_success;
        let taken = |said: opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess| Taken {
            rejected: u64::try_from(said.rejected_log_records).unwrap_or(0),
            words: cut(&said.error_message, WORDS).to_owned(),
        };
        return Ok(said.map(taken).unwrap_or_default());
    }
    let why = format!("it answered {status}: {}", words(&answer.body));
    Err(match status {
        400 | 413 | 422 => Failure::Refused(why),
        408 | 425 | 429 | 500.. => Failure::Later(why, answer.retry_after),
        _ => Failure::Setup(why),
    })
}

/// The message of `google.rpc.Status`, or the text that came instead.
fn words(body: &Bytes) -> String {
    let text = String::from_utf8_lossy(body);
    let words = match Problem::decode(body.clone()) {
        Ok(problem) if !problem.message.is_empty() => problem.message,
        _ => text.trim().to_owned(),
    };
    cut(&words, WORDS).replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_to_try_again() {
        let ask = |status, body: &[u8]| {
            let retry_after = Some(Duration::from_secs(7));
            understand(&Answer { status, body: Bytes::copy_from_slice(body), retry_after })
        };
        assert_eq!(ask(200, b""), Ok(Taken::default()));
        // partial_success { rejected_log_records: 2, error_message: "no" }
        let partial = Taken { rejected: 2, words: "no".into() };
        assert_eq!(ask(200, b"\x0a\x06\x08\x02\x12\x02no"), Ok(partial));
        let later = |status| Failure::Later(format!("it answered {status}: busy"), Some(Duration::from_secs(7)));
        for status in [429, 500, 502, 503, 504] {
            assert_eq!(ask(status, b"busy"), Err(later(status)));
        }
        for status in [301, 401, 403, 404, 405, 415] {
            assert_eq!(ask(status, b"who?"), Err(Failure::Setup(format!("it answered {status}: who?"))));
        }
        for status in [400, 413, 422] {
            let refused = Failure::Refused(format!("it answered {status}: bad"));
            assert_eq!(ask(status, b"\x08\x03\x12\x03bad"), Err(refused));
        }
    }
}
