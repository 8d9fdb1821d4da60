//! One rule, looked at now and then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Method;
use onrecord_lake::QueryLimits;
use onrecord_lake::datafusion::scalar::ScalarValue;
use onrecord_proof::{Kind, Record, Ref, Rel, field};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Watched;
use crate::engine::{Engine, new_record};
use crate::render;
use crate::web::Web;

/// Rows of a rule at most. If there are more, it is not told which are over.
const ROWS: usize = 100;
/// What was not taken and is posted again, at most; on record it is all the same.
const WAITING: usize = 1000;
/// For one request to a webhook.
const PATIENCE: Duration = Duration::from_secs(10);
const RAISED: &str = "raised";
const RESOLVED: &str = "resolved";
/// Whose records these are.
const PRINCIPAL: &str = "alerts";

/// A row of the rule's statement.
type Row = Map<String, Value>;

pub(super) struct Watcher {
    engine: Arc<Engine>,
    watched: Arc<Watched>,
    webhook: Option<Web>,
    /// What was raised and is not over, by what tells it apart. Empty rows are of an earlier run.
    firing: BTreeMap<String, Row>,
    /// What is still to be posted.
    waiting: VecDeque<Value>,
}

/// What an earlier run has put on record.
#[derive(Deserialize)]
struct Known {
    occurrence: String,
}

impl Watcher {
    pub(super) async fn new(engine: &Arc<Engine>, watched: &Arc<Watched>) -> anyhow::Result<Self> {
        let rule = &watched.rule;
        let explain = format!("EXPLAIN {}", rule.query);
        engine.rows::<Row>(&explain, Vec::new(), engine.limits.clone()).await.context("its `query`")?;
        let webhook = match &rule.webhook {
            Some(url) => Some(Web::new(url.as_str(), PATIENCE)?.with_all(rule.headers.read()?)),
            None => None,
        };
        let statement = "SELECT occurrence FROM alerts WHERE event = $1 GROUP BY occurrence \
            HAVING last_value(outcome ORDER BY leaf_index) = $2";
        let values = [rule.name.as_str(), RAISED].map(ScalarValue::from).to_vec();
        let known: Vec<Known> = engine.rows(statement, values, engine.limits.clone()).await?;
        let firing: BTreeMap<_, _> = known.into_iter().map(|known| (known.occurrence, Row::new())).collect();
        watched.state().firing = firing.len();
        let (engine, watched) = (Arc::clone(engine), Arc::clone(watched));
        Ok(Self { engine, watched, webhook, firing, waiting: VecDeque::new() })
    }

    /// Looks until it is told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let name = self.watched.rule.name.clone();
        loop {
            let looked = stop.run_until_cancelled(Box::pin(self.look())).await;
            let Some(looked) = looked else { return };
            if let Err(error) = looked {
                self.watched.state().failures += 1;
                tracing::error!(alert = name, error = format!("{error:#}"), "a rule could not be looked at");
            }
            if timeout(self.watched.rule.every, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let watched = Arc::clone(&self.watched);
        let rule = &watched.rule;
        let limits = QueryLimits { rows: ROWS + 1, ..self.engine.limits.clone() };
        let rows: Vec<Row> = self.engine.rows(&rule.query, Vec::new(), limits).await?;
        let are_all = rows.len() <= ROWS;
        if !are_all {
            tracing::warn!(alert = rule.name, "its statement gives more than {ROWS} rows; the others are left out");
        }
        let found: BTreeMap<_, _> =
            rows.into_iter().take(ROWS).map(|row| (occurrence(&rule.name, &row), row)).collect();
        let over: Vec<_> = self.firing.keys().filter(|key| are_all && !found.contains_key(*key)).cloned().collect();
        for key in over {
            let row = self.firing.get(&key).cloned().unwrap_or_default();
            self.tell(RESOLVED, &key, &row).await?;
            self.firing.remove(&key);
        }
        for (key, row) in found {
            if !self.firing.contains_key(&key) {
                self.tell(RAISED, &key, &row).await?;
                watched.state().raised += 1;
            }
            self.firing.insert(key, row);
        }
        watched.state().firing = self.firing.len();
        self.post().await
    }

    /// Puts it on record, and then in the line of what is posted.
    async fn tell(&mut self, outcome: &str, key: &str, row: &Row) -> anyhow::Result<()> {
        let name = &self.watched.rule.name;
        let words = words(row);
        let record = record(name, outcome, key, &words, row);
        let receipt = self.engine.ledger.append(&record)?.await?;
        tracing::warn!(alert = name, outcome, leaf = receipt.index, "{}", if words.is_empty() { key } else { &words });
        if self.webhook.is_some() {
            if self.waiting.len() == WAITING {
                self.waiting.pop_front();
                tracing::error!(alert = name, "its webhook takes nothing; the oldest alert that waits is not posted");
            }
            let text =
                if words.is_empty() { format!("{key} ({outcome})") } else { format!("{name} ({outcome}): {words}") };
            self.waiting.push_back(json!({
                "alert": name, "outcome": outcome, "time": render::time(record.captured_at), "id": record.id,
                "leaf_index": receipt.index, "occurrence": key, "row": row, "text": text,
            }));
        }
        Ok(())
    }

    /// Posts what waits, in its order. What is not taken waits for the next look.
    async fn post(&mut self) -> anyhow::Result<()> {
        let Some(webhook) = &self.webhook else { return Ok(()) };
        while let Some(next) = self.waiting.front() {
            let answer = webhook.ask(Method::POST, "", "application/json", next.to_string().into()).await?;
            if !(200..300).contains(&answer.status) {
                bail!("its webhook answered {}: {}", answer.status, answer.text().trim());
            }
            self.waiting.pop_front();
        }
        Ok(())
    }
}

/// What tells a row of a rule from its others: what it has as text. Numbers may change while it lasts.
fn occurrence(rule: &str, row: &Row) -> String {
    let texts = row.iter().filter(|(name, _)| *name != "note");
    let texts = texts.filter_map(|(name, value)| Some(format!("{name} {}", value.as_str()?)));
    let texts = texts.collect::<Vec<_>>().join(", ");
    if texts.is_empty() { rule.to_owned() } else { format!("{rule}: {texts}") }
}

/// The row in words: its column `note`, or else all of it.
fn words(row: &Row) -> String {
    if let Some(note) = row.get("note").and_then(Value::as_str) {
        return note.to_owned();
    }
    let one = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name} {text}"),
        other => format!("{name} {other}"),
    };
    row.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn record(rule: &str, outcome: &str, key: &str, words: &str, row: &Row) -> Record {
    let mut record = new_record(Kind::Alert);
    record.set(&field::EVENT, rule);
    record.set(&field::OUTCOME, outcome);
    record.set(&field::REQUEST_ID, key);
    record.set(&field::PRINCIPAL, PRINCIPAL);
    if !words.is_empty() {
        record.set(&field::NOTE, words);
    }
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    for (name, field) in [
        ("id", &field::SUBJECT),
        ("session", &field::SESSION),
        ("model", &field::REQUEST_MODEL),
        ("upstream", &field::UPSTREAM),
    ] {
        if let Some(text) = text(name) {
            record.set(field, text);
        }
    }
    if let Some(id) = text("id").and_then(|id| Uuid::parse_str(&id).ok()) {
        record.refs.push(Ref { rel: Rel::Subject, id });
    }
    if let Some(score) = row.get("score").and_then(Value::as_f64) {
        record.set(&field::SCORE, score);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: &Value) -> Row {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn numbers_change_while_it_lasts() {
        let [few, many] = [5, 9].map(|failed| row(&json!({"model": "m", "failed": failed})));
        assert_eq!(occurrence("failures", &few), "failures: model m");
        assert_eq!(occurrence("failures", &few), occurrence("failures", &many));
        assert_ne!(occurrence("failures", &few), occurrence("failures", &row(&json!({"model": "n", "failed": 5}))));
        assert_eq!(occurrence("failures", &row(&json!({"failed": 5, "note": "five"}))), "failures");
    }

    #[test]
    fn a_row_is_told_in_words() {
        assert_eq!(words(&row(&json!({"model": "m", "failed": 5}))), "failed 5, model m");
        assert_eq!(words(&row(&json!({"model": "m", "note": "all is lost"}))), "all is lost");
    }

    #[test]
    fn a_record_says_what_it_is_about() {
        let id = Uuid::now_v7();
        let about = row(&json!({"id": id, "session": "s", "model": "m", "score": 0.5}));
        let record = record("r", RAISED, "r: id", "in words", &about);
        assert_eq!(record.text(&field::SUBJECT), Some(id.to_string().as_str()));
        assert_eq!((record.text(&field::SESSION), record.text(&field::REQUEST_MODEL)), (Some("s"), Some("m")));
        assert_eq!(record.refs, [Ref { rel: Rel::Subject, id }]);
        assert_eq!(record.text(&field::NOTE), Some("in words"));
    }
}
