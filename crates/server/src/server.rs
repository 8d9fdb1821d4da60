//! The running server: engine, gateway and API together, from start to an orderly end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use onrecord_lake::{CompactPolicy, LakeOptions, QueryLimits, SealPolicy};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::Alerts;
use crate::api::{self, Access, Api};
use crate::auth::Tokens;
use crate::config::{self, AnchorPlace, AnchorSettings, Config, Timestamp};
use crate::engine::{self, Engine};
use crate::gateway::{self, Gateway, Glob, OnLogFailure, Routes, Settings, Upstream, UpstreamSettings};
use crate::ingest::{Ingest, KnownCalls, Listeners};
use crate::local::model_file::Files;
use crate::outside::{Anchor, Outside, Witnesses};
use crate::postgres::{self, Postgres};
use crate::probe::{Prober, Prompts, Sampler, Schedule};
use crate::shipping::Shipping;
use crate::timestamp::Timestamps;
use crate::tls;

/// What `localhost` stands for.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// How long a log that another command reads is waited for.
const READ_PATIENCE: Duration = Duration::from_secs(10);
/// How long until it is tried again.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// Where the command line finds a running server, in its data folder. Readable by its owner alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Contact {
    pub pid: u32,
    /// The API's address.
    pub api: SocketAddr,
    /// What the command line presents to it.
    pub token: String,
}

/// A running server.
pub(crate) struct Server {
    pub engine: Arc<Engine>,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where spans can be sent to, over gRPC and over HTTP.
    pub otlp: [Option<SocketAddr>; 2],
    /// Where the PostgreSQL protocol is spoken.
    pub postgres: Option<SocketAddr>,
    pub tls: bool,
    calls: Arc<Gateway>,
    contact: PathBuf,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How the engine of a configuration is opened.
pub(crate) fn engine_options(config: &Config) -> anyhow::Result<engine::Options> {
    let Config { log, lake, origin, .. } = config;
    Ok(engine::Options {
        ledger: onrecord_ledger::Options {
            origin: origin.as_ref().map(|origin| origin.0.clone()),
            key: crate::signing::holder(&config.key)?,
            segment_size: log.segment_size.bytes(),
            checkpoint_interval: log.checkpoint_interval,
            ..onrecord_ledger::Options::default()
        },
        seal: SealPolicy { age: lake.seal_after, bytes: lake.seal_bytes.bytes(), ..SealPolicy::default() },
        lake: LakeOptions {
            compact_from: lake.compact_from.bytes(),
            compact_to: lake.compact_to.bytes(),
            store: lake.store.as_ref().map(|store| store.0.clone()),
            query_memory: lake.query_memory.as_usize(),
            ..LakeOptions::default()
        },
        retention: config.retention.clone(),
        compact: CompactPolicy { every: lake.compact_every },
        limits: QueryLimits {
            rows: lake.query_rows,
            memory_bytes: lake.query_memory.as_usize(),
            time: lake.query_time,
        },
        outside: outside(config)?,
        forward: config.forward.clone(),
        alerts: config.alerts.clone(),
    })
}

/// Opens a log. One that a command reads for a moment, which no server has, is waited for.
pub(crate) async fn open_when_free(data: &Path, options: engine::Options) -> anyhow::Result<Arc<Engine>> {
    let is_read = |error: &anyhow::Error| {
        matches!(error.downcast_ref(), Some(onrecord_ledger::Error::InUse { .. })) && contact(data).is_none()
    };
    let begun = Instant::now();
    loop {
        match Engine::open(data, options.clone()).await {
            Err(error) if is_read(&error) && begun.elapsed() < READ_PATIENCE => sleep(READ_PAUSE).await,
            opened => return opened,
        }
    }
}

fn outside(config: &Config) -> anyhow::Result<Outside> {
    let AnchorSettings { place, every } = &config.anchor;
    let anchor = place.as_ref().map(|place| match place {
        AnchorPlace::File(path) => Ok(Anchor::in_file(path.clone(), *every)),
        AnchorPlace::Url(url) => Anchor::at(url.as_str(), *every),
    });
    let Timestamp { url, interval } = &config.timestamp;
    let timestamps = url.as_ref().map(|url| Timestamps::new(url.as_str(), *interval, &config.data));
    let there_are = !config.witnesses.witnesses.is_empty();
    let witnesses = there_are.then(|| Witnesses::new(&config.witnesses));
    Ok(Outside {
        anchor: anchor.transpose()?.map(Arc::new),
        witnesses: witnesses.transpose()?.map(Arc::new),
        timestamps: timestamps.transpose()?.map(Arc::new),
        ask_first: false,
    })
}

fn upstream_settings(upstream: &config::Upstream) -> anyhow::Result<UpstreamSettings> {
    let key = upstream.key.as_ref().map(|key| format!("Bearer {}", key.reveal()).parse()).transpose();
    Ok(UpstreamSettings {
        name: upstream.name.clone(),
        url: upstream.url.as_str().parse().with_context(|| format!("the upstream {}", upstream.url))?,
        key: key.context("the upstream's key has characters that a header cannot hold")?,
        kind: upstream.kind,
        decisions: upstream.decisions,
        models: upstream.models.iter().map(Glob::new).collect(),
        path_prefix: upstream.path_prefix.as_ref().map(|prefix| prefix.0.clone()),
    })
}

/// Refuses a model server at the gateway's own address, which would call itself until no call is left.
fn not_itself(gateway: SocketAddr, upstreams: &[config::Upstream]) -> anyhow::Result<()> {
    let is_own = |ip: IpAddr| gateway.ip() == ip || gateway.ip().is_unspecified() && ip.is_loopback();
    let is_here = |host: Option<url::Host<&str>>| match host {
        Some(url::Host::Domain(name)) => name == "localhost" && LOOPBACK.into_iter().any(is_own),
        Some(url::Host::Ipv4(ip)) => is_own(ip.into()),
        Some(url::Host::Ipv6(ip)) => is_own(ip.into()),
        None => false,
    };
    let own = |upstream: &&config::Upstream| {
        upstream.url.port_or_known_default() == Some(gateway.port()) && is_here(upstream.url.host())
    };
    if let Some(upstream) = upstreams.iter().find(own) {
        anyhow::bail!(
            "the upstream {} is this gateway itself; give it the address of the model server, or let the gateway listen on another port",
            upstream.url
        );
    }
    Ok(())
}

fn routes(config: &Config, upstreams: &[config::Upstream]) -> anyhow::Result<Routes> {
    let upstream =
        |(number, upstream)| Upstream::new(number, upstream_settings(upstream)?, config.gateway.connect_timeout);
    Routes::new(upstreams.iter().enumerate().map(upstream).collect::<anyhow::Result<_>>()?)
}

fn settings(config: &Config) -> Settings {
    let gateway = &config.gateway;
    Settings {
        limits: onrecord_capture::Limits {
            body: gateway.max_captured_body.as_usize(),
            keep_raw_stream: gateway.keep_raw_stream,
        },
        max_request_body: gateway.max_request_body.bytes(),
        max_header_size: gateway.max_header_size.as_usize(),
        max_in_flight: gateway.max_in_flight,
        response_timeout: gateway.response_timeout,
        client_timeout: gateway.client_timeout,
        shutdown_grace: gateway.shutdown_grace,
        on_log_failure: match config.log.on_log_failure {
            config::OnLogFailure::Refuse => OnLogFailure::Refuse,
            config::OnLogFailure::Forward => OnLogFailure::Forward,
        },
        wait_for_commit: config.log.release == config::Release::AfterCommit,
    }
}

/// What asks each model server about itself.
fn probers(config: &Config, engine: &Arc<Engine>, gateway: &Gateway) -> Vec<Prober> {
    let files = Files::open(config.data.join("model-digests.json"));
    let upstreams = gateway.upstreams().iter().filter(|_| config.probe.enabled);
    upstreams.map(|upstream| prober(config, engine, upstream, &files)).collect()
}

fn prober(config: &Config, engine: &Arc<Engine>, upstream: &Upstream, files: &Arc<Files>) -> Prober {
    let probe = &config.probe;
    Prober {
        engine: Arc::clone(engine),
        upstream: upstream.settings.name.clone(),
        asking: upstream.asking(),
        in_force: Arc::clone(&upstream.in_force),
        schedule: Schedule { interval: probe.interval, deployment_window: probe.deployment_window },
        kind: upstream.settings.kind.known(),
        files: Arc::clone(files),
    }
}

async fn bind(address: SocketAddr, what: &str, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("the {what} cannot listen on {address}; another address can be set as `{key}` or on the command line")
    })
}

impl Server {
    /// Opens the data folder, then listens in front of at least one model server.
    pub(crate) async fn start(config: &Config, upstreams: &[config::Upstream]) -> anyhow::Result<Self> {
        let tokens = Arc::new(Tokens::load(&config.data)?);
        config::check_exposure(config.gateway.listen, !tokens.is_empty())?;
        config::check_exposure(config.api.listen, !tokens.is_empty())?;
        for address in [config.ingest.grpc, config.ingest.http].into_iter().filter(|_| config.ingest.otlp) {
            config::check_exposure(address, !tokens.is_empty())?;
        }
        if let Some(address) = config.postgres.listen {
            config::check_exposure(address, !tokens.is_empty())?;
        }
        let postgres_tls = config.tls.clone().map(tls::postgres_config).transpose()?.map(TlsAcceptor::from);
        let tls = config.tls.clone().map(tls::server_config).transpose()?.map(TlsAcceptor::from);
        // Before the folder is opened, so that a port that is taken leaves no trace in the log.
        let gateway_listener = bind(config.gateway.listen, "gateway", "gateway.listen").await?;
        let api_listener = bind(config.api.listen, "API", "api.listen").await?;
        let spans = Listeners::bind(&config.ingest).await?;
        let postgres_listener = postgres::Listener::bind(&config.postgres).await?;
        not_itself(gateway_listener.local_addr()?, upstreams)?;
        let ways = routes(config, upstreams)?;
        let mut options = engine_options(config)?;
        options.outside.ask_first = true;
        let engine = open_when_free(&config.data, options).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        // First, so that a destination that is new gets the start too.
        if let Some(shipping) = Shipping::start(&engine, &stop).await? {
            tasks.spawn(shipping);
        }
        let end_others = Box::pin(Alerts::end_others(Arc::clone(&engine)));
        tasks.spawn(stop.clone().run_until_cancelled_owned(end_others));
        for watcher in Alerts::tasks(&engine, &stop).await? {
            tasks.spawn(watcher);
        }
        engine.event("start").await?;
        let known_calls = Arc::new(KnownCalls::default());
        let (ledger, counters) = (Arc::clone(&engine.ledger), Arc::clone(&engine.counters));
        let gateway =
            Gateway::new(ledger, counters, Arc::clone(&tokens), settings(config), ways, Arc::clone(&known_calls));
        let gateway = Arc::new(gateway);
        let contact = config.data.join(CONTACT);
        let (gateway_address, api_address) = (gateway_listener.local_addr()?, api_listener.local_addr()?);
        let own: Arc<str> = tell(&contact, api_address)?.into();
        let encrypted = tls.is_some();
        for prober in probers(config, &engine, &gateway) {
            tasks.spawn(prober.run(stop.clone()));
        }
        for upstream in gateway.upstreams().iter().filter(|_| config.probe.enabled) {
            let sampler = Sampler { asking: upstream.asking(), gauge: Arc::clone(&upstream.gauge) };
            tasks.spawn(sampler.run(stop.clone()));
            if config.probe.prompts_per_minute > 0 {
                let per_minute = config.probe.prompts_per_minute;
                let (prompts, task) = Prompts::new(per_minute, upstream.asking(), Arc::clone(&engine));
                // Nobody has set it before.
                let _ = upstream.prompts.set(prompts);
                tasks.spawn(task.run(stop.clone()));
            }
        }
        let lanes = gateway::Lanes::start(&gateway, tls.as_ref())?;
        tasks.spawn(gateway::serve(lanes, gateway_listener, stop.clone()));
        let ingest = Ingest::new(Arc::clone(&engine), Arc::clone(&tokens), known_calls);
        let otlp = spans.addresses();
        spans.serve(&Arc::new(ingest), &stop, &tasks);
        let postgres = postgres_listener.as_ref().and_then(postgres::Listener::address);
        if let Some(listener) = postgres_listener {
            let service = Postgres::new(Arc::clone(&engine), Arc::clone(&tokens), Arc::clone(&own)).await?;
            tasks.spawn(listener.serve(service, postgres_tls, stop.clone()));
        }
        let router = api::router(Api {
            engine: Arc::clone(&engine),
            access: Access::Tokens { tokens, own },
            public_log: config.api.public_log,
        });
        tasks.spawn(serve_api(router, api_listener, stop.clone()));
        if let Some(every) = config.retention_every {
            tasks.spawn(follow_policy(Arc::clone(&engine), every, stop.clone()));
        }
        if !config.log.heartbeat.is_zero() {
            tasks.spawn(heartbeats(Arc::clone(&engine), config.log.heartbeat, stop.clone()));
        }
        for task in engine.outside.tasks(engine.reader(), &stop) {
            tasks.spawn(task);
        }
        tasks.close();
        Ok(Self {
            engine,
            gateway: gateway_address,
            api: api_address,
            otlp,
            postgres,
            tls: encrypted,
            calls: gateway,
            contact,
            stop,
            tasks,
        })
    }

    /// Lets running calls finish and closes the log.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.tasks.wait().await;
        // Written in this order, so nothing waits for the first one.
        self.calls.close_gap();
        self.engine.event("stop").await?;
        forget(&self.contact);
        self.engine.close().await
    }
}

/// Puts on record that nothing happened.
async fn heartbeats(engine: Arc<Engine>, every: Duration, stop: CancellationToken) {
    let mut before = engine.reader().size();
    while tokio::time::timeout(every, stop.cancelled()).await.is_err() {
        let size = engine.reader().size();
        if size == before
            && let Err(error) = engine.heartbeat().await
        {
            tracing::error!(error = format!("{error:#}"), "no heartbeat was recorded");
        }
        before = engine.reader().size();
    }
}

/// Disposes of what is due by the retention policy, now and then.
async fn follow_policy(engine: Arc<Engine>, every: Duration, stop: CancellationToken) {
    let reading = engine::Reading { principal: "retention".to_owned(), address: None, purpose: None, user: None };
    while tokio::time::timeout(every, stop.cancelled()).await.is_err() {
        tokio::select! {
            () = stop.cancelled() => return,
            // A disposal that has begun goes on by itself, or at the next start.
            done = engine.follow_retention(&reading) => match done {
                Ok(lines) => {
                    let records: u64 = lines.iter().map(|line| line.records).sum();
                    tracing::info!(records, "disposed of what the retention policy says");
                }
                Err(error) => tracing::error!(error = format!("{error:#}"), "the retention policy could not be followed"),
            },
        }
    }
}

async fn serve_api(router: axum::Router, listener: TcpListener, stop: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let ended = stop.clone();
    let serve = axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await });
    // A reader that follows the log never ends by itself.
    let patience = async move {
        ended.cancelled().await;
        sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        served = serve => if let Err(error) = served {
            tracing::error!(%error, "the API has stopped");
        },
        () = patience => {}
    }
}

/// Where [`Contact`] is, in the data folder.
const CONTACT: &str = "server.json";

/// Leaves the API's address and a token of this run for the command line.
fn tell(path: &Path, api: SocketAddr) -> anyhow::Result<String> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|e| anyhow::anyhow!("no random numbers: {e}"))?;
    let token = format!("run_{}", crate::render::hex(&secret));
    let contact = Contact { pid: std::process::id(), api, token: token.clone() };
    let disk = onrecord_ledger::disk::RealDisk;
    onrecord_ledger::disk::Disk::replace(&disk, path, &serde_json::to_vec_pretty(&contact)?, 0o600)
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(token)
}

fn forget(path: &Path) {
    let removed = onrecord_ledger::disk::Disk::remove(&onrecord_ledger::disk::RealDisk, path);
    if let Err(error) = removed {
        tracing::warn!(%error, "the server's address stays behind; the next start replaces it");
    }
}

/// The server that has `data` open, if one has. The address that a killed one left there may be another server's by now, so
/// it counts only while the process that wrote it holds the log.
pub(crate) fn contact(data: &Path) -> Option<Contact> {
    let contact: Contact = serde_json::from_slice(&std::fs::read(data.join(CONTACT)).ok()?).ok()?;
    let held = onrecord_ledger::hold(&engine::ledger_dir(data));
    matches!(held, Err(onrecord_ledger::Error::InUse { pid, .. }) if pid == contact.pid.to_string()).then_some(contact)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_that_a_command_reads_is_waited_for() {
        let data = tempfile::tempdir().unwrap();
        let flags = config::Overrides { data: Some(data.path().to_owned()), ..Default::default() };
        let options = || engine_options(&config::load_only(&flags).unwrap()).unwrap();
        let first = Engine::open(data.path(), options()).await.unwrap();
        let second = open_when_free(data.path(), options());
        let end_of_first = async {
            sleep(READ_PAUSE * 3).await;
            first.close().await.unwrap();
            drop(first);
        };
        let (second, ()) = tokio::join!(second, end_of_first);
        let second = second.unwrap();
        // A server is not waited for.
        tell(&data.path().join(CONTACT), SocketAddr::from(([127, 0, 0, 1], 4180))).unwrap();
        let begun = Instant::now();
        let refused = open_when_free(data.path(), options()).await.err().unwrap().to_string();
        assert!(refused.contains("is in use by process") && begun.elapsed() < READ_PATIENCE / 2, "{refused}");
        second.close().await.unwrap();
    }

    #[test]
    fn a_gateway_is_not_its_own_model_server() {
        for (listens, url, is_refused) in [
            ("127.0.0.1:4100", "http://127.0.0.1:4100", true),
            ("127.0.0.1:4100", "http://localhost:4100/v1", true),
            ("0.0.0.0:4100", "http://127.0.0.1:4100", true),
            ("[::]:4100", "http://[::1]:4100", true),
            ("0.0.0.0:80", "http://localhost", true),
            ("127.0.0.1:4100", "http://127.0.0.1:11434", false),
            ("127.0.0.1:4100", "http://10.0.0.7:4100", false),
            ("10.0.0.8:4100", "http://localhost:4100", false),
            ("127.0.0.1:4100", "http://models.internal:4100", false),
        ] {
            let upstream = config::Upstream::at(url.parse().unwrap());
            let checked = not_itself(listens.parse().unwrap(), &[upstream]);
            assert_eq!(checked.is_err(), is_refused, "{listens} {url}");
        }
    }

    #[tokio::test]
    async fn an_address_counts_while_its_server_has_the_log() {
        let data = tempfile::tempdir().unwrap();
        let flags = config::Overrides { data: Some(data.path().to_owned()), ..Default::default() };
        let options = engine_options(&config::load_only(&flags).unwrap()).unwrap();
        tell(&data.path().join(CONTACT), SocketAddr::from(([127, 0, 0, 1], 4180))).unwrap();
        assert!(contact(data.path()).is_none(), "there is no log");
        let engine = Engine::open(data.path(), options).await.unwrap();
        assert_eq!(contact(data.path()).unwrap().pid, std::process::id());
        engine.close().await.unwrap();
        drop(engine);
        assert!(contact(data.path()).is_none(), "a server that was killed left it behind");
    }
}
