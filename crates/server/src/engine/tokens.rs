//! The token decisions of one call.

use onrecord_capture::{Candidate, StoredDecisions, Token};
use onrecord_proof::{Field, Record, Value, field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One token of an answer, and what else it could have been. The same as a row of the view `tokens`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Decision {
    /// Which answer of the call, counted from 0.
    pub choice: usize,
    /// Which token of the answer, counted from 0.
    pub position: usize,
    pub token_id: Option<i64>,
    pub text: String,
    /// Natural logarithm of its probability.
    pub logprob: Option<f64>,
    /// In nats.
    pub entropy: Option<f64>,
    /// Probability of the likeliest token less that of the second one.
    pub margin: Option<f64>,
    /// When it came, in ms after the request's head.
    pub after_ms: Option<f64>,
    pub alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Alternative {
    pub token_id: Option<i64>,
    pub text: String,
    pub logprob: Option<f64>,
}

/// The decisions that a record has.
pub(crate) fn decisions(record: &Record) -> Vec<Decision> {
    let bytes = |field: &Field| record.get(field).and_then(Value::as_bytes);
    let stored = StoredDecisions {
        dialect: record.text(&field::DIALECT).unwrap_or_default(),
        logprobs: bytes(&field::LOGPROBS),
        times: bytes(&field::TOKEN_TIMES),
        body: bytes(&field::OUTPUT_BODY),
        encoding: record.text(&field::OUTPUT_ENCODING),
        messages: bytes(&field::OUTPUT_MESSAGES),
    };
    stored.tokens().into_iter().map(Decision::from).collect()
}

impl From<Token> for Decision {
    fn from(token: Token) -> Self {
        Self {
            choice: token.choice,
            position: token.position,
            entropy: token.entropy(),
            margin: token.margin(),
            token_id: token.chosen.id,
            logprob: token.chosen.logprob,
            after_ms: token.time_us.map(|us| us as f64 / 1000.0),
            text: token.chosen.text,
            alternatives: token.alternatives.into_iter().map(Alternative::from).collect(),
        }
    }
}

impl From<Candidate> for Alternative {
    fn from(candidate: Candidate) -> Self {
        Self { token_id: candidate.id, text: candidate.text, logprob: candidate.logprob }
    }
}
