//! `POST /v1/chat/completions`, whole and streamed.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use tokio::sync::mpsc;

use super::answer::Envelope;
use super::error::ApiError;
use super::parts::Delta;
use super::request::ChatRequest;
use super::work::{self, Event};
use super::{Server, Shared};

pub(super) async fn complete(State(server): Shared, body: Result<Bytes, BytesRejection>) -> Result<Response, ApiError> {
    let body = body.map_err(|rejection| ApiError::no_body(rejection.status(), rejection.body_text()))?;
    let (request, prompt) = read(server.clone(), body).await?;
    let envelope = Envelope::new(&server.model);
    let events = work::start(server, &request, prompt).await?;
    if request.stream {
        return Ok(Sse::new(stream_answer(envelope, events, request.include_usage)).into_response());
    }
    let answer = whole_answer(&envelope, events, request.logprobs).await?;
    Ok(([(CONTENT_TYPE, "application/json")], answer).into_response())
}

/// Parsing and tokenizing a long body takes milliseconds, too many for a thread that serves other clients.
async fn read(server: Server, body: Bytes) -> Result<(ChatRequest, Vec<u32>), ApiError> {
    let reading = tokio::task::spawn_blocking(move || {
        let request = ChatRequest::parse(&body, server.model.name())?;
        let prompt = server.model.encode(&server.model.render(&request.conversation)?)?;
        server.model.check_prompt(&prompt)?;
        Ok((request, prompt))
    });
    reading.await.map_err(|_| ApiError::broken_off())?
}

async fn whole_answer(
    envelope: &Envelope,
    mut events: mpsc::Receiver<Event>,
    logprobs: bool,
) -> Result<String, ApiError> {
    let mut answer = Delta::default();
    while let Some(event) = events.recv().await {
        match event {
            Event::Delta(delta) => answer.append(delta),
            Event::End { rest, finish_reason, usage } => {
                answer.append(rest);
                return Ok(envelope.whole(&answer, finish_reason, usage, logprobs));
            }
            Event::Failed(error) => return Err(error.into()),
        }
    }
    Err(ApiError::broken_off())
}

fn stream_answer(
    envelope: Envelope,
    events: mpsc::Receiver<Event>,
    include_usage: bool,
) -> impl Stream<Item = Result<SseEvent, Infallible>> {
    let opening = stream::iter([data(envelope.opening())]);
    let events = stream::unfold(events, async |mut events| Some((events.recv().await?, events)));
    let chunks = events.flat_map(move |event| stream::iter(chunks(&envelope, event, include_usage)));
    opening.chain(chunks).map(Ok)
}

/// A failure ends the stream without `[DONE]`: the status line has long been sent.
fn chunks(envelope: &Envelope, event: Event, include_usage: bool) -> Vec<SseEvent> {
    match event {
        Event::Delta(delta) => vec![data(envelope.piece(&delta, None))],
        Event::Failed(error) => vec![data(ApiError::from(error).body().to_string())],
        Event::End { rest, finish_reason, usage } => {
            let mut chunks = Vec::new();
            if rest.shows() {
                chunks.push(data(envelope.piece(&rest, None)));
                chunks.push(data(envelope.piece(&Delta::default(), Some(finish_reason))));
            } else {
                chunks.push(data(envelope.piece(&rest, Some(finish_reason))));
            }
            if include_usage {
                chunks.push(data(envelope.usage(usage)));
            }
            chunks.push(SseEvent::default().data("[DONE]"));
            chunks
        }
    }
}

fn data(json: String) -> SseEvent {
    SseEvent::default().data(json)
}
