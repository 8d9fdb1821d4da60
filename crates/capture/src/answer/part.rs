//! One part of a message: a text, a thought, a tool call, or what else there is.

use super::extra::Extra;
use crate::budget::Budget;
use crate::json::{self, RawValue};

/// What one part costs beside its texts.
pub(super) const COST: usize = 128;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Reasoning,
    Refusal,
    /// Base64, as it came.
    Audio,
    /// What was said in the audio.
    Transcript,
    ToolCall,
    /// What a tool that the server runs itself gave back.
    ToolResult,
    /// Anything else, as JSON that is kept as it came.
    Other,
}

/// How the wire tells which part a fragment belongs to: by a number, by a name, or not at all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Key<'a> {
    pub(crate) index: Option<i64>,
    pub(crate) name: &'a str,
}

impl Key<'_> {
    /// A number.
    pub(crate) const fn index(index: i64) -> Self {
        Self { index: Some(index), name: "" }
    }
}

/// One part of a message.
#[derive(Debug)]
pub(crate) struct Part {
    pub(super) kind: Kind,
    index: Option<i64>,
    key: String,
    /// The id and the name of a tool call.
    pub(super) id: String,
    pub(super) name: String,
    /// The text, or the arguments of a tool call: JSON as it was accumulated, which a model may have left invalid.
    pub(super) content: String,
    pub(crate) extra: Extra,
}

impl Part {
    pub(super) fn new(kind: Kind, key: Key<'_>) -> Self {
        let (id, name, content) = (String::new(), String::new(), String::new());
        Self { kind, index: key.index, key: key.name.into(), id, name, content, extra: Extra::default() }
    }

    pub(super) fn has_key(&self, key: Key<'_>) -> bool {
        self.index == key.index && self.key == key.name
    }

    /// True if a fragment of a tool call belongs to this one: of its index, or without an index of the last one. An id
    /// that is another one begins another call, since some servers give each call index 0 or none at all.
    pub(super) fn is_call(&self, index: Option<i64>, id: &str) -> bool {
        self.kind == Kind::ToolCall
            && (index.is_none() || self.index == index)
            && (id.is_empty() || self.id.is_empty() || self.id == id)
    }

    pub(crate) fn append(&mut self, piece: &str, budget: &mut Budget) {
        budget.append(&mut self.content, piece);
    }

    /// Replaces the content, which came again as a whole.
    pub(crate) fn replace(&mut self, content: &str, budget: &mut Budget) {
        if self.content != content && budget.exchange(self.content.len(), content.len()) {
            self.content.clear();
            self.content.push_str(content);
        }
    }

    /// Sets the id of a tool call, which does not change.
    pub(crate) fn set_id(&mut self, id: &str, budget: &mut Budget) {
        if self.id.is_empty() {
            budget.append(&mut self.id, id);
        }
    }

    /// Takes the name of a tool, or the next part of it. Some servers send it with every fragment.
    pub(crate) fn append_name(&mut self, name: &str, budget: &mut Budget) {
        if self.name != name {
            budget.append(&mut self.name, name);
        }
    }

    /// Takes arguments: OpenAI sends a string of JSON, other servers the JSON itself.
    pub(crate) fn append_arguments(&mut self, arguments: &RawValue, budget: &mut Budget) {
        match json::text(arguments) {
            Some(text) => self.append(&text, budget),
            None => self.append(arguments.get(), budget),
        }
    }
}
