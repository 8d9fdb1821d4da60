//! Outliers: calls that took far longer than is usual among their like.

use onrecord_lake::datafusion::scalar::ScalarValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Engine, Moment};

/// Of fewer calls the slowest one of a hundred says nothing.
const P99_FROM: usize = 100;
/// Of fewer calls nothing is usual.
const MEDIAN_FROM: usize = 5;

/// What is compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Measure {
    /// From the request to the end of the answer
    #[default]
    Duration,
    /// The same for each token of the answer
    PerToken,
    /// To the first content
    FirstToken,
    /// The longest wait between two pieces of content
    Interval,
    /// Waiting for its turn, as the model server reports it
    Queue,
    /// Reading the prompt, as the model server reports it
    Prefill,
    /// Generating, as the model server reports it
    Decode,
}

/// Which calls are alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// Calls of one model
    #[default]
    Model,
    /// Calls of one model server
    Upstream,
    /// Calls of one access token
    Principal,
    /// Calls that ask for the same, such as chat or embeddings
    Operation,
    /// All calls
    All,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slow {
    /// RFC 3339, or microseconds since 1970-01-01 UTC, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "Moment::optional")]
    #[schemars(with = "Option<Moment>")]
    pub since: Option<i64>,
    /// RFC 3339, or microseconds since 1970-01-01 UTC, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "Moment::optional")]
    #[schemars(with = "Option<Moment>")]
    pub until: Option<i64>,
    #[serde(default)]
    pub measure: Measure,
    #[serde(default)]
    pub by: By,
    /// A call is an outlier from so many times the median on.
    #[serde(default = "Slow::usual_factor")]
    pub factor: f64,
    /// At most so many, the worst first.
    #[serde(default = "Slow::usual_limit")]
    pub limit: usize,
}

/// A call that is far from the usual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Outlier {
    pub leaf_index: u64,
    pub id: String,
    /// RFC 3339, UTC.
    pub time: String,
    /// What it is compared with, e.g. a model's name.
    pub among: Option<String>,
    /// So many calls.
    pub calls: u64,
    pub ms: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
    /// `ms` in medians.
    pub times: Option<f64>,
    pub outcome: Option<String>,
    pub output_tokens: Option<i64>,
    pub calls_under_way: Option<i64>,
}

impl Slow {
    pub(crate) const fn usual_factor() -> f64 {
        3.0
    }

    pub(crate) const fn usual_limit() -> usize {
        20
    }

    fn statement(&self) -> String {
        let value = match self.measure {
            Measure::Duration => "duration_ms",
            Measure::PerToken => "duration_ms / nullif(output_tokens, 0)",
            Measure::FirstToken => "first_token_ms",
            Measure::Interval => "interval_max_ms",
            Measure::Queue => "queue_ms",
            Measure::Prefill => "prefill_ms",
            Measure::Decode => "decode_ms",
        };
        let among = match self.by {
            By::Model => "coalesce(response_model, model)",
            By::Upstream => "upstream",
            By::Principal => "principal",
            By::Operation => "operation",
            By::All => "'all'",
        };
        format!(
            "WITH calls AS (\
               SELECT leaf_index, id, time, coalesce({among}, 'unknown') AS among, {value} AS ms, outcome, output_tokens, \
                 calls_under_way FROM interactions \
               WHERE operation IS NOT NULL AND outcome <> 'rejected' AND {value} IS NOT NULL \
                 AND ($1 IS NULL OR time >= $1) AND ($2 IS NULL OR time < $2)), \
             usual AS (\
               SELECT among, count(*) AS calls, approx_percentile_cont(ms, 0.5) AS median_ms, \
                 approx_percentile_cont(ms, 0.99) AS p99_ms FROM calls GROUP BY among) \
             SELECT leaf_index, id, time, calls.among AS among, calls, ms, median_ms, p99_ms, \
               ms / nullif(median_ms, 0.0) AS times, outcome, output_tokens, calls_under_way \
             FROM calls JOIN usual ON calls.among = usual.among \
             WHERE (calls >= {MEDIAN_FROM} AND ms > $3 * median_ms) OR (calls >= {P99_FROM} AND ms > p99_ms) \
             ORDER BY times DESC NULLS FIRST, leaf_index DESC LIMIT {}",
            self.limit
        )
    }
}

impl Engine {
    /// Calls that took longer than `factor` medians of their like, or longer than 99 of 100 of them; the worst first.
    pub(crate) async fn slow(&self, slow: &Slow) -> anyhow::Result<Vec<Outlier>> {
        let time = |at: Option<i64>| ScalarValue::TimestampMicrosecond(at, Some("UTC".into()));
        let values = vec![time(slow.since), time(slow.until), ScalarValue::from(slow.factor)];
        self.rows(&slow.statement(), values, self.limits.clone()).await
    }
}
