//! Legacy completions (OpenAI API reference, “Completions”), as llama.cpp, vLLM, LM Studio and others serve them.

use onrecord_proof::field;
use serde_json::Result;

use super::choice;
use crate::answer::Answer;
use crate::request::asked::{Asked, SAMPLING, prompt};
use crate::wire::{Last, Text, Wire};

/// What a request says.
pub(crate) const REQUEST: Asked = Asked {
    parameters: &[("max_tokens", &field::MAX_TOKENS)],
    shared: SAMPLING,
    input: &[("prompt", prompt)],
    ..Asked::NOTHING
};

/// Reads answers. Only `[DONE]` ends a stream.
pub(crate) struct Completions;

impl Wire for Completions {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        choice::take(event.json, event.at_us, answer).map(|()| Last::No)
    }

    fn may_be_last(&self, _: &[u8], _: &[u8]) -> bool {
        false
    }
}
