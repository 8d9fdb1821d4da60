//! The configuration: one file, a few environment variables and flags, checked before anything starts.
//!
//! It is read in two stages. [`raw`] takes in what was written, with its place; [`keys`] turns that into the typed
//! [`Config`], one section at a time. Every problem is collected, so that one run of `onrecord config check` names
//! them all.

mod alert;
mod example;
mod exposure;
mod find;
mod forward;
mod keys;
mod listen;
mod outside;
mod problem;
mod raw;
mod retention;
mod section;
mod size;
mod upstream;
mod value;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use alert::WebhookUrl;
pub(crate) use example::example;
pub(crate) use exposure::check_exposure;
pub(crate) use keys::{Telemetry, Timestamp};
pub(crate) use problem::ConfigError;
pub(crate) use raw::Effective;
pub(crate) use upstream::Upstream;
pub(crate) use value::{LogFormat, OnLogFailure, Release, Secret, ServerKind};

use crate::alerts;
use crate::engine::Retention;
use crate::outside::WitnessSettings;
use crate::shipping;
pub(crate) use keys::Ingest;
pub(crate) use keys::Postgres;
use keys::{Anchor, Api, Gateway, Keep, Lake, Log, Probe, Tls, Top, Witnesses};
pub(crate) use outside::{AnchorPlace, AnchorSettings, SigningKey};
use raw::Raw;
use value::LogName;

/// The name of the configuration file where no other is given.
pub(crate) const FILE_NAME: &str = "onrecord.toml";

/// The checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The name of a log that is yet to be created; an existing log keeps its own.
    pub(crate) origin: Option<LogName>,
    /// The gateway.
    pub(crate) gateway: Gateway,
    /// The model servers besides `gateway.upstream`.
    pub(crate) upstreams: Vec<keys::Upstream>,
    /// What the model server runs.
    pub(crate) probe: Probe,
    /// The API.
    pub(crate) api: Api,
    /// The PostgreSQL protocol.
    pub(crate) postgres: Postgres,
    /// Spans that come in.
    pub(crate) ingest: Ingest,
    /// The log.
    pub(crate) log: Log,
    /// Who has the log's secret key.
    pub(crate) key: SigningKey,
    /// The witnesses of the log.
    pub(crate) witnesses: WitnessSettings,
    /// Where a copy of the last checkpoint is kept, and how often.
    pub(crate) anchor: AnchorSettings,
    /// Timestamps.
    pub(crate) timestamp: Timestamp,
    /// The lake.
    pub(crate) lake: Lake,
    /// How long records are kept, if there is a policy.
    pub(crate) retention: Option<Arc<Retention>>,
    /// How often what is due is disposed of.
    pub(crate) retention_every: Option<Duration>,
    /// Where records are forwarded to.
    pub(crate) forward: Vec<shipping::Settings>,
    /// What is looked for in the log.
    pub(crate) alerts: Vec<alerts::Rule>,
    /// The certificate to serve with, unless plain HTTP is spoken.
    pub(crate) tls: Option<TlsFiles>,
    /// The program's own messages.
    pub(crate) telemetry: Telemetry,
}

/// The two PEM files of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate, followed by those of its issuers.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// The command-line flags that outrank the file and the environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// `--data`.
    pub(crate) data: Option<PathBuf>,
    /// `--listen`.
    pub(crate) listen: Option<String>,
    /// Each `--upstream`.
    pub(crate) upstreams: Vec<String>,
    /// `--api`.
    pub(crate) api: Option<String>,
}

/// The configuration with what `onrecord config check` shows of it.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// The checked configuration.
    pub(crate) config: Config,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
    /// Every key with the value in force and where it comes from; secrets are masked.
    pub(crate) effective: Vec<Effective>,
}

/// The environment as a lookup, so that tests need not change the real one.
type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads and checks the configuration of this process.
pub(crate) fn load(flags: &Overrides) -> Result<Loaded, ConfigError> {
    load_from(flags, Path::new(""), &|name| std::env::var_os(name))
}

/// The defaults and flags, whatever files and variables there are.
#[cfg(feature = "demo")]
pub(crate) fn load_only(flags: &Overrides) -> Result<Config, ConfigError> {
    let mut raw = Raw::default();
    find::add_flags(&mut raw, flags);
    let checked = Config::check(&mut raw);
    let (_, problems) = raw.finish();
    checked.filter(|_| problems.is_empty()).ok_or(ConfigError(problems))
}

/// Flags before environment before file before defaults; `folder` is the working folder.
fn load_from(flags: &Overrides, folder: &Path, environment: Environment<'_>) -> Result<Loaded, ConfigError> {
    let mut raw = Raw::default();
    let file = find::read_file(&mut raw, flags, folder, environment)?;
    find::add_environment(&mut raw, environment);
    find::add_flags(&mut raw, flags);
    let checked = Config::check(&mut raw);
    let (effective, problems) = raw.finish();
    match checked {
        Some(config) if problems.is_empty() => Ok(Loaded { config, file, effective }),
        _ => Err(ConfigError(problems)),
    }
}

impl Config {
    /// Checks every section before it gives up, so that all problems are found.
    fn check(raw: &mut Raw) -> Option<Self> {
        let top = Top::check(raw, Top::SECTION.name);
        let gateway = Gateway::check(raw, Gateway::SECTION.name);
        let upstreams = upstream::check(raw, gateway.as_ref());
        let probe = Probe::check(raw, Probe::SECTION.name);
        let api = Api::check(raw, Api::SECTION.name);
        let postgres = Postgres::check(raw, Postgres::SECTION.name);
        let ingest = Ingest::check(raw, Ingest::SECTION.name);
        let log = Log::check(raw, Log::SECTION.name);
        let key = keys::SigningKey::check(raw, keys::SigningKey::SECTION.name).and_then(|key| key.holder(raw));
        let witnesses = Witnesses::check(raw, Witnesses::SECTION.name);
        let witnesses = outside::witnesses(raw, witnesses);
        let anchor = Anchor::check(raw, Anchor::SECTION.name).and_then(|anchor| anchor.settings(raw));
        let timestamp = Timestamp::check(raw, Timestamp::SECTION.name);
        let lake = Lake::check(raw, Lake::SECTION.name);
        let keep = Keep::check(raw, Keep::SECTION.name);
        let forward = forward::check(raw);
        let alerts = alert::check(raw);
        let tls = Tls::check(raw, Tls::SECTION.name);
        let telemetry = Telemetry::check(raw, Telemetry::SECTION.name);
        let tls = tls.map(|tls| tls.files(raw));
        let keep = keep.and_then(|keep| keep.read(raw));
        if let (Some(gateway), Some(api), Some(postgres), Some(ingest)) = (&gateway, &api, &postgres, &ingest) {
            listen::check(raw, gateway, api, postgres, ingest);
        }
        let gateway = gateway.filter(|gateway| gateway.has_one_key(raw));
        let top = top.filter(|top| top.is_local(raw));
        let Top { data, origin } = top?;
        let (retention, retention_every) = keep?;
        Some(Self {
            data,
            origin,
            gateway: gateway?,
            upstreams: upstreams?,
            probe: probe?,
            api: api?,
            postgres: postgres?,
            ingest: ingest?,
            log: log?,
            key: key?,
            witnesses: witnesses?,
            anchor: anchor?,
            timestamp: timestamp?,
            lake: lake?,
            retention,
            retention_every,
            forward: forward?,
            alerts: alerts?,
            tls: tls?,
            telemetry: telemetry?,
        })
    }

    /// The model servers to forward to, with their keys; at least one. Only serving needs them, so only serving asks.
    pub(crate) fn upstreams(&self) -> Result<Vec<Upstream>, ConfigError> {
        self.upstreams_from(&|name| std::env::var_os(name))
    }

    fn upstreams_from(&self, environment: Environment<'_>) -> Result<Vec<Upstream>, ConfigError> {
        upstream::all(&self.gateway, &self.upstreams, environment)
    }
}

impl Top {
    /// What is not sealed is synced to the data folder.
    fn is_local(&self, raw: &mut Raw) -> bool {
        let is_url = ["s3:/", "gs:/", "az:/"].iter().any(|scheme| self.data.to_string_lossy().contains(scheme));
        if is_url {
            let reason = "it is a folder on a local disk, to which records are synced first";
            raw.conflict("data", reason, "set `store` in [lake] to the bucket, or ONRECORD_STORE");
        }
        !is_url
    }
}

impl Gateway {
    fn has_one_key(&self, raw: &mut Raw) -> bool {
        let twice = self.upstream_key.is_some() && self.upstream_key_env.is_some();
        if twice {
            raw.conflict("gateway.upstream_key_env", "`upstream_key` is set too", "keep one of the two");
        }
        !twice
    }
}

impl Keep {
    /// The policy that is named, and how often it is followed.
    fn read(self, raw: &mut Raw) -> Option<(Option<Arc<Retention>>, Option<Duration>)> {
        let Self { policy, every } = self;
        if every.is_some() && policy.is_none() {
            raw.conflict("retention.every", "there is no `policy`", "set `policy` too, or neither");
            return None;
        }
        let policy = policy.map(|path| retention::read(&path, raw).map(Arc::new));
        match policy {
            Some(None) => None,
            read => Some((read.flatten(), every)),
        }
    }
}

impl Tls {
    /// Both files or none; one alone is a problem.
    fn files(self, raw: &mut Raw) -> Option<TlsFiles> {
        match (self.cert, self.key) {
            (Some(cert), Some(key)) => return Some(TlsFiles { cert, key }),
            (None, None) => {}
            (Some(_), None) => raw.conflict("tls.cert", "it has no `key` beside it", "set `key` too, or neither"),
            (None, Some(_)) => raw.conflict("tls.key", "it has no `cert` beside it", "set `cert` too, or neither"),
        }
        None
    }
}
