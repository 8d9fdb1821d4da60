//! Output messages in the form of the OpenTelemetry GenAI semantic conventions (`gen_ai.output.messages`), with
//! `extra` for the members that the form has no place for.

use serde::{Serialize, Serializer};

use super::extra::Extra;
use super::message::Message;
use super::part::{Kind, Part};
use crate::json::{self, RawValue};

#[derive(Serialize)]
struct Output<'a> {
    role: &'a str,
    parts: Vec<OutputPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Members::is_empty")]
    extra: Members<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum OutputPart<'a> {
    Content {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        modality: Option<&'static str>,
        content: &'a str,
        #[serde(skip_serializing_if = "Members::is_empty")]
        extra: Members<'a>,
    },
    ToolCall {
        r#type: &'static str,
        #[serde(skip_serializing_if = "str::is_empty")]
        id: &'a str,
        name: &'a str,
        arguments: &'a str,
        #[serde(skip_serializing_if = "Members::is_empty")]
        extra: Members<'a>,
    },
    ToolResult {
        r#type: &'static str,
        response: &'a str,
    },
    Other(&'a RawValue),
}

/// Names and values, in the order in which they came.
struct Members<'a>(Vec<(&'a str, &'a RawValue)>);

impl Members<'_> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<&'a Extra> for Members<'a> {
    fn from(extra: &'a Extra) -> Self {
        Self(extra.iter().collect())
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().copied())
    }
}

/// The messages as a JSON list. What belongs to none of them goes to the first.
pub(super) fn to_json<'a>(messages: impl Iterator<Item = &'a Message>, extra: &Extra) -> Option<Vec<u8>> {
    let token_ids: Vec<_> = messages.map(|message| (message, format!("[{}]", message.token_ids.items()))).collect();
    let mut messages: Vec<_> = token_ids.iter().map(|(message, ids)| output(message, ids)).collect();
    let first = messages.first_mut()?;
    for (name, value) in extra.iter() {
        if !first.extra.0.iter().any(|(have, _)| *have == name) {
            first.extra.0.push((name, value));
        }
    }
    serde_json::to_vec(&messages).ok()
}

fn output<'a>(message: &'a Message, token_ids: &'a str) -> Output<'a> {
    let mut extra = Members::from(&message.extra);
    if !message.token_ids.items().is_empty() {
        extra.0.extend(json::raw(token_ids).map(|ids| ("token_ids", ids)));
    }
    Output {
        role: if message.role.is_empty() { "assistant" } else { &message.role },
        parts: message.parts.iter().filter_map(output_part).collect(),
        finish_reason: message.finish_reason.as_deref(),
        extra,
    }
}

fn output_part(part: &Part) -> Option<OutputPart<'_>> {
    let (extra, content) = (Members::from(&part.extra), part.content.as_str());
    Some(match part.kind {
        Kind::Other => OutputPart::Other(json::raw(content)?),
        Kind::ToolCall => {
            OutputPart::ToolCall { r#type: "tool_call", id: &part.id, name: &part.name, arguments: content, extra }
        }
        Kind::ToolResult => OutputPart::ToolResult { r#type: "tool_call_response", response: content },
        // An empty text says something only by what else came with it, such as a signature.
        _ if content.is_empty() && part.extra.is_empty() => return None,
        kind => {
            let modality = (kind == Kind::Audio).then_some("audio");
            OutputPart::Content { r#type: type_of(kind), modality, content, extra }
        }
    })
}

const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Reasoning => "reasoning",
        Kind::Refusal => "refusal",
        Kind::Audio => "blob",
        _ => "text",
    }
}
