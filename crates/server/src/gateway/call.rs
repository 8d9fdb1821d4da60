//! One call on its way through, and the record that it becomes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use onrecord_capture::{
    BodyHead, Dialect, End, RequestFacts, Response, TIMING_HEADERS, Undo, otlp, record_timing_headers,
};
use onrecord_ledger::{Error, Pending, Receipt};
use onrecord_proof::{Kind, Record, field};
use uuid::Uuid;

use super::copying::{Copying, Shared};
use super::{Gateway, Upstream};
use crate::engine::new_record;
use crate::probe::Watched;

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The model server's answer was passed on whole, whatever its status.
    Completed,
    /// The model server could not be reached, or did not finish its answer.
    UpstreamError(Failure),
    /// The client went away.
    ClientDisconnected,
    /// The gateway was told to stop and could not wait any longer.
    Interrupted,
    /// The gateway refused the request.
    Rejected(Failure),
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// A short name, e.g. `timeout`.
    pub kind: &'static str,
    /// Where: `client`, `gateway`, `connect`, `upstream` or `stream`.
    pub stage: &'static str,
    /// In words, for the client and the record.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, stage: &'static str, message: impl Into<String>) -> Self {
        Self { kind, stage, message: message.into() }
    }
}

impl Outcome {
    const fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::UpstreamError(_) => "upstream_error",
            Self::ClientDisconnected => "client_disconnected",
            Self::Interrupted => "interrupted",
            Self::Rejected(_) => "rejected",
        }
    }

    fn failure(&self) -> Option<Failure> {
        match self {
            Self::UpstreamError(failure) | Self::Rejected(failure) => Some(failure.clone()),
            Self::ClientDisconnected => Some(Failure::new(
                "client_disconnected",
                "client",
                "the client went away before the answer was complete",
            )),
            Self::Interrupted => {
                Some(Failure::new("interrupted", "gateway", "the recorder stopped before the call ended"))
            }
            Self::Completed => None,
        }
    }
}

/// How far the beginning of a call has come in the log.
enum Beginning {
    /// The log does not have it: it was not sent, or it was refused.
    Absent,
    /// It was sent.
    Sent(Pending<()>),
    /// It is durable.
    Durable,
}

/// One call. However it ends, it becomes exactly one record: [`end`](Self::end) sends it, and a call that is dropped
/// before has lost its client, or is cut off at the end of the program, and sends itself.
pub(crate) struct Call {
    gateway: Arc<Gateway>,
    record: Record,
    dialect: Dialect,
    upstream: Option<Arc<Upstream>>,
    /// Since when the model server is busy with it.
    watched: Option<Watched>,
    started: Instant,
    /// The body of the request, until it is in the record.
    copying: Option<Copying>,
    beginning: Beginning,
    /// What is to be undone in the answer, because the request was changed.
    undo: Option<Undo>,
    response: Option<Response>,
    /// It is known by the id of its answer.
    is_named: bool,
    /// The record was sent, or the call goes without one.
    settled: bool,
}

impl Call {
    /// Begins a call of `dialect` now.
    pub(crate) fn new(gateway: Arc<Gateway>, dialect: Dialect) -> Self {
        let record = new_record(Kind::Interaction);
        Self {
            gateway,
            record,
            dialect,
            upstream: None,
            watched: None,
            started: Instant::now(),
            copying: None,
            beginning: Beginning::Absent,
            undo: None,
            response: None,
            is_named: false,
            settled: false,
        }
    }

    /// The id of the record.
    pub(crate) const fn id(&self) -> Uuid {
        self.record.id
    }

    /// The record so far.
    pub(crate) const fn record(&mut self) -> &mut Record {
        &mut self.record
    }

    /// The model server that the call goes to, once that is known.
    pub(crate) const fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.upstream.as_ref()
    }

    /// The call goes to this model server.
    pub(crate) fn route(&mut self, upstream: &Arc<Upstream>) {
        let url = &upstream.settings.url;
        self.record.set(&field::UPSTREAM, upstream.settings.name.as_str());
        self.record.set(&field::SERVER_ADDRESS, url.host().unwrap_or_default());
        if let Some(port) = url.port_u16() {
            self.record.set(&field::SERVER_PORT, port);
        }
        self.upstream = Some(Arc::clone(upstream));
        self.watched = Some(upstream.gauge.watch());
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The request went up with a question for token decisions that the client did not ask.
    pub(crate) fn injected(&mut self, undo: Undo) {
        self.record.set(&field::DECISIONS_SOURCE, "injected");
        self.undo = Some(undo);
    }

    /// True if the client gets other bytes than the model server sends.
    pub(crate) fn is_changed(&self) -> bool {
        self.response.as_ref().is_some_and(Response::is_changed)
    }

    /// True if not all of the answer reaches the client, because it cannot be decoded.
    pub(crate) fn is_damaged(&self) -> bool {
        self.response.as_ref().is_some_and(Response::is_damaged)
    }

    /// Microseconds since the call began.
    pub(crate) fn elapsed_us(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// The body of a request with these headers begins.
    pub(crate) fn reads(&mut self, headers: &HeaderMap) {
        self.copying = Some(Copying::new(self.gateway.limits, headers));
    }

    /// What the head of the request says of its body.
    pub(crate) fn body_head(&self) -> BodyHead<'_> {
        self.copying.as_ref().map_or_else(BodyHead::default, |copying| copying.head.borrow())
    }

    /// A piece of the request's body has come.
    pub(crate) fn read(&mut self, piece: &[u8]) {
        if let Some(copying) = &mut self.copying {
            copying.push(piece);
        }
    }

    /// Hands the copy of the request's body out, to somebody who goes on with it while the call has it too.
    pub(crate) fn share(&mut self) -> Shared {
        let Some(copying) = self.copying.take() else { return Shared::default() };
        let (copying, shared) = copying.share();
        self.copying = Some(copying);
        shared
    }

    /// Puts the request's body into the record, as far as it has come, if it is not there yet.
    pub(crate) fn requested(&mut self) -> RequestFacts {
        let Some((request, head)) = self.copying.take().and_then(Copying::end) else {
            return RequestFacts { dialect: self.dialect, ..RequestFacts::default() };
        };
        let facts = request.finish(self.dialect, head.borrow(), &mut self.record);
        if facts.dialect != self.dialect {
            self.dialect = facts.dialect;
            self.record.set(&field::DIALECT, facts.dialect.name());
        }
        facts
    }

    /// Sends the beginning of the call to the log, unless it was sent.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        if self.settled || !matches!(self.beginning, Beginning::Absent) {
            return Ok(());
        }
        if let Some(client) = otlp::parent_of(&self.record) {
            self.gateway.known_calls.came_in(client, self.record.id);
        }
        let sent = self.gateway.ledger.begin(&mut self.record);
        self.beginning = match sent {
            Ok(pending) => Beginning::Sent(pending),
            Err(error) => {
                self.stand_alone();
                return Err(error);
            }
        };
        Ok(())
    }

    /// Waits until the beginning of the call is durable. None if there is nothing to wait for.
    pub(crate) async fn begun(&mut self) -> Option<Result<(), Error>> {
        let Beginning::Sent(pending) = &mut self.beginning else { return None };
        let begun = pending.await;
        self.beginning = Beginning::Durable;
        if begun.is_err() {
            self.stand_alone();
        }
        Some(begun)
    }

    /// The log does not have the beginning of the call, so the record leaves out nothing of it.
    fn stand_alone(&mut self) {
        self.beginning = Beginning::Absent;
        let Record { id, kind, captured_at, ref refs, .. } = self.record;
        let groups = self.record.groups().map(|(group, state)| (group, state.clone())).collect();
        self.record = Record::from_parts(id, kind, captured_at, refs.clone(), self.record.salts().clone(), groups);
    }

    /// The head of the answer has come, after a connection was made in `connecting`.
    pub(crate) fn answered(&mut self, status: u16, head: BodyHead<'_>, connecting: Duration) {
        let first_byte = self.elapsed_us();
        self.record.set(&field::CONNECT, i64::try_from(connecting.as_micros()).unwrap_or(i64::MAX));
        self.record.set(&field::FIRST_BYTE, first_byte);
        self.record.set(&field::STATUS, i64::from(status));
        let response = Response::new(self.dialect, status, head, self.gateway.limits);
        self.response = Some(match self.undo.take() {
            Some(undo) => response.with_undo(undo),
            None => response,
        });
    }

    /// What follows the head is no answer of the dialect; whoever passes it on records what it was.
    pub(crate) fn pass_through(&mut self) {
        self.response = None;
    }

    /// Takes note of the times that the model server states in its answer's headers.
    pub(crate) fn timed(&mut self, headers: &HeaderMap) {
        let stated = TIMING_HEADERS.iter().filter_map(|name| Some((*name, headers.get(*name)?.to_str().ok()?)));
        record_timing_headers(stated, &mut self.record);
    }

    /// A piece of the answer has come. Gives what of it goes to the client, and how many bytes of that at once; the rest
    /// belongs to the end of the answer and waits for the record.
    pub(crate) fn received(&mut self, piece: Bytes) -> (Bytes, usize) {
        let at = self.elapsed_us();
        let received = match &mut self.response {
            None => (piece, 0),
            Some(response) if response.is_changed() => {
                let mut out = Vec::with_capacity(piece.len());
                let free = response.pass(&piece, at, &mut out);
                (out.into(), free)
            }
            Some(response) => {
                let free = response.push(&piece, at);
                (piece, free)
            }
        };
        if !self.is_named && !self.settled {
            self.name(self.response.as_ref().and_then(Response::id).map(str::to_owned));
        }
        received
    }

    /// The answer has this id. It is noted before the client gets it, so that whatever the client says of it finds the call.
    fn name(&mut self, id: Option<String>) {
        if let Some(id) = id {
            self.is_named = true;
            self.gateway.known_calls.answered(&id, self.record.id, self.record.captured_at);
        }
    }

    /// The model server sends no more. Gives what was held of an answer that is changed on its way.
    pub(crate) fn received_all(&mut self) -> Bytes {
        let at = self.elapsed_us();
        let mut out = Vec::new();
        if let Some(response) = self.response.as_mut().filter(|response| response.is_changed()) {
            response.pass_end(at, &mut out);
        }
        out.into()
    }

    /// The call goes on without a record; the gap in the log says so.
    pub(crate) fn abandon(&mut self) {
        self.settled = true;
        self.gateway.unrecorded();
    }

    /// True once the terminal event of a stream was received.
    pub(crate) fn has_ended(&self) -> bool {
        self.response.as_ref().is_some_and(Response::has_ended)
    }

    /// Ends the call and sends its record to the log. `None` if it has none.
    pub(crate) fn end(&mut self, outcome: &Outcome) -> Result<Option<Pending<Receipt>>, Error> {
        if std::mem::replace(&mut self.settled, true) {
            return Ok(None);
        }
        self.requested();
        if let Some(response) = self.response.take() {
            let end = match outcome {
                Outcome::Completed => End::Complete,
                Outcome::ClientDisconnected => End::Cancelled,
                Outcome::UpstreamError(_) | Outcome::Rejected(_) | Outcome::Interrupted => End::CutOff,
            };
            response.finish(end, &mut self.record);
            if !self.is_named {
                self.name(self.record.text(&field::RESPONSE_ID).map(str::to_owned));
            }
            if let Some(upstream) = &self.upstream {
                upstream.in_force.complete(&mut self.record);
            }
        }
        if let (Outcome::UpstreamError(_), Some(upstream)) = (outcome, &self.upstream) {
            upstream.in_force.doubt();
        }
        if let Some(Failure { kind, stage, message }) = outcome.failure() {
            self.record.set(&field::ERROR_TYPE, kind);
            self.record.set(&field::ERROR_STAGE, stage);
            self.record.set(&field::ERROR_MESSAGE, message);
        }
        if let Some(watched) = self.watched.take() {
            watched.record(&mut self.record);
        }
        let duration = self.elapsed_us();
        self.record.set(&field::DURATION, duration);
        self.record.set(&field::OUTCOME, outcome.name());
        self.gateway.counters.ended(outcome.name(), &self.record);
        let pending = self.send()?;
        if let Outcome::Completed = outcome {
            self.ask_for_prompt();
        }
        Ok(Some(pending))
    }

    /// The record of a call takes the place in the log's queue that its beginning was given. One without takes a place of its
    /// own, if there is one.
    fn send(&self) -> Result<Pending<Receipt>, Error> {
        match self.beginning {
            Beginning::Absent => self.gateway.ledger.add(&self.record),
            Beginning::Sent(_) | Beginning::Durable => self.gateway.ledger.append(&self.record),
        }
    }

    /// Waits for the record that [`end`](Self::end) has sent. If the log did not take the beginning of the call, a record
    /// without it is of no use, and is sent again whole: the log may have recovered meanwhile.
    pub(crate) async fn committed(&mut self, pending: Pending<Receipt>) -> Result<Receipt, Error> {
        let committed = pending.await;
        if committed.is_err() && matches!(self.begun().await, Some(Err(_))) {
            return self.send()?.await;
        }
        committed
    }

    /// Ends the call where nobody waits for its record.
    pub(crate) fn leave(&mut self, outcome: &Outcome) {
        match self.end(outcome) {
            Ok(Some(pending)) => self.see_to(pending),
            Ok(None) => {}
            Err(error) => self.is_lost(&error),
        }
    }

    /// Looks after a record that nobody waits for. With a durable beginning it is not lost: the log keeps trying, and the next
    /// start closes the call. Any other is sent again if need be, or counted.
    pub(crate) fn see_to(&mut self, pending: Pending<Receipt>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if let Beginning::Durable = self.beginning {
            return;
        }
        let mut rest = Self::new(Arc::clone(&self.gateway), self.dialect);
        std::mem::swap(&mut rest.record, &mut self.record);
        std::mem::swap(&mut rest.beginning, &mut self.beginning);
        rest.settled = true;
        runtime.spawn(async move {
            if let Err(error) = rest.committed(pending).await {
                rest.is_lost(&error);
            }
        });
    }

    /// The log does not take the record. What it has nothing of is counted in its gap.
    fn is_lost(&self, error: &Error) {
        let id = self.record.id;
        if let Beginning::Durable = self.beginning {
            tracing::error!(%id, %error, "a call is not on record; the next start closes it as interrupted");
        } else {
            tracing::error!(%id, %error, "a call is not on record");
            self.gateway.unrecorded();
        }
    }

    /// What the model read is found out once it has answered.
    fn ask_for_prompt(&self) {
        let Some(upstream) = &self.upstream else { return };
        if let (Some(prompts), Some(server)) = (upstream.prompts.get(), upstream.in_force.server())
            && self.record.int(&field::STATUS) == Some(200)
        {
            prompts.ended(server, self.dialect, &self.record);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.settled {
            let is_cut_off = self.gateway.is_cut_off();
            self.leave(&if is_cut_off { Outcome::Interrupted } else { Outcome::ClientDisconnected });
        }
    }
}
