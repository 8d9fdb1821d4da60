//! What people and programs think of answers.

use onrecord_ledger::Receipt;
use onrecord_proof::{Kind, Ref, Rel, field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::records::{TEXT_MAX, check_text};
use crate::engine::{Engine, Wanted, new_record};

/// A judgement of one answer or of a whole session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Feedback {
    /// Id or leaf index of the record that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The session that it is about, instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What was judged, e.g. `helpfulness`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// In a word, e.g. `good`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who judges, as the application names them. Who sent it is known from the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Why it was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// It is wrong.
    #[error("{0}")]
    Wrong(String),
    /// What it is about is not there.
    #[error("there is no record {0}")]
    NoRecord(String),
    /// An item of the same id is on record, and is another one.
    #[error("{0}")]
    Other(String),
    /// The lake could not be read.
    #[error(transparent)]
    Lake(#[from] onrecord_lake::Error),
    /// The log does not take it.
    #[error("it cannot be put on record: {0}")]
    Log(String),
}

impl From<onrecord_ledger::Error> for NotTaken {
    fn from(error: onrecord_ledger::Error) -> Self {
        Self::Log(error.to_string())
    }
}

impl Feedback {
    fn check(&self) -> Result<(), String> {
        if self.record.is_some() == self.session.is_some() {
            return Err("`record` or `session` says what the feedback is about: one of them".to_owned());
        }
        if self.score.is_none() && self.label.is_none() && self.comment.is_none() {
            return Err("feedback has a `score`, a `label` or a `comment`".to_owned());
        }
        if self.score.is_some_and(|score| !score.is_finite()) {
            return Err("`score` is no finite number".to_owned());
        }
        for (name, text) in
            [("session", &self.session), ("name", &self.name), ("label", &self.label), ("user", &self.user)]
        {
            check_text(name, text.as_deref(), TEXT_MAX)?;
        }
        Ok(())
    }
}

impl Engine {
    /// Puts feedback on record, in the name of `principal`; durable when this returns its id.
    pub(crate) async fn take_feedback(
        &self,
        feedback: &Feedback,
        principal: &str,
    ) -> Result<(Uuid, Receipt), NotTaken> {
        feedback.check().map_err(NotTaken::Wrong)?;
        let mut record = new_record(Kind::Feedback);
        record.set(&field::PRINCIPAL, principal);
        record.set(&field::SOURCE, "api");
        if let Some(wanted) = &feedback.record {
            let subject = self.find(wanted.parse::<Wanted>().map_err(NotTaken::Wrong)?).await?;
            let subject = subject.ok_or_else(|| NotTaken::NoRecord(wanted.clone()))?.record;
            record.refs.push(Ref { rel: Rel::Subject, id: subject.id });
            record.set(&field::SUBJECT, subject.id.to_string());
            for field in [&field::SESSION, &field::TRACE_ID] {
                if let Some(text) = subject.text(field) {
                    record.set(field, text);
                }
            }
        }
        let Feedback { session, name, label, comment, user, .. } = feedback;
        for (field, text) in [
            (&field::SESSION, session),
            (&field::EVALUATION, name),
            (&field::LABEL, label),
            (&field::EXPLANATION, comment),
            (&field::USER_ID, user),
        ] {
            if let Some(text) = text {
                record.set(field, text.as_str());
            }
        }
        if let Some(score) = feedback.score {
            record.set(&field::SCORE, score);
        }
        record.set(&field::OUTCOME, "completed");
        let receipt = self.ledger.add(&record)?.await?;
        Ok((record.id, receipt))
    }
}
