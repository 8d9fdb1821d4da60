//! The objects on the wire: their members as raw JSON. A whole answer and a chunk of a stream have the same shape,
//! but for `message` in the one and `delta` in the other.

use std::borrow::Cow;

use crate::json::{self, RawValue};

/// Members that have no meaning to us.
pub(super) type Rest<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

macro_rules! object {
    ($(#[doc = $doc:literal])* $type:ident { $($member:ident),* } without { $($without:literal),* }) => {
        $(#[doc = $doc])*
        #[derive(Default)]
        pub(super) struct $type<'a> {
            $(pub(super) $member: Option<&'a RawValue>,)*
            pub(super) rest: Rest<'a>,
        }

        impl<'a> $type<'a> {
            /// The members that are not null; the last of equal names wins.
            pub(super) fn read(json: &'a str) -> serde_json::Result<Self> {
                let mut object = Self::default();
                json::members(json, |name, value| match &*name {
                    $(stringify!($member) => object.$member = json::present(value),)*
                    $($without => {})*
                    _ => object.rest.extend(json::present(value).map(|value| (name, value))),
                })?;
                Ok(object)
            }
        }
    };
}

object! {
    /// An answer, or a chunk of it.
    Chunk { id, model, system_fingerprint, choices, usage, timings, error } without { "object" }
}

object! {
    /// One of its choices, or what is new in it.
    Choice { index, delta, message, finish_reason, logprobs, token_ids } without {}
}

object! {
    /// What is new in a choice's message, or all of it.
    Delta { role, content, reasoning_content, reasoning, refusal, tool_calls, function_call } without {}
}

object! {
    /// A tool call, or what is new in it.
    ToolCall { index, id, function } without { "type" }
}

object! {
    /// The function of a tool call.
    Function { name, arguments } without {}
}

object! {
    /// Token decisions.
    Logprobs { content } without {}
}
