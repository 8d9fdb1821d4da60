//! Output messages in the form of the OpenTelemetry GenAI semantic conventions (`gen_ai.output.messages`), with
//! `extra` for the members that the form has no place for.

use serde::{Serialize, Serializer};

use super::choice::{Choice, Extra};
use super::tool::Tool;
use crate::json::{self, RawValue};

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    parts: Vec<Part<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Members::is_empty")]
    extra: Members<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'a> {
    Reasoning {
        content: &'a str,
    },
    Text {
        content: &'a str,
    },
    Refusal {
        content: &'a str,
    },
    ToolCall {
        #[serde(skip_serializing_if = "str::is_empty")]
        id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
}

/// Names and values, in the order in which they came.
struct Members<'a>(Vec<(&'a str, &'a RawValue)>);

impl Members<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().copied())
    }
}

/// The messages of `choices`, as a JSON list. What belongs to none of them goes to the first.
pub(super) fn to_json<'a>(choices: impl Iterator<Item = &'a Choice>, extra: &Extra) -> Option<Vec<u8>> {
    let token_ids: Vec<(&Choice, String)> = choices.map(|choice| (choice, format!("[{}]", choice.token_ids))).collect();
    let mut messages: Vec<_> = token_ids.iter().map(|(choice, ids)| message(choice, ids)).collect();
    let first = messages.first_mut()?;
    for (name, value) in extra.iter() {
        if !first.extra.0.iter().any(|(have, _)| *have == name) {
            first.extra.0.push((name, value));
        }
    }
    serde_json::to_vec(&messages).ok()
}

fn message<'a>(choice: &'a Choice, token_ids: &'a str) -> Message<'a> {
    let mut extra: Vec<_> = choice.extra.iter().collect();
    if !choice.token_ids.is_empty() {
        extra.extend(json::raw(token_ids).map(|ids| ("token_ids", ids)));
    }
    Message {
        role: if choice.role.is_empty() { "assistant" } else { &choice.role },
        parts: parts(choice),
        finish_reason: choice.finish_reason.as_deref(),
        extra: Members(extra),
    }
}

fn parts(choice: &Choice) -> Vec<Part<'_>> {
    let texts = [
        (!choice.reasoning.is_empty()).then_some(Part::Reasoning { content: &choice.reasoning }),
        (!choice.text.is_empty()).then_some(Part::Text { content: &choice.text }),
        (!choice.refusal.is_empty()).then_some(Part::Refusal { content: &choice.refusal }),
    ];
    texts.into_iter().flatten().chain(choice.tools.iter().map(call)).collect()
}

fn call(Tool { id, name, arguments, .. }: &Tool) -> Part<'_> {
    Part::ToolCall { id, name, arguments }
}
