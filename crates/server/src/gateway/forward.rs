//! One request on its way through the gateway.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use onrecord_capture::{BodyHead, Dialect};
use onrecord_proof::{Ref, Rel, field};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::body::{COMMIT_PATIENCE, DAMAGED, HOLD_MAX, Recorded, ReplyBody, Rules, Tee, UpBody};
use super::call::{Call, Outcome};
use super::decisions::send_asking;
use super::lanes::Lane;
use super::stop::{Stop, root_cause, sending_failed, too_large};
use super::upstream::{self, AnswerBody};
use super::{Gateway, OnLogFailure, Settings, Upstream, headers, lists, reading, reply, tunnel};
use crate::auth::{Denied, Identity, Role, masked_query, names_this_machine};

/// The error of a call that cannot be put on record.
const LOG_UNAVAILABLE: &str = "log_unavailable";

type Answer = Response<ReplyBody>;

/// Takes one request through. The call begins here and not when the future is first polled: a request whose client is gone
/// by then is on record too. The future has some KiB and is moved about by the HTTP library, so it is boxed, which also spares
/// these to connections that are idle.
pub(crate) fn handle(
    lane: Arc<Lane>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Pin<Box<impl Future<Output = Answer> + Send>> {
    let path = request.uri().path();
    let upstream = lane.gateway.routes.by_path(path);
    let dialect = Dialect::of(request.method().as_str(), upstream.map_or(path, |upstream| upstream.path(path)));
    let mut call = Call::new(Arc::clone(&lane.gateway), dialect);
    describe(&mut call, dialect, peer, &request);
    if let Some(upstream) = upstream {
        call.route(upstream);
    }
    Box::pin(answer(lane, call, request))
}

async fn answer(lane: Arc<Lane>, mut call: Call, request: Request<Incoming>) -> Answer {
    let (id, gateway) = (call.id(), &*lane.gateway);
    let mut answer = match forward(&lane, &mut call, request).await {
        Ok(Passed::Whole(answer)) => answer,
        Ok(Passed::Flowing { parts, body, begun, permit }) => flow(gateway, call, parts, body, begun, permit),
        Ok(Passed::Upgraded { parts, ends, permit }) => {
            tunnel::open(&lane.tunnels, call, parts, ends, gateway.settings.response_timeout, permit)
        }
        Err(stop) => refuse(gateway, call, stop).await,
    };
    if let Ok(id) = HeaderValue::from_str(id.as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())) {
        answer.headers_mut().insert(headers::ID, id);
    }
    answer
}

/// What is known of a call from its request's head.
fn describe(call: &mut Call, dialect: Dialect, peer: IpAddr, request: &Request<Incoming>) {
    let record = call.record();
    headers::describe(request.headers(), record);
    record.set(&field::CLIENT_ADDRESS, peer.to_string());
    record.set(&field::DIALECT, dialect.name());
    if let Some(operation) = dialect.operation() {
        record.set(&field::OPERATION, operation);
    }
    record.set(&field::METHOD, request.method().as_str());
    record.set(&field::PATH, request.uri().path());
    if let Some(query) = request.uri().query() {
        record.set(&field::QUERY, &*masked_query(query));
    }
}

/// An answer that can go to the client.
pub(super) enum Passed {
    /// All of it is there and its record is durable.
    Whole(Answer),
    /// It flows while it is recorded.
    Flowing { parts: http::response::Parts, body: AnswerBody, begun: VecDeque<Bytes>, permit: OwnedSemaphorePermit },
    /// The connection speaks another protocol from here on.
    Upgraded { parts: http::response::Parts, ends: tunnel::Ends, permit: OwnedSemaphorePermit },
}

async fn forward(lane: &Lane, call: &mut Call, request: Request<Incoming>) -> Result<Passed, Stop> {
    let gateway = &*lane.gateway;
    let identity = authorize(gateway, request.headers())?;
    call.record().set(&field::PRINCIPAL, identity.name);
    count_attempt(gateway, call, request.headers());
    let permit = Arc::clone(&gateway.in_flight).try_acquire_owned().map_err(|_| {
        let message =
            format!("{} calls are under way, more than that are refused; try again", gateway.settings.max_in_flight);
        Stop::rejected(StatusCode::SERVICE_UNAVAILABLE, "too_many_calls", "gateway", message)
    })?;
    let under_way = gateway.settings.max_in_flight - gateway.in_flight.available_permits();
    call.record().set(&field::CALLS_UNDER_WAY, i64::try_from(under_way).unwrap_or(i64::MAX) - 1);
    let (mut parts, body) = request.into_parts();
    let asked = tunnel::Asked::take(&mut parts);
    if let Some(list) = lists::asked_for(gateway, call, &parts) {
        return lists::merged(lane, call, &list, parts, identity.token_in_authorization, permit).await;
    }
    let upstream::Answer { mut parts, body, connecting } =
        exchange(lane, call, parts, body, identity.token_in_authorization, asked.as_ref()).await?;
    call.answered(parts.status.as_u16(), body_head(&parts.headers), connecting);
    call.timed(&parts.headers);
    if let Some(ends) = asked.and_then(|asked| tunnel::Ends::of(asked, &mut parts)) {
        on_record(gateway, call).await?;
        return Ok(Passed::Upgraded { parts, ends, permit });
    }
    // Nobody asks an empty body for its end, at which its record would be waited for: it is whole already.
    if is_event_stream(&parts.headers) && !body.is_end_stream() {
        on_record(gateway, call).await?;
        return Ok(Passed::Flowing { parts, body, begun: VecDeque::new(), permit });
    }
    collect(gateway, call, parts, body, permit).await
}

/// A request id that the client has sent before makes this another attempt at the same request.
fn count_attempt(gateway: &Gateway, call: &mut Call, headers: &HeaderMap) {
    if !headers::has_request_id(headers) {
        return;
    }
    let record = call.record();
    let of = |field| record.text(field).unwrap_or_default();
    let before = gateway.attempts.note(of(&field::PRINCIPAL), of(&field::REQUEST_ID), record.id);
    if let Some(before) = before {
        record.set(&field::REQUEST_ATTEMPT, before.number.saturating_add(1));
        record.refs.push(Ref { rel: Rel::Attempt, id: before.id });
    }
}

fn authorize(gateway: &Gateway, headers: &HeaderMap) -> Result<Identity, Stop> {
    let identity = gateway.tokens.authorize(headers, Role::Call).map_err(|denied| {
        let (status, kind) = match denied {
            Denied::Role { .. } => (StatusCode::FORBIDDEN, "forbidden"),
            Denied::Missing | Denied::Unknown => (StatusCode::UNAUTHORIZED, "unauthorized"),
        };
        Stop::rejected(status, kind, "client", denied.to_string())
    })?;
    // The model server gets its own `Host`, and could not tell any more.
    if identity.token.is_none()
        && let Err(problem) = names_this_machine(headers)
    {
        return Err(Stop::rejected(StatusCode::FORBIDDEN, "forbidden", "client", problem));
    }
    Ok(identity)
}

/// Sends the request up and the beginning of the call to the log, and gives the head and body of the answer.
async fn exchange(
    lane: &Lane,
    call: &mut Call,
    mut parts: http::request::Parts,
    mut body: Incoming,
    token_in_authorization: bool,
    asked: Option<&tunnel::Asked>,
) -> Result<upstream::Answer, Stop> {
    let gateway = &*lane.gateway;
    let max = gateway.settings.max_request_body;
    if body.size_hint().lower() > max {
        call.record().set(&field::INPUT_SIZE, i64::try_from(body.size_hint().lower()).unwrap_or(i64::MAX));
        return Err(too_large(max));
    }
    call.reads(&parts.headers);
    let read = reading::read(gateway, call, &mut body).await?;
    if !read.is_whole {
        let upstream = route(gateway, call, read.model.as_deref())?;
        for_upstream(&mut parts, &upstream, token_in_authorization)?;
        // Rare, and boxed: every call would carry its size along.
        return Box::pin(flow_up(lane, &upstream, call, parts, read.pieces, body)).await;
    }
    let facts = call.requested();
    let upstream = route(gateway, call, facts.model.as_deref().or_else(|| named_by_path(&parts)))?;
    for_upstream(&mut parts, &upstream, token_in_authorization)?;
    if let Some(asked) = asked {
        asked.put(&mut parts.headers, call);
    }
    begin(gateway, call).await?;
    send_asking(lane, &upstream, call, parts, read.into_bytes()).await
}

/// Sends a large body up as it comes in. The beginning of the call, which has the body, goes to the log once all of it is on
/// its way, before which no model computes.
async fn flow_up(
    lane: &Lane,
    upstream: &Upstream,
    call: &mut Call,
    parts: http::request::Parts,
    begun: VecDeque<Bytes>,
    body: Incoming,
) -> Result<upstream::Answer, Stop> {
    let gateway = &*lane.gateway;
    if !gateway.ledger.is_healthy() {
        // What is known so far has to do: nobody calls the model on the chance that the log works again by then.
        begin(gateway, call).await?;
    }
    let Settings { max_request_body, client_timeout, .. } = gateway.settings;
    let (tee, whole) = Tee::new(begun, body, call.share(), max_request_body, client_timeout);
    let mut sending = pin!(send(lane, upstream, Request::from_parts(parts, UpBody::Flowing(tee))));
    let answer = tokio::select! {
        biased;
        Ok(()) = whole => {
            call.requested();
            begin(gateway, call).await?;
            sending.await?
        }
        answer = &mut sending => answer?,
    };
    call.requested();
    begin(gateway, call).await?;
    Ok(answer)
}

/// The model that a path names: `/v1/models/NAME`.
fn named_by_path(parts: &http::request::Parts) -> Option<&str> {
    let (_, name) = parts.uri.path().split_once("/v1/models/")?;
    (!name.is_empty()).then_some(name)
}

/// The model server that the call goes to, now that the model is known if it ever will be.
fn route(gateway: &Gateway, call: &mut Call, model: Option<&str>) -> Result<Arc<Upstream>, Stop> {
    if let Some(upstream) = call.upstream() {
        return Ok(Arc::clone(upstream));
    }
    let Some(upstream) = gateway.routes.by_model(model) else {
        let message = format!(
            "no model server here serves the model `{}`; `models` of an [[upstream]] in the configuration says which one does",
            model.unwrap_or_default()
        );
        return Err(Stop::rejected(StatusCode::NOT_FOUND, "model_not_found", "gateway", message));
    };
    call.route(upstream);
    Ok(Arc::clone(upstream))
}

/// Turns the head of a request into the one that the model server gets.
pub(super) fn for_upstream(
    parts: &mut http::request::Parts,
    upstream: &Upstream,
    token_in_authorization: bool,
) -> Result<(), Stop> {
    let key = upstream.settings.key.as_ref();
    headers::for_upstream(&mut parts.headers, &upstream.host, key, token_in_authorization);
    let target = upstream.target(&parts.uri);
    parts.uri = target.map_err(|e| Stop::rejected(StatusCode::BAD_REQUEST, "bad_target", "client", e.to_string()))?;
    parts.version = http::Version::HTTP_11;
    parts.extensions.clear();
    Ok(())
}

/// Sends the intent of the call to the log, unless it was sent. While the log is known to fail the answer is waited for, so
/// that nobody calls the model on the chance that it works again.
pub(super) async fn begin(gateway: &Gateway, call: &mut Call) -> Result<(), Stop> {
    match call.begin() {
        Ok(()) if gateway.ledger.is_healthy() => Ok(()),
        Ok(()) => on_record(gateway, call).await,
        Err(error) => unrecorded(gateway, call, &error),
    }
}

/// Waits until the beginning of the call is durable, before the first byte of its answer leaves. An answer that waits for
/// its record as a whole need not: the log writes a record after its intent.
async fn on_record(gateway: &Gateway, call: &mut Call) -> Result<(), Stop> {
    match call.begun().await {
        None => Ok(()),
        Some(Ok(())) => {
            gateway.gap.close(&gateway.ledger);
            Ok(())
        }
        Some(Err(error)) => unrecorded(gateway, call, &error),
    }
}

/// The log does not take the call: it goes on without a record where that is allowed, and else no further.
fn unrecorded(gateway: &Gateway, call: &mut Call, error: &onrecord_ledger::Error) -> Result<(), Stop> {
    if gateway.settings.on_log_failure == OnLogFailure::Forward {
        call.abandon();
        return Ok(());
    }
    let message = format!("This call cannot be put on record, and so it is not answered: {error}.");
    Err(Stop::rejected(StatusCode::SERVICE_UNAVAILABLE, LOG_UNAVAILABLE, "gateway", message))
}

pub(super) async fn send(lane: &Lane, upstream: &Upstream, request: Request<UpBody>) -> Result<upstream::Answer, Stop> {
    let settings = &lane.gateway.settings;
    match timeout(settings.response_timeout, lane.pool(upstream).send(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(sending_failed(&error, settings.max_request_body, &upstream.settings.url)),
        Err(_) => {
            let message = format!("the model server sent nothing for {} s", settings.response_timeout.as_secs());
            Err(Stop::upstream(StatusCode::GATEWAY_TIMEOUT, "timeout", "upstream", message))
        }
    }
}

/// Reads an answer that is no stream and waits for its record. One that is too large to hold flows on.
pub(super) async fn collect(
    gateway: &Gateway,
    call: &mut Call,
    parts: http::response::Parts,
    mut body: AnswerBody,
    permit: OwnedSemaphorePermit,
) -> Result<Passed, Stop> {
    let (mut pieces, mut size, mut trailers) = (VecDeque::new(), 0, None);
    loop {
        if size > HOLD_MAX {
            on_record(gateway, call).await?;
            return Ok(Passed::Flowing { parts, body, begun: pieces, permit });
        }
        match timeout(gateway.settings.response_timeout, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => {
                    let (piece, _) = call.received(piece);
                    size += piece.len();
                    pieces.push_back(piece);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Ok(Some(Err(error))) => {
                let message = format!("the model server broke its answer off: {}", root_cause(&error));
                return Err(Stop::upstream(StatusCode::BAD_GATEWAY, "upstream_closed", "stream", message));
            }
            Err(_) => {
                let message =
                    format!("the model server sent nothing for {} s", gateway.settings.response_timeout.as_secs());
                return Err(Stop::upstream(StatusCode::GATEWAY_TIMEOUT, "timeout", "stream", message));
            }
        }
    }
    let rest = call.received_all();
    if call.is_damaged() {
        return Err(Stop::upstream(StatusCode::BAD_GATEWAY, "upstream_garbled", "stream", DAMAGED));
    }
    if !rest.is_empty() {
        pieces.push_back(rest);
    }
    // The connection serves the next call while this one waits for its record.
    drop(body);
    if !gateway.settings.wait_for_commit {
        on_record(gateway, call).await?;
    }
    Ok(Passed::Whole(whole(gateway, call, parts, pieces, trailers).await))
}

pub(super) async fn whole(
    gateway: &Gateway,
    call: &mut Call,
    mut parts: http::response::Parts,
    mut pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
) -> Answer {
    let leaf = match commit(gateway, call, &Outcome::Completed).await {
        Ok(leaf) => leaf,
        Err(answer) => return answer,
    };
    headers::for_client(&mut parts.headers);
    if let Some(leaf) = leaf {
        parts.headers.insert(headers::LEAF, HeaderValue::from(leaf));
    }
    let bytes =
        if pieces.len() == 1 { pieces.pop_front().unwrap_or_default() } else { Vec::from(pieces).concat().into() };
    let body = match trailers {
        None => reply::full(bytes),
        Some(trailers) => {
            parts.headers.remove(CONTENT_LENGTH);
            reply::with_trailers(bytes, trailers)
        }
    };
    Response::from_parts(parts, body)
}

/// Ends the call and waits for its record. Gives its leaf index, or the answer for a client whose call is not on record.
async fn commit(gateway: &Gateway, call: &mut Call, outcome: &Outcome) -> Result<Option<u64>, Answer> {
    let committed = match call.end(outcome) {
        Ok(Some(pending)) if gateway.settings.wait_for_commit => {
            timeout(COMMIT_PATIENCE, call.committed(pending)).await
        }
        Ok(Some(pending)) => {
            call.see_to(pending);
            return Ok(None);
        }
        Ok(None) => return Ok(None),
        Err(error) => Ok(Err(error)),
    };
    let problem = match committed {
        Ok(Ok(receipt)) => {
            gateway.gap.close(&gateway.ledger);
            return Ok(Some(receipt.index));
        }
        // Whether the log still takes it is not known; it is not stated as missing.
        Err(_) if gateway.settings.on_log_failure == OnLogFailure::Forward => return Ok(None),
        Ok(Err(_)) if gateway.settings.on_log_failure == OnLogFailure::Forward => {
            gateway.unrecorded();
            return Ok(None);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the log has not taken it for {} s", COMMIT_PATIENCE.as_secs()),
    };
    let message = format!("The answer is withheld, because it is not on record yet: {problem}.");
    Err(reply::error(call.dialect(), StatusCode::SERVICE_UNAVAILABLE, LOG_UNAVAILABLE, &message))
}

fn flow(
    gateway: &Gateway,
    call: Call,
    mut parts: http::response::Parts,
    body: AnswerBody,
    begun: VecDeque<Bytes>,
    permit: OwnedSemaphorePermit,
) -> Answer {
    let rules = Rules {
        patience: gateway.settings.response_timeout,
        event_stream: is_event_stream(&parts.headers) && end_is_seen(&parts.headers),
        wait_for_commit: gateway.settings.wait_for_commit,
        withhold: gateway.settings.on_log_failure == OnLogFailure::Refuse,
        permit,
    };
    headers::for_client(&mut parts.headers);
    Response::from_parts(parts, Recorded::new(call, body, begun, rules).boxed_unsync())
}

async fn refuse(gateway: &Gateway, mut call: Call, stop: Stop) -> Answer {
    let Stop { status, ref failure, .. } = stop;
    call.record().set(&field::STATUS, i64::from(status.as_u16()));
    match commit(gateway, &mut call, &stop.outcome()).await {
        Err(answer) if failure.kind != LOG_UNAVAILABLE => answer,
        // That the log does not take the refusal either is no news.
        _ => reply::error(call.dialect(), status, failure.kind, &failure.message),
    }
}

pub(super) fn body_head(headers: &HeaderMap) -> BodyHead<'_> {
    let of = |name: HeaderName| str_of(headers.get(name));
    BodyHead { content_type: of(CONTENT_TYPE), content_encoding: of(CONTENT_ENCODING) }
}

pub(super) fn str_of(value: Option<&HeaderValue>) -> Option<&str> {
    value?.to_str().ok()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    body_head(headers).announces_stream() && !headers.contains_key(CONTENT_LENGTH)
}

/// The terminal event can be seen in a stream that is not compressed, or in a way that is undone. Any other flows, and its
/// last bytes are those that are held.
fn end_is_seen(headers: &HeaderMap) -> bool {
    let known = |value: &HeaderValue| {
        [&b"identity"[..], b"gzip", b"x-gzip", b"deflate", b"br", b"zstd"].contains(&value.as_bytes())
    };
    headers.get(CONTENT_ENCODING).is_none_or(known)
}
