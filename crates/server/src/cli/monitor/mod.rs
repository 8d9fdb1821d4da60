//! `onrecord monitor`: follows a log from outside, and shouts when it is not what it was.

mod follow;
mod tiles;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use onrecord_ledger::disk::{Disk as _, RealDisk};
use onrecord_proof::KeyHistory;
use onrecord_proof::cosignature::Witness;
use serde::{Deserialize, Serialize};

use super::NOT_GOOD;
use super::options::MonitorArgs;
use super::serve::until_told_to_stop;
use crate::terminal::{escape, note, print_line};
use crate::web::Web;
use follow::{Look, Seen};

/// How long the log may take to answer one request.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is remembered of the log, in the state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// The key history of the log, as far as it is known.
    keys: String,
    /// The last checkpoint that was good.
    checkpoint: String,
    /// When the newest record was committed, by the recorder's clock, in microseconds since 1970-01-01 UTC.
    newest: i64,
}

/// What is shouted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// The history is not the one that was seen: nothing heals that.
    Changed(String),
    /// Nothing was committed for longer than the log may be silent, or it could not be asked for so long.
    Stalled(String),
    /// Too few witnesses have cosigned.
    Unwitnessed(String),
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Changed(what) => write!(f, "CHANGED  {what}"),
            Self::Stalled(what) => write!(f, "STALLED  {what}"),
            Self::Unwitnessed(what) => write!(f, "UNWITNESSED  {what}"),
        }
    }
}

pub(super) async fn monitor(token: Option<&str>, args: &MonitorArgs) -> anyhow::Result<ExitCode> {
    let mut monitor = Monitor::new(token, args)?;
    if args.once {
        let findings = monitor.look().await?;
        monitor.shout(&findings).await;
        return Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_GOOD) });
    }
    tokio::select! {
        stopped = until_told_to_stop() => stopped.map(|()| ExitCode::SUCCESS),
        changed = monitor.run() => changed.map(|()| ExitCode::from(NOT_GOOD)),
    }
}

struct Monitor<'a> {
    args: &'a MonitorArgs,
    web: Web,
    witnesses: Vec<Witness>,
    state: Option<State>,
    keys: KeyHistory,
    interval: Duration,
    stall: Duration,
    answered: Instant,
    /// What was shouted last, so that it is shouted once.
    shouted: Vec<Finding>,
}

impl<'a> Monitor<'a> {
    fn new(token: Option<&str>, args: &'a MonitorArgs) -> anyhow::Result<Self> {
        let base = args.url.trim_end_matches('/');
        let base = if base.ends_with("/log") { base.to_owned() } else { format!("{base}/log") };
        let mut web = Web::new(&base, PATIENCE)?;
        if let Some(token) = token {
            web = web.with("x-onrecord-token", token)?;
        }
        let given: KeyHistory = super::check::read_key(&args.key)?;
        let state = read(&args.state)?;
        let keys = match &state {
            None => given,
            Some(state) => known_keys(&given, state, &args.state)?,
        };
        Ok(Self {
            args,
            web,
            witnesses: args.witness.iter().map(|key| super::check::read_key(key)).collect::<anyhow::Result<_>>()?,
            state,
            keys,
            interval: duration(&args.interval)?,
            stall: duration(&args.stall)?,
            answered: Instant::now(),
            shouted: Vec::new(),
        })
    }

    /// Looks again and again, until the history has changed.
    async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            let findings = match self.look().await {
                Ok(findings) => findings,
                Err(error) => self.unreachable(&error),
            };
            if findings != self.shouted {
                self.shout(&findings).await;
                self.shouted.clone_from(&findings);
            }
            if findings.iter().any(|finding| matches!(finding, Finding::Changed(_))) {
                return Ok(());
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    fn unreachable(&self, error: &anyhow::Error) -> Vec<Finding> {
        tracing::warn!(error = format!("{error:#}"), "the log cannot be asked; trying again");
        if self.answered.elapsed() <= self.stall {
            return self.shouted.clone();
        }
        vec![Finding::Stalled("the log could not be asked for longer than it may be silent".into())]
    }

    /// One look at the log. An error means that it could not be asked.
    async fn look(&mut self) -> anyhow::Result<Vec<Finding>> {
        let look = Look { web: &self.web, entries: !self.args.tiles_only };
        let seen = match look.at(&mut self.keys, self.state.as_ref()).await? {
            Ok(seen) => seen,
            Err(changed) => return Ok(vec![Finding::Changed(changed)]),
        };
        self.answered = Instant::now();
        let findings = self.judge(&seen);
        self.remember(&seen)?;
        print_line(&seen.to_string())?;
        Ok(findings)
    }

    fn judge(&self, seen: &Seen) -> Vec<Finding> {
        let mut findings = Vec::new();
        let silent = onrecord_ledger::now().saturating_sub(seen.newest);
        if silent > i64::try_from(self.stall.as_micros()).unwrap_or(i64::MAX) {
            let since = crate::render::time(seen.newest);
            findings.push(Finding::Stalled(format!("its newest record is of {since}, by the recorder's clock")));
        }
        let by = onrecord_proof::cosignature::cosigned(&seen.note, &self.witnesses).len();
        let quorum = self.args.quorum.unwrap_or(self.witnesses.len());
        if by < quorum {
            let of = self.witnesses.len();
            findings.push(Finding::Unwitnessed(format!(
                "{by} of {of} witnesses have cosigned its checkpoint, {quorum} must"
            )));
        }
        findings
    }

    /// Makes what was seen durable, so that a restart does not forget it.
    fn remember(&mut self, seen: &Seen) -> anyhow::Result<()> {
        let state = State { keys: self.keys.to_string(), checkpoint: seen.note.to_string(), newest: seen.newest };
        if self.state.as_ref() != Some(&state) {
            let path = &self.args.state;
            let written = RealDisk.replace(path, &serde_json::to_vec_pretty(&state)?, 0o644);
            written.with_context(|| format!("writing {}", path.display()))?;
            self.state = Some(state);
        }
        Ok(())
    }

    async fn shout(&self, findings: &[Finding]) {
        for finding in findings {
            let line = format!("{finding} ({})", self.web.base());
            note(escape(&line));
            if let Some(command) = &self.args.command {
                let mut shell = tokio::process::Command::new("sh");
                let ran = shell.args(["-c", command]).env("ONRECORD_FINDING", &line).stdin(std::process::Stdio::null());
                match ran.status().await {
                    Ok(status) if status.success() => {}
                    other => note(format_args!("the command {} has failed: {other:?}", escape(command))),
                }
            }
        }
    }
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    let span: jiff::SignedDuration =
        text.parse().with_context(|| format!("{text:?} is no time, such as 30s or 15m"))?;
    Ok(Duration::try_from(span)?)
}

fn read(path: &Path) -> anyhow::Result<Option<State>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("reading {}", path.display()))?,
    };
    let state = serde_json::from_slice(&bytes);
    state.map(Some).with_context(|| format!("{} is damaged; without it the monitor begins anew", path.display()))
}

/// The keys that were followed before, if they begin with what is given now.
fn known_keys(given: &KeyHistory, state: &State, path: &Path) -> anyhow::Result<KeyHistory> {
    let known: KeyHistory = state.keys.parse().with_context(|| format!("reading {}", path.display()))?;
    if !known.keys().any(|key| key == given.current()) {
        bail!(
            "{} is about the log {}, of which {} is no key; name another file with --state",
            path.display(),
            known.name(),
            given.current()
        );
    }
    Ok(known)
}
