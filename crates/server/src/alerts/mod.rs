//! Alerts: rules that are looked at while the log grows. What a rule finds is put on record when it begins and when it is
//! over, and is posted to whom the rule names. What has begun is read from the log, so a restart tells nothing twice.

mod watcher;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::config::WebhookUrl;
use crate::engine::Engine;
use crate::shipping::Headers;
use watcher::Watcher;

/// What is looked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub name: String,
    /// A statement of which each row is something to be told.
    pub query: String,
    pub every: Duration,
    pub webhook: Option<WebhookUrl>,
    pub headers: Headers,
}

/// The rules of a log.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    rules: Vec<Arc<Watched>>,
}

/// A rule and how it stands.
#[derive(Debug)]
struct Watched {
    rule: Rule,
    state: Mutex<State>,
}

/// How a rule stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// What it found and is not over.
    pub firing: usize,
    /// How often something began since the program started.
    pub raised: u64,
    /// Attempts to look or to post that failed since then.
    pub failures: u64,
}

impl Alerts {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        let watched = |rule| Arc::new(Watched { rule, state: Mutex::default() });
        Self { rules: rules.into_iter().map(watched).collect() }
    }

    /// Ends what rules had raised that are not there any more.
    pub(crate) async fn end_others(engine: Arc<Engine>) {
        if let Err(error) = watcher::end_others(&engine, &engine.alerts.rules).await {
            tracing::error!(error = format!("{error:#}"), "what rules of earlier had raised could not be ended");
        }
    }

    /// The tasks that look, one for each rule. Refused is a statement that cannot be run.
    pub(crate) async fn tasks(
        engine: &Arc<Engine>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Vec<impl Future<Output = ()> + use<>>> {
        let mut tasks = Vec::new();
        for watched in &engine.alerts.rules {
            let watcher =
                Watcher::new(engine, watched).await.with_context(|| format!("the alert {:?}", watched.rule.name))?;
            tasks.push(watcher.run(stop.clone()));
        }
        Ok(tasks)
    }

    /// How each rule stands, in the order of the configuration.
    pub(crate) fn states(&self) -> Vec<(String, State)> {
        self.rules.iter().map(|watched| (watched.rule.name.clone(), watched.state().clone())).collect()
    }
}

impl Watched {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
