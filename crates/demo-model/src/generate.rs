//! Generation: one token after another until something ends the answer.

use std::ops::ControlFlow;

use crate::Result;
use crate::model::Model;
use crate::sampling::{Alternative, Sampler, Sampling};
use crate::text::{StopGate, Utf8Joiner};

/// One decision of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// The chosen token.
    pub id: u32,
    /// The bytes it adds to the text, possibly part of a character.
    pub bytes: Vec<u8>,
    /// The text that may be shown now: whole characters, and nothing that could be the start of a stop string. It may
    /// hold text of earlier tokens and lack that of this one.
    pub text: String,
    /// Natural logarithm of the token's probability under the untempered softmax.
    pub logprob: f32,
    /// The most probable tokens, in descending order; as many as [`Sampling::top_logprobs`] says.
    pub top: Vec<Alternative>,
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// What ended it.
    pub finish: Finish,
    /// Text that was held back and turned out to be part of the answer; comes after that of all tokens.
    pub tail: String,
    /// The number of tokens generated, a final control token included.
    pub tokens: usize,
}

/// What ended a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended its answer, or a stop string was met.
    Stop,
    /// The token limit or the end of the context was reached.
    Length,
    /// The receiver of the tokens asked to end.
    Cancelled,
}

impl Model {
    /// Generates an answer to `prompt`, handing over each token as soon as it is chosen. It runs on the calling
    /// thread, for about a millisecond a token.
    ///
    /// # Errors
    ///
    /// `EmptyPrompt`, `ContextExceeded` and `UnknownToken` of [`Error`](crate::Error) before the first token, `Tensor` if a
    /// computation fails.
    pub fn generate(
        &self,
        prompt: &[u32],
        sampling: &Sampling,
        mut receive: impl FnMut(Token) -> ControlFlow<()>,
    ) -> Result<Completion> {
        self.check_prompt(prompt)?;
        let limit = sampling.max_tokens.min(self.context_length() - prompt.len());
        let mut answer = Answer::new(sampling, limit);
        if limit == 0 {
            return Ok(answer.end(Finish::Length));
        }
        let mut context = self.llama().context(prompt.len() + limit);
        let mut logits = self.llama().forward(prompt, &mut context)?;
        loop {
            let (token, finish) = answer.step(self, &logits);
            let id = token.id;
            let finish = receive(token).is_break().then_some(Finish::Cancelled).or(finish);
            if let Some(finish) = finish {
                return Ok(answer.end(finish));
            }
            logits = self.llama().forward(&[id], &mut context)?;
        }
    }
}

/// The answer in the making.
struct Answer<'a> {
    sampling: &'a Sampling,
    sampler: Sampler,
    joiner: Utf8Joiner,
    gate: StopGate,
    tokens: usize,
    limit: usize,
}

impl<'a> Answer<'a> {
    fn new(sampling: &'a Sampling, limit: usize) -> Self {
        Self {
            sampling,
            sampler: Sampler::new(sampling),
            joiner: Utf8Joiner::default(),
            gate: StopGate::new(&sampling.stop),
            tokens: 0,
            limit,
        }
    }

    fn step(&mut self, model: &Model, logits: &[f32]) -> (Token, Option<Finish>) {
        let (chosen, top) = self.sampler.choose(logits);
        let bytes = model.token_bytes(chosen.id).to_vec();
        let released = self.gate.push(&self.joiner.push(&bytes));
        self.tokens += 1;
        let ended = model.ends_answer(chosen.id) && !self.sampling.ignore_eos;
        let stop = (released.stopped || ended).then_some(Finish::Stop);
        let finish = stop.or((self.tokens == self.limit).then_some(Finish::Length));
        (Token { id: chosen.id, bytes, text: released.text, logprob: chosen.logprob, top }, finish)
    }

    fn end(mut self, finish: Finish) -> Completion {
        let character = self.joiner.finish();
        let tail = self.gate.push(&character).text + &self.gate.finish();
        Completion { finish, tail, tokens: self.tokens }
    }
}
