//! Chat completions (OpenAI API reference, “Chat”), with what llama.cpp, vLLM, LM Studio and other servers add to them.

use onrecord_proof::field;
use serde_json::Result;

use super::choice;
use crate::answer::Answer;
use crate::request::asked::{Asked, SAMPLING, last_message};
use crate::wire::{Last, Text, Wire};

/// What a request says.
pub(crate) const REQUEST: Asked = Asked {
    parameters: &[("max_tokens", &field::MAX_TOKENS), ("max_completion_tokens", &field::MAX_TOKENS)],
    shared: SAMPLING,
    input: &[("messages", last_message)],
    ..Asked::NOTHING
};

/// Reads answers. Only `[DONE]` ends a stream.
pub(crate) struct Chat;

impl Wire for Chat {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        choice::take(event.json, event.at_us, answer).map(|()| Last::No)
    }

    fn may_be_last(&self, _: &[u8], _: &[u8]) -> bool {
        false
    }
}
