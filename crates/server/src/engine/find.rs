//! Finding calls: lists by filter, and one record by what names it.

use std::ops::Range;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use onrecord_lake::QueryLimits;
use onrecord_lake::datafusion::arrow::json::ArrayWriter;
use onrecord_lake::datafusion::scalar::ScalarValue;
use onrecord_ledger::Committed;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Engine, Moment};

/// One line about a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Summary {
    pub leaf_index: u64,
    pub id: String,
    /// RFC 3339, UTC.
    pub time: String,
    pub session: Option<String>,
    pub request_id: Option<String>,
    pub model: Option<String>,
    pub operation: Option<String>,
    pub method: Option<String>,
    pub path: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub first_token_ms: Option<f64>,
    pub duration_ms: Option<f64>,
    pub outcome: Option<String>,
    pub status: Option<i64>,
    pub finish_reasons: Option<Vec<String>>,
    pub error_type: Option<String>,
}

const COLUMNS: &str = "leaf_index, id, time, session, request_id, coalesce(response_model, model) AS model, operation, \
    method, path, input_tokens, output_tokens, first_token_ms, duration_ms, outcome, status, finish_reasons, error_type";

/// Rows of a list at most.
const LIST_MAX: usize = 1_000_000;
/// The newest calls are looked for among the newest leaves, so many at first, then in each step so many times as many of
/// those before, until there are enough. Some calls among all begin with the second step: of fifty models each has enough there.
const NEWEST: u64 = 1024;
const FURTHER: u64 = 16;

/// Which calls are listed. What is left out does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Filter {
    /// RFC 3339, or microseconds since 1970-01-01 UTC, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "Moment::optional")]
    #[schemars(with = "Option<Moment>")]
    pub since: Option<i64>,
    /// RFC 3339, or microseconds since 1970-01-01 UTC, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "Moment::optional")]
    #[schemars(with = "Option<Moment>")]
    pub until: Option<i64>,
    /// Asked for or answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// `key` or `key=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only calls with a leaf index of at least this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Model calls only, not what was passed through without being understood.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub calls_only: bool,
    /// At most so many: the newest ones, or the oldest with `from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What names one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Id(Uuid),
    Leaf(u64),
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let leaf = text.parse().map(Self::Leaf);
        leaf.or_else(|_| Uuid::parse_str(text).map(Self::Id))
            .map_err(|_| format!("{text:?} is neither a record's id (as in the header x-onrecord-id) nor a leaf index"))
    }
}

impl Engine {
    /// The record that `wanted` names.
    pub(crate) async fn find(&self, wanted: Wanted) -> onrecord_lake::Result<Option<Committed>> {
        match wanted {
            Wanted::Id(id) => self.lake.find(id).await,
            Wanted::Leaf(index) => self.lake.get(index).await,
        }
    }

    /// Calls that pass the filter: the newest first, or with `from` in the order of the log.
    pub(crate) async fn list(&self, filter: &Filter) -> anyhow::Result<Vec<Summary>> {
        let most = filter.limit.unwrap_or(LIST_MAX).min(LIST_MAX);
        if filter.from.is_some() || filter.names_few() {
            return self.list_of(filter, filter.from.unwrap_or(0)..u64::MAX, most).await;
        }
        let picks = filter.picks();
        let some = NEWEST * FURTHER;
        // Reads are on record too: behind many of them the newest calls are further back.
        let first = if picks { some } else { self.newest.load(Ordering::Relaxed).clamp(NEWEST, some) };
        let (mut found, mut step) = (Vec::new(), first.max(most as u64));
        let size = self.reader().size();
        let mut leaves = size.saturating_sub(step)..u64::MAX;
        loop {
            found.extend(self.list_of(filter, leaves.clone(), most - found.len()).await?);
            if found.len() >= most || leaves.start == 0 {
                if let (false, Some(last)) = (picks, found.last()) {
                    self.newest.store(size.saturating_sub(last.leaf_index), Ordering::Relaxed);
                }
                return Ok(found);
            }
            step = step.saturating_mul(FURTHER);
            leaves = leaves.start.saturating_sub(step)..leaves.start;
        }
    }

    /// Calls of some leaves that pass the filter.
    async fn list_of(&self, filter: &Filter, leaves: Range<u64>, most: usize) -> anyhow::Result<Vec<Summary>> {
        let (statement, values) = filter.statement(leaves, most);
        self.rows(&statement, values, QueryLimits { rows: LIST_MAX, ..self.limits.clone() }).await
    }

    /// The rows of a statement, each as an object that has its columns.
    pub(crate) async fn rows<T: DeserializeOwned>(
        &self,
        statement: &str,
        values: Vec<ScalarValue>,
        limits: QueryLimits,
    ) -> anyhow::Result<Vec<T>> {
        let mut rows = self.lake.query_with(statement, values, limits).await?;
        let mut json = ArrayWriter::new(Vec::new());
        while let Some(batch) = rows.try_next().await? {
            json.write(&batch)?;
        }
        json.finish()?;
        let json = json.into_inner();
        Ok(if json.is_empty() { Vec::new() } else { serde_json::from_slice(&json)? })
    }
}

impl Filter {
    /// True if some of the calls of any time pass it, and others do not.
    const fn picks(&self) -> bool {
        self.model.is_some() || self.outcome.is_some() || self.tag.is_some()
    }

    /// True if it names a session or a request, of which there are few records and an index knows which.
    fn names_few(&self) -> bool {
        self.session.is_some() || self.request_id.is_some()
    }

    /// The statement for some leaves, and the values of its parameters.
    fn statement(&self, leaves: Range<u64>, most: usize) -> (String, Vec<ScalarValue>) {
        let mut values = Vec::new();
        let mut conditions = Vec::new();
        let mut when = |condition: &str, value: Option<ScalarValue>| {
            if let Some(value) = value {
                values.push(value);
                conditions.push(condition.replace('?', &format!("${}", values.len())));
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(ScalarValue::from);
        let time = |at: Option<i64>| at.map(|at| ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into())));
        when("time >= ?", time(self.since));
        when("time < ?", time(self.until));
        when("(model = ? OR response_model = ?)", text(&self.model));
        when("session = ?", text(&self.session));
        when("request_id = ?", text(&self.request_id));
        when("outcome = ?", text(&self.outcome));
        let leaf = |leaf: u64| i64::try_from(leaf).ok().map(ScalarValue::from);
        when("leaf_index >= ?", leaf(leaves.start));
        when("leaf_index < ?", leaf(leaves.end));
        if let Some(tag) = &self.tag {
            let (key, value) = tag.split_once('=').map_or((tag.as_str(), None), |(key, value)| (key, Some(value)));
            match value {
                None => when("has_tag(tags, ?)", Some(ScalarValue::from(key))),
                Some(value) => {
                    values.extend([ScalarValue::from(key), ScalarValue::from(value)]);
                    let at = values.len();
                    conditions.push(format!("has_tag(tags, ${}, ${at})", at - 1));
                }
            }
        }
        if self.calls_only {
            conditions.push("operation IS NOT NULL".into());
        }
        let conditions = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
        let order = if self.from.is_some() { "ASC" } else { "DESC" };
        let statement =
            format!("SELECT {COLUMNS} FROM interactions WHERE {conditions} ORDER BY leaf_index {order} LIMIT {most}");
        (statement, values)
    }
}

#[cfg(test)]
mod tests {
    use onrecord_proof::{Kind, Map, field};

    use super::*;
    use crate::config::{Overrides, load_only};
    use crate::engine::new_record;

    /// The newest are looked for step by step, and are those of a list of all.
    #[tokio::test]
    async fn the_newest_are_the_last_of_all() {
        let data = tempfile::tempdir().unwrap();
        let flags = Overrides { data: Some(data.path().to_owned()), ..Overrides::default() };
        let options = crate::server::engine_options(&load_only(&flags).unwrap()).unwrap();
        let engine = Engine::open(data.path(), options).await.unwrap();
        for part in 0..3_usize {
            let mut appended = Vec::new();
            for number in 0..1000 {
                let kind = if number % 7 == 0 { Kind::Step } else { Kind::Interaction };
                let mut record = new_record(kind);
                record.set(&field::OUTCOME, if number % 400 == 13 { "upstream_error" } else { "completed" });
                record.set(&field::REQUEST_MODEL, format!("m{}", number % 3));
                record.set(&field::TAGS, [("part", part.to_string())].into_iter().collect::<Map>());
                appended.push(engine.ledger.append(&record).unwrap());
            }
            for pending in appended {
                pending.await.unwrap();
            }
            if part < 2 {
                engine.lake.seal_all().await.unwrap();
            }
        }
        let behind = 2 * NEWEST;
        let steps: Vec<_> = (0..behind).map(|_| engine.ledger.append(&new_record(Kind::Step)).unwrap()).collect();
        for step in steps {
            step.await.unwrap();
        }
        let some = |text: &str| Some(text.to_owned());
        for filter in [
            Filter::default(),
            Filter { outcome: some("upstream_error"), ..Filter::default() },
            Filter { outcome: some("nothing"), ..Filter::default() },
            Filter { model: some("m1"), tag: some("part=0"), ..Filter::default() },
            Filter { tag: some("part"), calls_only: true, ..Filter::default() },
        ] {
            let mut all = engine.list(&Filter { from: Some(0), ..filter.clone() }).await.unwrap();
            all.reverse();
            for limit in [1, 7, 700, 5000] {
                let newest = engine.list(&Filter { limit: Some(limit), ..filter.clone() }).await.unwrap();
                assert_eq!(newest, all[..limit.min(all.len())], "{filter:?}, {limit}");
            }
        }
        engine.list(&Filter { limit: Some(1), ..Filter::default() }).await.unwrap();
        let back = engine.newest.load(Ordering::Relaxed);
        assert!((behind + 1..behind + 9).contains(&back), "the next list begins {back} leaves back");
        engine.close().await.unwrap();
    }
}
