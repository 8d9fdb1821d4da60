//! Bodies on their way through: a request that is copied while it goes up, and an answer whose end waits for its record.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use onrecord_ledger::{Pending, Receipt};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep};

use super::call::{Call, Failure, Outcome};
use super::copying::Shared;
use super::upstream::AnswerBody;

/// How much of an answer may be held until its record is durable, in bytes. Whole answers of small models are some
/// kilobytes; of a larger one the front flows on.
pub(crate) const HOLD_MAX: usize = 1 << 20;
/// What is said of an answer that cannot be decoded.
pub(crate) const DAMAGED: &str = "the model server's compressed answer cannot be decoded";
/// How long a model server may take to close a stream after its terminal event.
const AFTER_END: Duration = Duration::from_secs(1);

/// How long an answer waits for a log that cannot be written before the client is told.
pub(crate) const COMMIT_PATIENCE: Duration = Duration::from_secs(30);

/// Why an answer ended early.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BodyError(String);

/// The body of an answer.
pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a request's body does not go up to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// It is larger than the configuration allows.
    #[error("the request's body is larger than {0} bytes")]
    TooLarge(u64),
    /// The client stopped in the middle.
    #[error("the rest of the request's body did not arrive within {} s", .0.as_secs_f32())]
    Stopped(Duration),
    /// The client went away in the middle.
    #[error("the request's body broke off")]
    Client(#[source] hyper::Error),
}

/// What a request body is on its way to the model server.
pub(crate) enum UpBody {
    /// It was read before.
    Read(Full<Bytes>),
    /// It goes up as it comes in.
    Flowing(Tee),
}

/// A request's body that goes up as it comes in, and is copied on the way.
pub(crate) struct Tee {
    /// What was read, and copied, before.
    begun: VecDeque<Bytes>,
    inner: Incoming,
    copy: Shared,
    seen: u64,
    max: u64,
    patience: Duration,
    idle: Pin<Box<Sleep>>,
    /// Who wants to know that all of it has come.
    whole: Option<oneshot::Sender<()>>,
}

impl Tee {
    /// At most `max` bytes, of which `begun` have come and are in the copy, and at most `patience` without any. Tells when all
    /// of it is on its way.
    pub(crate) fn new(
        begun: VecDeque<Bytes>,
        inner: Incoming,
        copy: Shared,
        max: u64,
        patience: Duration,
    ) -> (Self, oneshot::Receiver<()>) {
        let seen = size_of_all(&begun);
        let (whole, told) = oneshot::channel();
        let idle = Box::pin(sleep(patience));
        (Self { begun, inner, copy, seen, max, patience, idle, whole: Some(whole) }, told)
    }

    /// What is still to go up.
    fn size_hint(&self) -> SizeHint {
        let (begun, inner) = (size_of_all(&self.begun), self.inner.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(begun));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(begun));
        }
        hint
    }

    fn take(&mut self, data: &Bytes) -> Result<(), Broken> {
        self.seen += data.len() as u64;
        self.copy.push(data);
        let later = Instant::now() + self.patience;
        self.idle.as_mut().reset(later);
        if self.seen > self.max { Err(Broken::TooLarge(self.max)) } else { Ok(()) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(piece) = self.begun.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx).map_err(Broken::Client)? else {
            ready!(self.idle.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Broken::Stopped(self.patience))));
        };
        let taken = frame.as_ref().and_then(Frame::data_ref).map_or(Ok(()), |data| self.take(data));
        if taken.is_ok()
            && (frame.is_none() || self.inner.is_end_stream())
            && let Some(whole) = self.whole.take()
        {
            // Who does not listen has its answer already.
            let _ = whole.send(());
        }
        Poll::Ready(frame.map(|frame| taken.map(|()| frame)))
    }
}

impl Body for UpBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Read(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Flowing(body) => body.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Read(body) => body.is_end_stream(),
            Self::Flowing(body) => body.begun.is_empty() && body.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Read(body) => body.size_hint(),
            Self::Flowing(body) => body.size_hint(),
        }
    }
}

/// The end of an answer whose encoding is none.
fn damaged() -> Ending {
    let failure = Failure::new("upstream_garbled", "stream", DAMAGED);
    (Outcome::UpstreamError(failure), Some(BodyError(DAMAGED.into())))
}

fn size_of_all(pieces: &VecDeque<Bytes>) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}

/// Where the answer is on its way.
enum State {
    /// More comes from the model server.
    Flowing,
    /// All is here, the record is on its way to the disk.
    Committing(Pending<Receipt>),
    /// The record is durable, or need not be waited for: what was held goes out.
    Releasing,
    /// Nothing more comes.
    Done,
}

/// How an answer ended: what the record says, and the error that breaks the client's stream if it was not whole.
type Ending = (Outcome, Option<BodyError>);

/// An answer that flows on while it is recorded, but does not end before its record is durable.
///
/// What may not flow yet is held: of an event stream its terminal event, of other bodies the last piece. If the client
/// goes away, this body is dropped, and with it the [`Call`], which then sends its record.
pub(crate) struct Recorded {
    call: Call,
    upstream: AnswerBody,
    held: VecDeque<Bytes>,
    /// So many of the held pieces may go out now.
    free: usize,
    trailers: Option<HeaderMap>,
    state: State,
    idle: Pin<Box<Sleep>>,
    patience: Duration,
    /// The answer breaks off here, after its record is durable.
    broken: Option<BodyError>,
    /// The terminal event of a stream was seen.
    ended: bool,
    /// Bytes that are still to come, if the answer's head says so.
    remaining: Option<u64>,
    event_stream: bool,
    wait_for_commit: bool,
    withhold: bool,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

/// What [`Recorded`] needs to know about the call.
pub(crate) struct Rules {
    pub patience: Duration,
    pub event_stream: bool,
    pub wait_for_commit: bool,
    /// An answer whose record cannot be written does not end.
    pub withhold: bool,
    pub permit: tokio::sync::OwnedSemaphorePermit,
}

impl Recorded {
    /// `begun` is what was already read of the answer, and recorded, but has not gone out.
    pub(crate) fn new(call: Call, upstream: AnswerBody, begun: VecDeque<Bytes>, rules: Rules) -> Self {
        let remaining = upstream.size_hint().exact().filter(|_| !call.is_changed());
        Self {
            call,
            upstream,
            // What ends the answer for the client waits for its record.
            free: begun.len().saturating_sub(usize::from(remaining == Some(0))),
            held: begun,
            trailers: None,
            state: State::Flowing,
            idle: Box::pin(sleep(rules.patience)),
            patience: rules.patience,
            broken: None,
            ended: false,
            remaining,
            event_stream: rules.event_stream,
            wait_for_commit: rules.wait_for_commit,
            withhold: rules.withhold,
            _permit: rules.permit,
        }
    }

    /// Takes a piece in, and counts how many of the held pieces may go out.
    fn piece(&mut self, piece: Bytes) {
        let (piece, free) = self.call.received(piece);
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.saturating_sub(piece.len() as u64);
        }
        if self.event_stream {
            self.event_piece(&piece, free);
            return;
        }
        // Of a body of known length the last piece ends it for the client; of others the end of the body does.
        self.held.push_back(piece);
        self.free = self.held.len() - usize::from(self.remaining == Some(0));
    }

    /// Of an event stream the dialect says how much may flow; what it frees frees all that is held before it.
    fn event_piece(&mut self, piece: &Bytes, free: usize) {
        if free > 0 {
            self.held.push_back(piece.slice(..free));
            self.free = self.held.len();
        }
        if free < piece.len() {
            self.held.push_back(piece.slice(free..));
        }
        if self.call.has_ended() && !self.ended {
            self.ended = true;
            self.patience = self.patience.min(AFTER_END);
            self.idle.as_mut().reset(Instant::now() + self.patience);
        }
        // Nothing of use follows a terminal event; a server that goes on without end must not fill the memory.
        if self.held.iter().map(Bytes::len).sum::<usize>() > HOLD_MAX {
            self.free = self.free.max(1);
        }
    }

    /// The next piece that may go out before the end.
    fn free_piece(&mut self) -> Option<Bytes> {
        self.free = self.free.checked_sub(1)?;
        self.held.pop_front()
    }

    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame<Bytes>, Ending>> {
        match Pin::new(&mut self.upstream).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let later = Instant::now() + self.patience;
                self.idle.as_mut().reset(later);
                Poll::Ready(Ok(frame))
            }
            Poll::Ready(None) => Poll::Ready(Err((Outcome::Completed, None))),
            Poll::Ready(Some(Err(error))) => {
                let failure = Failure::new(
                    "upstream_closed",
                    "stream",
                    format!("the model server broke its answer off: {error}"),
                );
                Poll::Ready(Err((Outcome::UpstreamError(failure), Some(BodyError(error.to_string())))))
            }
            Poll::Pending => {
                ready!(self.idle.as_mut().poll(cx));
                if self.ended {
                    return Poll::Ready(Err((Outcome::Completed, None)));
                }
                let seconds = self.patience.as_secs_f32();
                let failure =
                    Failure::new("timeout", "stream", format!("the model server sent nothing for {seconds} s"));
                let error = BodyError(failure.message.clone());
                Poll::Ready(Err((Outcome::UpstreamError(failure), Some(error))))
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        let rest = self.call.received_all();
        let (outcome, broken) = if self.call.is_damaged() { damaged() } else { ending };
        if !rest.is_empty() {
            self.held.push_back(rest);
        }
        self.broken = broken;
        self.idle.as_mut().reset(Instant::now() + COMMIT_PATIENCE);
        self.state = match self.call.end(&outcome) {
            Ok(Some(pending)) if self.wait_for_commit => State::Committing(pending),
            Ok(_) => State::Releasing,
            Err(error) => {
                self.break_off(&error.to_string());
                State::Releasing
            }
        };
    }

    /// An answer whose record is not durable does not end.
    fn break_off(&mut self, problem: &str) {
        tracing::error!(id = %self.call.id(), problem, "an answer ended before its record was durable");
        if self.withhold {
            self.held.clear();
            self.broken = Some(BodyError(format!("the answer is not on record yet: {problem}")));
        }
    }

    fn poll_commit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Committing(pending) = &mut self.state else { return Poll::Ready(()) };
        let committed = match Pin::new(pending).poll(cx) {
            Poll::Ready(committed) => committed.map(|_| ()).map_err(|error| error.to_string()),
            Poll::Pending => Err(ready!(self.idle.as_mut().poll(cx).map(|()| "the log does not take it".to_owned()))),
        };
        self.state = State::Releasing;
        if let Err(problem) = committed {
            self.break_off(&problem);
        }
        Poll::Ready(())
    }

    fn release(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        if let Some(piece) = self.held.pop_front() {
            return Some(Ok(Frame::data(piece)));
        }
        if let Some(trailers) = self.trailers.take() {
            return Some(Ok(Frame::trailers(trailers)));
        }
        self.state = State::Done;
        self.broken.take().map(Err)
    }
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.free_piece() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match this.state {
                State::Flowing => match ready!(this.poll_upstream(cx)) {
                    Ok(frame) => match frame.into_data() {
                        Ok(piece) => this.piece(piece),
                        Err(frame) => this.trailers = frame.into_trailers().ok(),
                    },
                    Err(ending) => this.end(ending),
                },
                State::Committing(_) => ready!(this.poll_commit(cx)),
                State::Releasing => {
                    if let Some(frame) = this.release() {
                        return Poll::Ready(Some(frame));
                    }
                }
                State::Done => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Done)
    }

    fn size_hint(&self) -> SizeHint {
        let held = size_of_all(&self.held);
        self.remaining.map_or_else(SizeHint::new, |remaining| SizeHint::with_exact(remaining + held))
    }
}
