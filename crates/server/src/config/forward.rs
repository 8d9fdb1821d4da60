//! `[[forward]]`: what its keys can be, and which go together.

use std::path::{Path, PathBuf};

use url::Url;

use super::keys::Forward;
use super::raw::Raw;
use super::size::ByteSize;
use super::value::{Secret, Setting, as_text, choose};
use crate::shipping::{
    Address, Content, FACILITIES, Form, Headers, OtlpPlace, Settings, SyslogPlace, To, Trust, header,
};

/// How a destination is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardTo {
    Otlp,
    Syslog,
}

/// Where a new destination begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    End,
    Beginning,
}

/// The number of a facility.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facility(u8);

/// An SQL condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition(String);

/// Headers, which may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderLines(Vec<Secret>);

/// Where syslog is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyslogAddress(Address);

/// The largest record where nothing else is said, in bytes. Receivers of syslog need not take more (RFC 5425 §4.3.1).
const SYSLOG_MAX: usize = 8 << 10;
/// Four of these fill a batch.
const OTLP_MAX: usize = 1 << 20;
/// What a datagram holds, less what is around it.
const DATAGRAM_MAX: usize = 65_000;

impl Setting for ForwardTo {
    fn read(value: &toml::Value) -> Result<Self, String> {
        choose(value, &[("otlp", Self::Otlp), ("syslog", Self::Syslog)])
    }
}

impl Setting for From {
    fn read(value: &toml::Value) -> Result<Self, String> {
        choose(value, &[("end", Self::End), ("beginning", Self::Beginning)])
    }
}

impl Setting for Content {
    fn read(value: &toml::Value) -> Result<Self, String> {
        choose(value, &[("metadata", Self::Metadata), ("all", Self::All)])
    }
}

impl Setting for Facility {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let numbered: Vec<_> = FACILITIES.into_iter().zip((0..).map(Self)).collect();
        choose(value, &numbered)
    }
}

impl Setting for Condition {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let text = as_text(value)?;
        onrecord_lake::check_condition(text).map_err(|error| format!("cannot be used: {error}"))?;
        Ok(Self(text.to_owned()))
    }
}

impl Setting for HeaderLines {
    const SECRET: bool = true;

    fn read(value: &toml::Value) -> Result<Self, String> {
        let lines = Vec::<String>::read(value)?;
        lines.iter().try_for_each(|line| header(line).map(drop)).map_err(|_| "must be a list of `Name: value`")?;
        Ok(Self(lines.into_iter().map(Secret::of).collect()))
    }
}

impl Setting for SyslogAddress {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let wrong = "must be tcp://host:port, tls://host:port, udp://host:port or unix:///path";
        let text = as_text(value)?;
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(Self(Address::Unix(path.into()))) } else { Err(wrong.to_owned()) };
        }
        let url = Url::parse(text).map_err(|_| wrong)?;
        let bare = url.username().is_empty() && matches!(url.path(), "" | "/") && url.query().is_none();
        let (host, port) = url.host_str().zip(url.port()).filter(|_| bare).ok_or(wrong)?;
        let host = host.to_owned();
        match url.scheme() {
            "tcp" => Ok(Self(Address::Tcp(host, port))),
            "tls" => Ok(Self(Address::Tls(host, port))),
            "udp" => Ok(Self(Address::Udp(host, port))),
            _ => Err(wrong.to_owned()),
        }
    }
}

/// Checks every `[[forward]]`, and that each has a name of its own. None if there is a problem.
pub(super) fn check(raw: &mut Raw) -> Option<Vec<Settings>> {
    let titles = raw.entries(Forward::SECTION.name);
    // All entries are read before the first one fails, so that every problem is reported.
    let entries: Vec<_> =
        titles.iter().map(|title| Forward::check(raw, title).and_then(|one| one.settings(raw, title))).collect();
    let entries: Vec<_> = entries.into_iter().collect::<Option<_>>()?;
    let names = titles.iter().zip(entries.iter().map(|one| &one.name));
    raw.own_names("destination", names).then_some(entries)
}

impl Forward {
    fn settings(mut self, raw: &mut Raw, title: &str) -> Option<Settings> {
        if self.name.is_none() {
            raw.missing(title, "name", "name = \"siem\"");
        }
        let trust = self.trust(raw, title)?;
        let to = match self.to {
            None => {
                raw.missing(title, "to", "to = \"syslog\"");
                return None;
            }
            Some(ForwardTo::Otlp) => self.otlp(raw, title, trust).map(To::Otlp),
            Some(ForwardTo::Syslog) => self.syslog(raw, title, trust).map(To::Syslog),
        };
        Some(Settings {
            name: self.name?.0,
            to: to?,
            condition: self.r#where.map(|condition| condition.0),
            content: self.content,
            from_beginning: self.from == From::Beginning,
            batch: self.batch,
            interval: self.interval,
            timeout: self.timeout,
        })
    }

    /// Both files of a certificate or none.
    fn trust(&mut self, raw: &mut Raw, title: &str) -> Option<Trust> {
        let ca = self.ca.take();
        let (key, other) = match (self.cert.take(), self.key.take()) {
            (None, None) => return Some(Trust { ca, identity: None }),
            (Some(cert), Some(key)) => return Some(Trust { ca, identity: Some((cert, key)) }),
            (Some(_), None) => ("cert", "key"),
            (None, Some(_)) => ("key", "cert"),
        };
        let (reason, remedy) = (format!("it has no `{other}` beside it"), format!("set `{other}` too, or neither"));
        raw.conflict(&format!("{title}.{key}"), &reason, &remedy);
        None
    }

    fn otlp(&mut self, raw: &mut Raw, title: &str, trust: Trust) -> Option<OtlpPlace> {
        Self::alien(
            raw,
            title,
            "syslog",
            &[("address", self.address.is_some()), ("hostname", self.hostname.is_some())],
        )?;
        let Some(mut url) = self.url.take() else {
            raw.missing(title, "url", "url = \"http://collector.example.org:4318/v1/logs\"");
            return None;
        };
        if matches!(url.path(), "" | "/") {
            url.set_path("/v1/logs");
        }
        let headers = headers(self.headers.take(), self.headers_env.take(), self.headers_file.take());
        Some(OtlpPlace {
            url,
            headers,
            gzip: self.gzip,
            max: self.max_record.map_or(OTLP_MAX, ByteSize::as_usize),
            trust,
        })
    }

    fn syslog(&mut self, raw: &mut Raw, title: &str, trust: Trust) -> Option<SyslogPlace> {
        let headers = [
            ("url", self.url.is_some()),
            ("headers", self.headers.is_some()),
            ("headers_env", self.headers_env.is_some()),
            ("headers_file", self.headers_file.is_some()),
        ];
        Self::alien(raw, title, "otlp", &headers)?;
        let Some(SyslogAddress(address)) = self.address.take() else {
            raw.missing(title, "address", "address = \"tcp://logs.example.org:601\"");
            return None;
        };
        let hostname = self.hostname.take().unwrap_or_else(host);
        if hostname.len() > 255 || !hostname.bytes().all(|byte| byte.is_ascii_graphic()) {
            let remedy = "write up to 255 visible ASCII characters";
            raw.conflict(&format!("{title}.hostname"), "it cannot stand in a message (RFC 5424)", remedy);
            return None;
        }
        let max = self.max_record.map_or(SYSLOG_MAX, ByteSize::as_usize);
        if max > DATAGRAM_MAX && matches!(address, Address::Udp(..) | Address::Unix(_)) {
            let reason = format!("a datagram has at most {DATAGRAM_MAX} bytes");
            raw.conflict(&format!("{title}.max_record"), &reason, "lower it");
            return None;
        }
        let form = Form { facility: self.facility.0, enterprise: self.enterprise, hostname, max };
        Some(SyslogPlace { address, form, trust })
    }

    /// Reports a key that belongs to the other kind of destination.
    fn alien(raw: &mut Raw, title: &str, other: &str, keys: &[(&str, bool)]) -> Option<()> {
        let found = keys.iter().find(|(_, is_set)| *is_set).map(|(key, _)| *key);
        if let Some(key) = found {
            let reason = format!("it is for `to = \"{other}\"`");
            raw.conflict(&format!("{title}.{key}"), &reason, "remove it, or change `to`");
            return None;
        }
        Some(())
    }
}

/// Headers from wherever they are.
pub(super) fn headers(given: Option<HeaderLines>, variable: Option<String>, file: Option<PathBuf>) -> Headers {
    Headers { given: given.map(|headers| headers.0).unwrap_or_default(), variable, file }
}

/// The system's name; `-` is RFC 5424's word for one that is not known.
fn host() -> String {
    let read = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let name = read.trim();
    if name.is_empty() { "-".to_owned() } else { name.to_owned() }
}
