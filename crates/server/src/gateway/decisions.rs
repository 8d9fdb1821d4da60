//! Token decisions that the gateway asks for, although the client did not, and takes out of the answer again.
//!
//! A model server that rejects the question is asked the same without it, which it had not begun to compute, and from
//! then on not again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue};
use http::{Request, request};
use http_body_util::Full;
use onrecord_capture::{Ask, Dialect, Undo};
use onrecord_proof::field;

use super::Upstream;
use super::body::UpBody;
use super::call::Call;
use super::forward::send;
use super::lanes::Lane;
use super::stop::Stop;
use super::upstream::Answer;

/// Names of models that are remembered; a server has some tens of them.
const REFUSALS_MAX: usize = 1024;

/// How a model server is asked: the dialect, and the model that was asked for.
type Question = (Dialect, String);

/// What one model server is asked for, and what not any more.
#[derive(Default)]
pub(super) struct Decisions {
    /// Alternatives per token; 0 asks for nothing.
    alternatives: usize,
    /// What was rejected.
    refused: Mutex<HashSet<Question>>,
}

impl Decisions {
    pub(super) fn new(alternatives: usize) -> Self {
        Self { alternatives, ..Self::default() }
    }

    /// What to ask instead of `body`, unless nothing is to be asked for.
    fn ask(&self, question: &Question, parts: &request::Parts, body: &[u8]) -> Ask {
        if parts.headers.contains_key(CONTENT_ENCODING) || self.is_refused(question) {
            return Ask::Unchanged;
        }
        Ask::for_decisions(question.0, body, self.alternatives)
    }

    fn is_refused(&self, question: &Question) -> bool {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(question)
    }

    fn refuse(&self, question: Question, upstream: &str, status: u16) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < REFUSALS_MAX {
            let (dialect, model) = (question.0.name(), question.1.clone());
            if refused.insert(question) {
                tracing::warn!(
                    upstream,
                    dialect,
                    model,
                    status,
                    "the model server rejects to be asked for token decisions; it is not asked again until the next start"
                );
            }
        }
    }
}

/// Sends a request whose body was read, with the question for token decisions in it if they are wanted.
pub(super) async fn send_asking(
    lane: &Lane,
    upstream: &Upstream,
    call: &mut Call,
    parts: request::Parts,
    body: Bytes,
) -> Result<Answer, Stop> {
    let decisions = &upstream.decisions;
    if decisions.alternatives == 0 {
        return send(lane, upstream, request_of(parts, body)).await;
    }
    let dialect = call.dialect();
    let model = call.record().text(&field::REQUEST_MODEL).unwrap_or_default().to_owned();
    let question = (dialect, model);
    let Ask::Injected(asking, undo) = decisions.ask(&question, &parts, &body) else {
        return send(lane, upstream, request_of(parts, body)).await;
    };
    let mut changed = parts.clone();
    changed.headers.remove(CONTENT_LENGTH);
    // What is to be taken out has to be readable.
    changed.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut answer = send(lane, upstream, request_of(changed, asking.into())).await?;
    let status = answer.parts.status.as_u16();
    let undo = readable(undo, &answer.parts.headers);
    let (accepts, is_readable) = (!matches!(status, 400 | 422), undo.is_some());
    if let Some(undo) = undo.filter(|_| accepts) {
        call.injected(undo);
        answer.parts.headers.remove(CONTENT_LENGTH);
        answer.parts.headers.remove(CONTENT_ENCODING);
        return Ok(answer);
    }
    drop(answer);
    let answer = send(lane, upstream, request_of(parts, body)).await?;
    if !is_readable || answer.parts.status.as_u16() != status {
        call.record().set(&field::DECISIONS_SOURCE, "refused");
        decisions.refuse(question, &upstream.settings.name, status);
    }
    Ok(answer)
}

/// What undoes the question in an answer with this head; `None` if that is encoded in a way that nobody here can read.
fn readable(undo: Undo, headers: &HeaderMap) -> Option<Undo> {
    match headers.get(CONTENT_ENCODING) {
        None => Some(undo),
        Some(coding) => undo.encoded(coding.to_str().ok()?),
    }
}

fn request_of(parts: request::Parts, body: Bytes) -> Request<UpBody> {
    Request::from_parts(parts, UpBody::Read(Full::new(body)))
}
