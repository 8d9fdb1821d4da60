//! Running a generation beside the async threads, and stopping it when nobody listens any more.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use super::Server;
use super::answer::{TokenLogprob, Usage};
use super::error::ApiError;
use super::parts::{Delta, Splitter};
use super::request::ChatRequest;
use crate::{Error, Finish, Sampling, Token};

/// Deltas that may wait for a slow client before the generation waits for it, too: some 50 ms of them.
const QUEUE: usize = 64;

/// What a generation reports.
pub(super) enum Event {
    /// The next piece of the answer.
    Delta(Delta),
    /// The last piece, and how it ended.
    End { rest: Delta, finish_reason: &'static str, usage: Usage },
    /// A failure after the start.
    Failed(Error),
}

/// Waits for a free slot and starts to answer. Dropping the receiver stops the generation at its next token.
pub(super) async fn start(
    server: Server,
    request: &ChatRequest,
    prompt: Vec<u32>,
) -> Result<mpsc::Receiver<Event>, ApiError> {
    let slot = server.slots.clone().acquire_owned().await.map_err(|_| ApiError::broken_off())?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let splitter = Splitter::new(!request.conversation.tools.is_empty());
    let generation = Generation { draft: Delta::default(), splitter, logprobs: request.logprobs, server, sender };
    let sampling = request.sampling.clone();
    tokio::task::spawn_blocking(move || {
        generation.run(&prompt, &sampling);
        drop(slot);
    });
    Ok(receiver)
}

struct Generation {
    server: Server,
    /// Whether to report log-probabilities.
    logprobs: bool,
    splitter: Splitter,
    /// What was not shown yet.
    draft: Delta,
    sender: mpsc::Sender<Event>,
}

impl Generation {
    fn run(mut self, prompt: &[u32], sampling: &Sampling) {
        let model = self.server.model.clone();
        let end = match model.generate(prompt, sampling, |token| self.receive(token)) {
            Ok(completion) => {
                self.splitter.push(&completion.tail, &mut self.draft);
                self.splitter.finish(&mut self.draft);
                let usage = Usage::new(prompt.len(), completion.tokens);
                let finish_reason = self.finish_reason(completion.finish);
                tracing::debug!(?usage, finish_reason, "generation ended");
                Event::End { rest: self.draft, finish_reason, usage }
            }
            Err(error) => Event::Failed(error),
        };
        // Nobody is left to be told when this fails.
        let _ = self.sender.blocking_send(end);
    }

    fn receive(&mut self, token: Token) -> ControlFlow<()> {
        self.server.generated.fetch_add(1, Ordering::Relaxed);
        self.splitter.push(&token.text, &mut self.draft);
        if self.logprobs {
            self.draft.logprobs.push(TokenLogprob::new(&self.server.model, token));
        }
        let listening = if self.draft.shows() {
            self.sender.blocking_send(Event::Delta(std::mem::take(&mut self.draft))).is_ok()
        } else {
            !self.sender.is_closed()
        };
        if listening { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn finish_reason(&self, finish: Finish) -> &'static str {
        match finish {
            Finish::Length => "length",
            _ if self.splitter.calls() > 0 => "tool_calls",
            _ => "stop",
        }
    }
}
