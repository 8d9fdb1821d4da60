//! The task that asks a model server what it runs, and puts it on record when that has changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onrecord_capture::serving::{Server, Setup, Told};
use onrecord_proof::{Kind, Record, Ref, Rel, Value, field};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::ask::{Asking, NoAnswer};
use super::in_force::{Entry, InForce};
use super::known;
use crate::engine::{Engine, changes, new_record};
use crate::local::{model_file, process};

/// After something did not fit. Calls in a hurry do not make probes in a hurry.
const BREATH: Duration = Duration::from_secs(1);
/// The same while it has turned out that nothing changed.
const LONG_BREATH: Duration = Duration::from_secs(10);
/// The digest of a model's file is waited for so long before the rest goes on record without it.
const DIGEST_PATIENCE: Duration = Duration::from_secs(2);

/// When a model server is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub interval: Duration,
    /// How long after its announcement a deployment may change a configuration.
    pub deployment_window: Duration,
}

/// Keeps the configurations of one model server.
pub(crate) struct Prober {
    pub engine: Arc<Engine>,
    /// The name of the model server in records.
    pub upstream: String,
    pub asking: Asking,
    pub in_force: Arc<InForce>,
    pub schedule: Schedule,
    /// The kind of server, if the configuration says so.
    pub kind: Option<Server>,
    pub files: Arc<model_file::Files>,
}

/// A configuration that is on record.
struct OnRecord {
    id: Uuid,
    digest: Option<Vec<u8>>,
    file: Option<Vec<u8>>,
    record: Record,
}

/// What a round has found.
enum Round {
    Same,
    Changed,
    /// `is_gone`: nobody listens there any more.
    Unreachable {
        problem: String,
        is_gone: bool,
    },
}

impl Prober {
    /// Asks until `stop` is cancelled.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(self) {
        let mut on_record = BTreeMap::new();
        match known::configurations(&self.engine, &self.upstream).await {
            Ok(records) => on_record.extend(records.into_iter().map(OnRecord::of)),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "earlier configurations cannot be read"),
        }
        let mut server = self.kind;
        // Said once for each time that it goes away.
        let mut is_told = false;
        let mut retry = BREATH;
        loop {
            let pause = match self.round(&mut server, &mut on_record).await {
                Ok(Round::Unreachable { problem, is_gone }) => {
                    if is_gone {
                        // Who comes back may be another.
                        self.in_force.set(Vec::new());
                    }
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(
                            upstream = self.upstream,
                            problem,
                            "the model server cannot be asked what it runs; trying again"
                        );
                    }
                    retry = (retry * 2).min(self.schedule.interval);
                    tokio::select! {
                        () = tokio::time::sleep(retry) => {}
                        // A call has been answered, or has failed too.
                        () = self.in_force.doubt.notified() => tokio::time::sleep(BREATH).await,
                    }
                    continue;
                }
                Ok(Round::Changed) => BREATH,
                Ok(Round::Same) => LONG_BREATH,
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the model server's configuration is not on record; trying again"
                    );
                    LONG_BREATH
                }
            };
            (is_told, retry) = (false, BREATH);
            tokio::select! {
                () = tokio::time::sleep(self.schedule.interval) => {}
                () = self.in_force.doubt.notified() => tokio::time::sleep(pause.min(self.schedule.interval)).await,
                () = self.files.has_news() => {}
            }
        }
    }

    async fn round(
        &self,
        server: &mut Option<Server>,
        on_record: &mut BTreeMap<String, OnRecord>,
    ) -> anyhow::Result<Round> {
        let called = self.in_force.models();
        let (known, told) = match self.questions(*server, &called).await {
            Ok(Some(answers)) => answers,
            Ok(None) => {
                let problem = "it does not answer like any server that is known".into();
                return Ok(Round::Unreachable { problem, is_gone: false });
            }
            Err(problem) => {
                *server = self.kind;
                return Ok(Round::Unreachable {
                    is_gone: matches!(problem, NoAnswer::Gone(_)),
                    problem: problem.to_string(),
                });
            }
        };
        *server = Some(known);
        self.in_force.set_server(*server);
        let mut setups = known.setups(&told, &called);
        let mut entries = Vec::new();
        let mut changed = false;
        for setup in &mut setups {
            self.look_at_this_machine(setup).await;
            let (id, is_new) = self.put_on_record(setup, on_record).await?;
            changed |= is_new;
            entries.push(Entry::new(id, setup));
        }
        self.in_force.found(entries, &called);
        Ok(if changed { Round::Changed } else { Round::Same })
    }

    /// The server and all of its answers; `None` if it is none that is known.
    async fn questions(
        &self,
        server: Option<Server>,
        called: &[String],
    ) -> Result<Option<(Server, Vec<Told>)>, NoAnswer> {
        let Some(server) = (match server {
            Some(server) => Some(server),
            None => self.detect().await?,
        }) else {
            return Ok(None);
        };
        let mut told = Vec::new();
        for (number, ask) in server.asks().iter().enumerate() {
            match self.asking.ask(ask).await {
                Ok(answer) => told.push(answer),
                Err(problem) if number == 0 => return Err(problem),
                Err(_) => {}
            }
        }
        for ask in server.more(&told, called) {
            told.extend(self.asking.ask(&ask).await.ok());
        }
        Ok(Some((server, told)))
    }

    async fn detect(&self) -> Result<Option<Server>, NoAnswer> {
        for ask in Server::detection() {
            match self.asking.ask(&ask).await {
                Ok(told) => {
                    if let Some(server) = Server::detect(&told) {
                        return Ok(Some(server));
                    }
                }
                Err(NoAnswer::Status(_)) => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(None)
    }

    /// Adds what this machine knows of a model server that runs on it: how it was started, and its model's file.
    async fn look_at_this_machine(&self, setup: &mut Setup) {
        let Some(address) = self.asking.local_address() else { return };
        let path = setup.path.clone();
        let look = move || {
            let pid = process::listening_on(address).filter(|pid| !process::is_proxy(*pid))?;
            Some((process::command_line(pid), path.map(|path| process::path_as_seen_by(pid, &path))))
        };
        let Ok(Some((command, path))) = tokio::task::spawn_blocking(look).await else { return };
        if setup.command.is_empty() {
            setup.command = command;
        }
        let Some(path) = path else { return };
        if let Some(file) = self.files.look(&path, DIGEST_PATIENCE).await {
            setup.size = Some(file.size);
            setup.sha256 = file.sha256;
            setup.complete_from(file.header);
        }
    }

    /// Appends a configuration unless it is the one on record. Gives its id, and whether it is new.
    async fn put_on_record(
        &self,
        setup: &Setup,
        on_record: &mut BTreeMap<String, OnRecord>,
    ) -> anyhow::Result<(Uuid, bool)> {
        let before = on_record.get(&setup.model);
        if let Some(before) = before.filter(|before| before.is(setup)) {
            return Ok((before.id, false));
        }
        let mut record = new_record(Kind::Config);
        record.set(&field::UPSTREAM, self.upstream.as_str());
        setup.record(&mut record);
        let event = match before {
            None => "taken",
            Some(before) if before.is_but_for_the_file(setup) => "completed",
            Some(_) => "changed",
        };
        record.set(&field::EVENT, event);
        if let Some(before) = before {
            record.refs.push(Ref { rel: Rel::Supersedes, id: before.id });
            let drift = event == "changed" && self.is_unannounced(&mut record).await?;
            record.set(&field::DRIFT, drift);
            if drift {
                let what = changes(&before.record, &record);
                let what = what.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                tracing::warn!(
                    upstream = self.upstream,
                    model = setup.model,
                    what,
                    "the configuration changed and no deployment was announced"
                );
            }
        }
        self.engine.ledger.append(&record)?.await?;
        let id = record.id;
        let (model, now) = OnRecord::of(record);
        on_record.insert(model, now);
        Ok((id, true))
    }

    /// True if no deployment was announced lately; else refers to it.
    async fn is_unannounced(&self, record: &mut Record) -> anyhow::Result<bool> {
        let window = i64::try_from(self.schedule.deployment_window.as_micros()).unwrap_or(i64::MAX);
        let announced = known::deployment(&self.engine, record.captured_at.saturating_sub(window)).await?;
        record.refs.extend(announced.map(|id| Ref { rel: Rel::Source, id }));
        Ok(announced.is_none())
    }
}

impl OnRecord {
    fn of(record: Record) -> (String, Self) {
        let bytes = |field| record.get(field).and_then(Value::as_bytes).map(<[u8]>::to_vec);
        let model = record.text(&field::MODEL).unwrap_or_default().to_owned();
        let (digest, file) = (bytes(&field::CONFIG_SHA256), bytes(&field::MODEL_SHA256));
        (model, Self { id: record.id, digest, file, record })
    }

    /// The same, as far as it is known already.
    fn is(&self, setup: &Setup) -> bool {
        self.digest.as_deref() == Some(&setup.digest())
            && (setup.sha256.is_none() || self.file.as_deref() == setup.sha256.as_ref().map(<[u8; 32]>::as_slice))
    }

    /// The same, and now the digest of the model's file is known too.
    fn is_but_for_the_file(&self, setup: &Setup) -> bool {
        self.digest.as_deref() == Some(&setup.digest()) && self.file.is_none()
    }
}
