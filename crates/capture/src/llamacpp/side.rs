//! Calls beside the model: tokenizing (llama.cpp, vLLM and TGI), counting tokens (Anthropic and OpenAI), applying the chat template, and the control of a
//! completion that is running.

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::{Answer, Kind, Usage};
use crate::json::{self, RawValue};
use crate::request::asked::{Asked, last_item, last_message, prompt};
use crate::wire::{Last, Text, Wire, object};

/// What a request to tokenize says: `content` to llama.cpp, `prompt` or `messages` to vLLM, `inputs` to TGI.
pub(crate) const TOKENIZE: Asked = Asked {
    parameters: &[("model", &field::REQUEST_MODEL)],
    input: &[("content", prompt), ("prompt", prompt), ("messages", last_message), ("inputs", prompt)],
    ..Asked::NOTHING
};

/// What a request to put tokens together again says.
pub(crate) const DETOKENIZE: Asked = Asked { parameters: &[("model", &field::REQUEST_MODEL)], ..Asked::NOTHING };

/// What a request to count tokens says, which is what one to answer would.
pub(crate) const COUNT: Asked = Asked {
    parameters: &[("model", &field::REQUEST_MODEL)],
    input: &[("messages", last_message), ("input", last_item)],
    ..Asked::NOTHING
};

/// What a request to apply the chat template says.
pub(crate) const TEMPLATE: Asked =
    Asked { parameters: &[("model", &field::REQUEST_MODEL)], input: &[("messages", last_message)], ..Asked::NOTHING };

/// What a request says that alters a running completion: which one, and what is to be done with it.
pub(crate) const CONTROL: Asked = Asked {
    parameters: &[("model", &field::REQUEST_MODEL), ("id", &field::RESPONSE_ID)],
    input: &[("action", prompt)],
    ..Asked::NOTHING
};

object! {
    /// An answer; which members there are depends on the call.
    Side { tokens, content, prompt, success, input_tokens, error } without {}
}

/// Reads answers of all of them.
pub(crate) struct SideCall;

impl Wire for SideCall {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        // TGI answers with the list of tokens itself.
        if event.json.trim_start().starts_with('[') {
            take_tokens(json::parse(event.json)?, answer);
            return Ok(Last::No);
        }
        let side = Side::read(event.json)?;
        if let Some(error) = side.error {
            answer.fail(error);
        }
        if let Some(tokens) = side.tokens {
            take_tokens(tokens, answer);
        }
        if let Some(count) = side.input_tokens.and_then(json::int) {
            answer.usage.set(&Usage { input: Some(count), ..Usage::default() });
            answer.understand();
        }
        if let Some(text) = side.content.or(side.prompt).and_then(json::text)
            && let Some((message, budget)) = answer.message(0)
        {
            message.say(Kind::Text, &text, budget);
        }
        if side.success.is_some() {
            answer.understand();
        }
        Ok(Last::No)
    }
}

fn take_tokens(tokens: &RawValue, answer: &mut Answer) {
    answer.usage.set(&Usage { input: Some(json::count(tokens) as i64), ..Usage::default() });
    answer.understand();
}
