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

/// The last call that is in a span.
#[derive(Debug, Clone, Copy)]
struct Within {
    call: Uuid,
    /// It is the span that `traceparent` names, and not one around it.
    carries: bool,
    /// Others are in it too.
    is_one_of_several: bool,
}

impl Within {
    const fn carried(call: Uuid) -> Self {
        Self { call, carries: true, is_one_of_several: false }
    }

    const fn around(call: Uuid) -> Self {
        Self { call, carries: false, is_one_of_several: false }
    }

    fn and(self, later: Self) -> Self {
        let is_one_of_several = self.is_one_of_several || later.is_one_of_several || self.call != later.call;
        Self { call: later.call, carries: self.carries || later.carries, is_one_of_several }
    }

    /// The call that the span carries and nothing else.
    fn alone(self) -> Option<Uuid> {
        (self.carries && !self.is_one_of_several).then_some(self.call)
    }
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
        self.spans.merge(span, Within::carried(call), Within::and);
    }

    /// The answer to a call that began at that time has this id.
    pub(crate) fn answered(&self, id: &str, call: Uuid, began_at: i64) {
        self.answers.insert(digest(id), Answered { call, began_at });
    }

    /// The call that a span is about, if the gateway has put it on record: that of what carried it, and of each client that
    /// asked the model in it, since one instrumentation can be within another. A span around several calls is about none,
    /// unless it is that of a client: one that tried again, which is about the call whose answer it names, or the last.
    pub(super) fn of(&self, span: Span<'_>, key: SpanKey) -> Option<Uuid> {
        let is_model_call = span.is_model_call();
        let noted = self.spans.get(&key);
        let answered = || self.answered_in(span).filter(|_| is_model_call).map(Within::around);
        let within = noted.filter(|within| !within.is_one_of_several).or_else(answered).or(noted)?;
        // A child ends, and comes, before its parent.
        if let Some(parent) = span.parent() {
            self.spans.merge(parent, Within { carries: false, ..within }, Within::and);
        }
        if is_model_call { Some(within.call) } else { within.alone() }
    }

    /// The call that a judgement is about: whose answer has the id that it names, or which came from the span that it names.
    pub(super) fn judged_by(&self, evaluation: &Evaluation<'_>) -> Option<Uuid> {
        let answered = || {
            let id = evaluation.response_id()?;
            // An answer is judged after it was given, who knows when.
            self.answers.get(&digest(&id)).filter(|_| id.len() >= UNIQUE).map(|answered| answered.call)
        };
        let carried = || self.spans.get(&evaluation.span()?)?.alone();
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

#[cfg(test)]
mod tests {
    use onrecord_capture::otlp;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use serde_json::json;

    use super::*;

    const TRACE: [u8; 16] = [1; 16];
    const CALLS: [Uuid; 2] = [Uuid::from_u128(1), Uuid::from_u128(2)];

    fn key(id: u8) -> SpanKey {
        (TRACE, [id; 8])
    }

    /// What a span is about: one that asks a model if it names the id of an answer, or none with an empty one.
    fn about(calls: &KnownCalls, id: u8, parent: u8, response: Option<&str>) -> Option<Uuid> {
        let hex = |id: u8| format!("{id:02x}").repeat(8);
        let text = |name: &str, text: &str| json!({ "key": name, "value": { "stringValue": text } });
        let asks = |id| vec![text("gen_ai.operation.name", "chat"), text("gen_ai.response.id", id)];
        let span = json!({ "traceId": "01".repeat(16), "spanId": hex(id), "parentSpanId": hex(parent),
            "attributes": response.map(asks).unwrap_or_default() });
        let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string();
        let request: ExportTraceServiceRequest = otlp::from_json(request.as_bytes()).unwrap();
        let span = otlp::spans(&request).next().unwrap();
        calls.of(span, key(id))
    }

    #[test]
    fn a_span_around_several_calls_is_about_none() {
        let calls = KnownCalls::default();
        calls.came_in(key(2), CALLS[0]);
        assert_eq!(about(&calls, 2, 3, None), Some(CALLS[0]));
        calls.came_in(key(2), CALLS[1]);
        assert_eq!(about(&calls, 2, 3, None), None);
        calls.came_in(key(4), CALLS[1]);
        assert_eq!(about(&calls, 4, 3, None), Some(CALLS[1]));
        assert_eq!(about(&calls, 3, 5, None), None);
    }

    #[test]
    fn a_client_that_tried_again_is_about_the_call_whose_answer_it_names_or_the_last() {
        let ids = ["chatcmpl-0f3a9c2b7d514e68", "chatcmpl-5d0c1e8f92ab4737"];
        for (id, expect) in [(ids[0], CALLS[0]), (ids[1], CALLS[1]), ("", CALLS[1])] {
            let calls = KnownCalls::default();
            for (call, id) in CALLS.into_iter().zip(ids) {
                calls.came_in(key(2), call);
                calls.answered(id, call, 0);
            }
            assert_eq!(about(&calls, 2, 3, Some(id)), Some(expect), "{id}");
        }
    }
}
