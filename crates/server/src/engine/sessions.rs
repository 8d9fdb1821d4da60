//! Sessions: who said what to whom, in order.

use onrecord_lake::QueryLimits;
use onrecord_lake::datafusion::scalar::ScalarValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Engine;

/// Records of one session that are read at most.
const TURNS_MAX: usize = 10_000;

const TURN: &str = "id, leaf_index, kind, CAST(captured_at AS BIGINT) AS began_us, onrecord_duration_us AS duration_us, \
    coalesce(gen_ai_response_model, gen_ai_request_model) AS model, onrecord_step AS step, \
    coalesce(gen_ai_tool_name, onrecord_span_name) AS name, onrecord_input_text AS prompt, \
    onrecord_output_text AS answer, gen_ai_usage_input_tokens AS input_tokens, \
    gen_ai_usage_output_tokens AS output_tokens, onrecord_outcome AS outcome, error_type, \
    onrecord_error_message AS error_message, onrecord_subject AS subject, gen_ai_evaluation_score_value AS score, \
    gen_ai_evaluation_score_label AS label, gen_ai_evaluation_explanation AS comment";

/// A session in a list: a row of the view `sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Session {
    #[serde(rename = "session")]
    pub name: String,
    /// Microseconds since 1970-01-01 UTC.
    pub began_us: i64,
    /// When its last record began, likewise.
    pub last_us: i64,
    pub calls: u64,
    pub steps: u64,
    pub feedback: u64,
    pub errors: u64,
    #[serde(default)]
    pub models: Vec<String>,
    pub user_id: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub duration_ms: Option<f64>,
    pub mean_score: Option<f64>,
}

/// One record of a session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Turn {
    pub id: String,
    pub leaf_index: u64,
    pub kind: String,
    /// Microseconds since 1970-01-01 UTC.
    pub began_us: i64,
    pub duration_us: Option<i64>,
    pub model: Option<String>,
    pub step: Option<String>,
    pub name: Option<String>,
    /// The text of the last message that the model was given.
    pub prompt: Option<String>,
    pub answer: Option<String>,
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub outcome: Option<String>,
    pub error_type: Option<String>,
    pub error_message: Option<String>,
    /// Id of the record that feedback is about.
    pub subject: Option<String>,
    pub score: Option<f64>,
    pub label: Option<String>,
    pub comment: Option<String>,
}

/// A session as it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Conversation {
    pub session: String,
    pub turns: Vec<Turn>,
    /// True if the session has more records than are shown.
    pub more: bool,
}

impl Engine {
    /// The sessions that were used last, at most `limit` of them.
    pub(crate) async fn sessions(&self, limit: usize) -> anyhow::Result<Vec<Session>> {
        let statement = format!(
            "SELECT * EXCEPT (began, last), CAST(began AS BIGINT) AS began_us, CAST(last AS BIGINT) AS last_us \
             FROM sessions ORDER BY last DESC, session LIMIT {limit}"
        );
        self.rows(&statement, Vec::new(), self.limits.clone()).await
    }

    /// What belongs to a session, in the order in which it began. `None` if nothing of it is on record.
    pub(crate) async fn conversation(&self, session: &str) -> anyhow::Result<Option<Conversation>> {
        let statement = format!(
            "SELECT {TURN} FROM records WHERE gen_ai_conversation_id = $1 AND kind IN ('interaction', 'step', 'feedback') \
             ORDER BY captured_at, leaf_index LIMIT {}",
            TURNS_MAX + 1
        );
        let limits = QueryLimits { rows: TURNS_MAX + 1, ..self.limits.clone() };
        let mut turns: Vec<Turn> = self.rows(&statement, vec![ScalarValue::from(session)], limits).await?;
        let more = turns.len() > TURNS_MAX;
        turns.truncate(TURNS_MAX);
        Ok((!turns.is_empty()).then(|| Conversation { session: session.to_owned(), turns, more }))
    }
}
