//! The calls of the gateway that clients may tell of too, by the names that both sides know.

use onrecord_capture::otlp::{Evaluation, Span, SpanKey};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::REMEMBERED;
use super::recent::Recent;

/// An id of an answer of fewer bytes comes again: those of Ollama are `chatcmpl-` and a number below 999.
const UNIQUE: usize = 20;
/// A span that names such an id began at most so long after the call and ended at most so long before it, in microseconds:
/// the clocks of two machines.
const CLOCKS: i64 = 1_000_000;

/// The newest calls of the gateway.
pub(crate) struct KnownCalls {
    /// By the spans of their client that they are in.
    spans: Recent<SpanKey, Within>,
    /// By the digest of the id of their answer, of which texts of any length have one.
    answers: Recent<[u8; 16], Answered>,
}

/// A call that is in a span.
#[derive(Debug, Clone, Copy)]
struct Within {
    call: Uuid,
    /// It is the span that `traceparent` names, and not one around it.
    carries: bool,
}

/// A call whose answer has an id.
#[derive(Debug, Clone, Copy)]
struct Answered {
    call: Uuid,
    /// In microseconds since 1970-01-01 UTC.
    began_at: i64,
}

impl Default for KnownCalls {
    fn default() -> Self {
        Self { spans: Recent::new(REMEMBERED), answers: Recent::new(REMEMBERED) }
    }
}

impl KnownCalls {
    /// A call came in whose `traceparent` names this span.
    pub(crate) fn came_in(&self, span: SpanKey, call: Uuid) {
        self.spans.insert(span, Within { call, carries: true });
    }

    /// The answer to a call that began at that time has this id.
    pub(crate) fn answered(&self, id: &str, call: Uuid, began_at: i64) {
        self.answers.insert(digest(id), Answered { call, began_at });
    }

    /// The call that a span is about, if the gateway has put it on record: that of what carried it, and of each client that
    /// asked the model in it, since one instrumentation can be within another. A span around several calls is about none.
    pub(super) fn of(&self, span: Span<'_>, key: SpanKey) -> Option<Uuid> {
        let is_model_call = span.is_model_call();
        let answered = || Some(Within { call: self.answered_in(span)?, carries: false });
        let Within { call, carries } = self.spans.get(&key).or_else(|| answered().filter(|_| is_model_call))?;
        // A child ends, and comes, before its parent.
        if let Some(parent) = span.parent() {
            self.spans.insert(parent, Within { call, carries: false });
        }
        (carries || is_model_call).then_some(call)
    }

    /// The call that a judgement is about: whose answer has the id that it names, or which came from the span that it names.
    pub(super) fn judged_by(&self, evaluation: &Evaluation<'_>) -> Option<Uuid> {
        let answered = || {
            let id = evaluation.response_id()?;
            // An answer is judged after it was given, who knows when.
            self.answers.get(&digest(&id)).filter(|_| id.len() >= UNIQUE).map(|answered| answered.call)
        };
        let carried = || self.spans.get(&evaluation.span()?).filter(|within| within.carries).map(|within| within.call);
        answered().or_else(carried)
    }

    /// The call whose answer has the id that a span names.
    fn answered_in(&self, span: Span<'_>) -> Option<Uuid> {
        let id = span.response_id()?;
        let Answered { call, began_at } = self.answers.get(&digest(&id))?;
        let (from, until) = (span.started_at().saturating_sub(CLOCKS), span.ended_at().saturating_add(CLOCKS));
        (id.len() >= UNIQUE || (from..=until).contains(&began_at)).then_some(call)
    }
}

fn digest(id: &str) -> [u8; 16] {
    let digest = Sha256::digest(id);
    std::array::from_fn(|at| digest[at])
}
