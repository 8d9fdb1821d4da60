//! One rule, looked at now and then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use http::Method;
use onrecord_lake::QueryLimits;
use onrecord_lake::datafusion::scalar::ScalarValue;
use onrecord_proof::field::{self, Field};
use onrecord_proof::{Kind, Record, Ref, Rel};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Watched;
use crate::engine::{Access, Engine, Reading, new_record};
use crate::render;
use crate::web::Web;

/// What one rule tells at a time, at most.
const ROWS: usize = 100;
/// What was not taken and is posted again, at most; on record it is all the same.
const WAITING: usize = 1000;
/// For one request to a webhook.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a webhook's answer that are worth a message.
const ANSWER: usize = 200;
const RAISED: &str = "raised";
const RESOLVED: &str = "resolved";
/// Whose records these are.
const PRINCIPAL: &str = "alerts";

/// The columns that say what a row is about, and the fields that they become.
const ABOUT: [(&str, &Field); 4] = [
    ("id", &field::SUBJECT),
    ("session", &field::SESSION),
    ("model", &field::REQUEST_MODEL),
    ("upstream", &field::UPSTREAM),
];

/// A row of the rule's statement.
type Row = Map<String, Value>;

pub(super) struct Watcher {
    engine: Arc<Engine>,
    watched: Arc<Watched>,
    webhook: Option<Webhook>,
    /// What was raised and is not over, by what tells it apart. None until it was read from the log.
    firing: Option<BTreeMap<String, Row>>,
    /// What is still to be posted.
    waiting: VecDeque<Value>,
}

/// Where alerts are posted to. Its URL is a secret, so no message has it.
struct Webhook {
    host: Web,
    path: String,
}

/// What an earlier run has put on record.
#[derive(Deserialize)]
struct Known {
    occurrence: String,
    rule: String,
    #[serde(flatten)]
    row: Row,
}

impl Watcher {
    /// Refused is a rule that cannot be looked at.
    pub(super) async fn new(engine: &Arc<Engine>, watched: &Arc<Watched>) -> anyhow::Result<Self> {
        let rule = &watched.rule;
        // Planned and not run: it ends when it is dropped.
        drop(engine.lake.query(&rule.query, engine.limits.clone()).await.context("its `query`")?);
        let webhook = match &rule.webhook {
            Some(url) => {
                let host = url.0.origin().ascii_serialization();
                let path = url.0[url::Position::BeforePath..].to_owned();
                Some(Webhook { host: Web::new(&host, PATIENCE)?.with_all(rule.headers.read()?), path })
            }
            None => None,
        };
        let (engine, watched) = (Arc::clone(engine), Arc::clone(watched));
        Ok(Self { engine, watched, webhook, firing: None, waiting: VecDeque::new() })
    }

    /// Looks until it is told to stop.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let watched = Arc::clone(&self.watched);
        let rule = &watched.rule;
        let failed = |what: &str, error: &anyhow::Error| {
            watched.state().failures += 1;
            tracing::error!(alert = rule.name, error = format!("{error:#}"), "{what}");
        };
        loop {
            let round = async {
                if let Err(error) = self.look().await {
                    failed("a rule could not be looked at", &error);
                }
                if let Err(error) = self.post(Instant::now() + rule.every).await {
                    failed("an alert could not be posted; it is posted again", &error);
                }
            };
            if stop.run_until_cancelled(Box::pin(round)).await.is_none()
                || timeout(rule.every, stop.cancelled()).await.is_ok()
            {
                return;
            }
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let watched = Arc::clone(&self.watched);
        let rule = &watched.rule;
        let mut firing = match self.firing.take() {
            Some(firing) => firing,
            None => self.known().await?,
        };
        let looked = self.compare(&mut firing).await;
        watched.state().firing = firing.len();
        self.firing = Some(firing);
        looked.with_context(|| format!("the alert {:?}", rule.name))
    }

    /// What was raised by an earlier run and is not over.
    async fn known(&self) -> anyhow::Result<BTreeMap<String, Row>> {
        let known = lasting(&self.engine, "onrecord_event = $3", [self.watched.rule.name.as_str()]).await?;
        Ok(known.into_iter().map(|known| (known.occurrence, known.row)).collect())
    }

    /// Tells what is new and what is over.
    async fn compare(&mut self, firing: &mut BTreeMap<String, Row>) -> anyhow::Result<()> {
        let watched = Arc::clone(&self.watched);
        let rule = &watched.rule;
        let limits = QueryLimits { rows: ROWS + 1, ..self.engine.limits.clone() };
        let rows: Vec<Row> = self.engine.rows(&rule.query, Vec::new(), limits).await?;
        let (count, are_all) = (rows.len(), rows.len() <= ROWS);
        if !are_all {
            tracing::warn!(alert = rule.name, "its statement gives more than {ROWS} rows; the others are left out");
        }
        let found: BTreeMap<_, _> = rows.into_iter().map(|row| (occurrence(&rule.name, &row), row)).collect();
        if found.len() < count {
            tracing::warn!(alert = rule.name, "several of its rows have the same texts and count as one");
        }
        let over: Vec<_> = firing.keys().filter(|key| are_all && !found.contains_key(*key)).cloned().collect();
        for key in over {
            self.tell(RESOLVED, &key, &about(&firing[&key])).await?;
            firing.remove(&key);
        }
        let (lasting, mut new): (Vec<_>, Vec<_>) = found.into_iter().partition(|(key, _)| firing.contains_key(key));
        new.truncate(ROWS.saturating_sub(firing.len()));
        firing.extend(lasting);
        if !new.is_empty() {
            let reading = Reading { principal: PRINCIPAL.to_owned(), address: None, purpose: None, user: None };
            let access = Access { event: "alert", statement: &rule.query };
            self.engine.accessed(&reading, access, i64::try_from(new.len()).ok()).await?;
        }
        for (key, row) in new {
            self.tell(RAISED, &key, &row).await?;
            watched.state().raised += 1;
            firing.insert(key, row);
        }
        Ok(())
    }

    /// Puts it on record, and then in the line of what is posted.
    async fn tell(&mut self, outcome: &str, key: &str, row: &Row) -> anyhow::Result<()> {
        let name = &self.watched.rule.name;
        let words = words(row);
        let record = record(name, outcome, key, &words, row);
        let receipt = self.engine.ledger.append(&record)?.await?;
        tracing::warn!(alert = name, outcome, leaf = receipt.index, "a rule has found something, or that it is over");
        if self.webhook.is_some() {
            if self.waiting.len() == WAITING {
                self.waiting.pop_front();
                tracing::error!(alert = name, "its webhook takes nothing; the oldest alert that waits is not posted");
            }
            self.waiting.push_back(json!({
                "alert": name, "outcome": outcome, "time": render::time(record.captured_at), "id": record.id,
                "leaf_index": receipt.index, "occurrence": key, "row": row, "text": format!("{name} ({outcome}): {words}"),
            }));
        }
        Ok(())
    }

    /// Posts what waits, in its order, until it is time to look again. What is not taken waits for the next time.
    async fn post(&mut self, until: Instant) -> anyhow::Result<()> {
        let Some(webhook) = &self.webhook else { return Ok(()) };
        while let Some(next) = self.waiting.front().filter(|_| Instant::now() < until) {
            let posted =
                webhook.host.ask(Method::POST, &webhook.path, "application/json", next.to_string().into()).await;
            let answer = posted.map_err(|error| anyhow::anyhow!("its webhook: {}", error.root_cause()))?;
            let said = || answer.text().trim().chars().take(ANSWER).collect::<String>();
            match answer.status {
                200..300 => {}
                // What it does not like about this one it will not like later, and others wait.
                400..500 if ![401, 403, 404, 408, 429].contains(&answer.status) => {
                    let (alert, status) = (&self.watched.rule.name, answer.status);
                    tracing::error!(
                        alert,
                        status,
                        answer = said(),
                        "its webhook refuses an alert, which is not posted again"
                    );
                }
                status => bail!("its webhook answered {status}: {}", said()),
            }
            self.waiting.pop_front();
        }
        Ok(())
    }
}

/// What this log has raised and is not over, by the rules for which a condition holds with these values from `$3` on. A table
/// can have the records of several logs.
async fn lasting(
    engine: &Engine,
    condition: &str,
    values: impl IntoIterator<Item = &str>,
) -> anyhow::Result<Vec<Known>> {
    let last = |column: &str| format!("last_value({column} ORDER BY leaf_index)");
    let columns = [
        ("onrecord_event", "rule"),
        ("onrecord_subject", "id"),
        ("gen_ai_conversation_id", "session"),
        ("gen_ai_request_model", "model"),
        ("onrecord_upstream", "upstream"),
        ("onrecord_output_text", "note"),
        ("gen_ai_evaluation_score_value", "score"),
    ];
    let columns: Vec<_> = columns.iter().map(|(column, name)| format!("{} AS {name}", last(column))).collect();
    let statement = format!(
        "SELECT onrecord_request_id AS occurrence, {} FROM records WHERE kind = 'alert' AND origin = $2 AND {condition} \
         GROUP BY onrecord_request_id HAVING {} = $1",
        columns.join(", "),
        last("onrecord_outcome")
    );
    let own = [ScalarValue::from(RAISED), ScalarValue::from(engine.reader().origin())];
    let values = own.into_iter().chain(values.into_iter().map(ScalarValue::from)).collect();
    engine.rows(&statement, values, QueryLimits::default()).await
}

/// Ends what rules had raised that are not there any more: nobody looks whether it lasts.
pub(super) async fn end_others(engine: &Engine, rules: &[Arc<Watched>]) -> anyhow::Result<()> {
    let names: Vec<_> = rules.iter().map(|watched| watched.rule.name.as_str()).collect();
    let places: Vec<_> = (3..3 + names.len()).map(|place| format!("${place}")).collect();
    let others =
        if places.is_empty() { "true".to_owned() } else { format!("onrecord_event NOT IN ({})", places.join(", ")) };
    for Known { occurrence, rule, row } in lasting(engine, &others, names).await? {
        let record = record(&rule, RESOLVED, &occurrence, "the rule is not there any more", &about(&row));
        let leaf = engine.ledger.append(&record)?.await?.index;
        tracing::warn!(alert = rule, leaf, "its rule is not there any more, so what it had found counts as over");
    }
    Ok(())
}

/// What tells a row of a rule from its others: what it has as text. Numbers may change while it lasts. It names nothing,
/// since texts can be payload.
fn occurrence(rule: &str, row: &Row) -> String {
    let texts: Row = row
        .iter()
        .filter(|(name, value)| value.is_string() && *name != "note")
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    let digest = Sha256::digest(Value::Object(texts).to_string());
    format!("{rule}-{}", render::hex(&digest[..8]))
}

/// What a row is about, without what it said: that may have been erased since, and is why the row is not there any more.
fn about(row: &Row) -> Row {
    let columns = ABOUT.iter().map(|(name, _)| *name);
    columns.filter_map(|name| Some((name.to_owned(), row.get(name)?.clone()))).collect()
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
    // What a statement gives can be payload, and is kept as such.
    record.set(&field::OUTPUT_TEXT, words);
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    for (name, field) in ABOUT {
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
        let of = |json: Value| occurrence("failures", &row(&json));
        assert_eq!(of(json!({"model": "m", "failed": 5})), of(json!({"model": "m", "failed": 9, "note": "nine"})));
        assert!(of(json!({"failed": 5})).starts_with("failures-"));
        let different = [
            json!({"model": "m"}),
            json!({"model": "n"}),
            json!({"other": "m"}),
            json!({"a": "b, c d"}),
            json!({"a": "b", "c": "d"}),
        ];
        let keys: std::collections::BTreeSet<_> = different.into_iter().map(of).collect();
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn a_row_is_told_in_words() {
        assert_eq!(words(&row(&json!({"model": "m", "failed": 5}))), "failed 5, model m");
        assert_eq!(words(&row(&json!({"model": "m", "note": "all is lost"}))), "all is lost");
    }

    #[test]
    fn what_is_over_is_told_without_what_was_said() {
        let told = about(&row(&json!({"id": "x", "model": "m", "note": "a secret", "snippet": "of it", "score": 1.0})));
        assert_eq!(told, row(&json!({"id": "x", "model": "m"})));
    }

    #[test]
    fn a_record_says_what_it_is_about() {
        let id = Uuid::now_v7();
        let about = row(&json!({"id": id, "session": "s", "model": "m", "score": 0.5}));
        let record = record("r", RAISED, "r-1", "in words", &about);
        assert_eq!(record.text(&field::SUBJECT), Some(id.to_string().as_str()));
        assert_eq!((record.text(&field::SESSION), record.text(&field::REQUEST_MODEL)), (Some("s"), Some("m")));
        assert_eq!(record.refs, [Ref { rel: Rel::Subject, id }]);
        assert_eq!(record.text(&field::OUTPUT_TEXT), Some("in words"));
    }
}
