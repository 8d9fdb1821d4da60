//! The messages of a request, as the chat template takes them.

use minijinja::Value;
use serde::Deserialize;

use super::error::ApiError;
use super::fields::Fields;
use crate::template::Message;

#[derive(Deserialize)]
struct Sent {
    role: String,
    content: Option<Content>,
    reasoning_content: Option<String>,
    tool_calls: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

pub(super) fn parse(fields: &Fields) -> Result<Vec<Message>, ApiError> {
    let sent: Vec<Sent> = fields.required("messages")?;
    if sent.is_empty() {
        return Err(ApiError::wrong_value("messages", "'messages' must hold at least one message."));
    }
    sent.into_iter().enumerate().map(|(index, sent)| message(sent, index)).collect()
}

fn message(sent: Sent, index: usize) -> Result<Message, ApiError> {
    let mut message = Message::new(role(&sent.role, index)?, text(sent.content, index)?);
    message.reasoning_content = sent.reasoning_content;
    message.tool_calls = sent.tool_calls;
    Ok(message)
}

/// `developer` is what newer clients call `system`; the template knows only the latter.
fn role(role: &str, index: usize) -> Result<&str, ApiError> {
    match role {
        "developer" => Ok("system"),
        "system" | "user" | "assistant" | "tool" => Ok(role),
        _ => Err(ApiError::wrong_value(
            &format!("messages[{index}].role"),
            format!("'{role}' is not a role. Roles are 'system', 'developer', 'user', 'assistant' and 'tool'."),
        )),
    }
}

/// Parts are joined by newlines, as llama.cpp and vLLM do.
fn text(content: Option<Content>, index: usize) -> Result<String, ApiError> {
    match content {
        None => Ok(String::new()),
        Some(Content::Text(text)) => Ok(text),
        Some(Content::Parts(parts)) => {
            let texts = parts.into_iter().map(|part| part_text(part, index)).collect::<Result<Vec<_>, _>>()?;
            Ok(texts.join("\n"))
        }
    }
}

fn part_text(part: Part, index: usize) -> Result<String, ApiError> {
    match part {
        Part { kind, text: Some(text) } if kind == "text" => Ok(text),
        Part { kind, .. } => Err(ApiError::unsupported(
            &format!("messages[{index}].content"),
            format!("This model reads text only, not a content part of type '{kind}'."),
        )),
    }
}
