//! One message of an answer, put together from its fragments.

use super::extra::Extra;
use super::part::{COST, Key, Kind, Part};
use crate::budget::Budget;
use crate::decisions::Decisions;
use crate::json::{self, RawValue};
use crate::list::List;

/// Parts of one message. Models call some tools at once; this bounds the search for the part that a fragment goes on.
const PARTS_MAX: usize = 4096;

/// What one message adds up to.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(super) role: String,
    pub(super) parts: Vec<Part>,
    pub(super) finish_reason: Option<String>,
    /// The stop string that ended it.
    pub(super) stopped_by: Option<String>,
    pub(crate) decisions: Decisions,
    pub(crate) token_ids: List,
    pub(crate) extra: Extra,
}

impl Message {
    /// Sets the role, which does not change.
    pub(crate) fn set_role(&mut self, role: &RawValue, budget: &mut Budget) {
        if let (true, Some(role)) = (self.role.is_empty(), json::text(role)) {
            budget.append(&mut self.role, &role);
        }
    }

    /// Says why the message ended.
    pub(crate) fn finish(&mut self, reason: &RawValue, budget: &mut Budget) {
        if let Some(reason) = json::text(reason) {
            budget.set(&mut self.finish_reason, &reason);
        }
    }

    /// Says which stop string ended it.
    pub(crate) fn stopped_by(&mut self, word: &RawValue, budget: &mut Budget) {
        if let Some(word) = json::text(word) {
            budget.set(&mut self.stopped_by, &word);
        }
    }

    /// Continues the one part of its kind. True if anything was said.
    pub(crate) fn say(&mut self, kind: Kind, piece: &str, budget: &mut Budget) -> bool {
        if piece.is_empty() {
            return false;
        }
        let at = self.parts.iter().position(|part| part.kind == kind);
        let part = match at {
            Some(at) => self.parts.get_mut(at),
            None => self.add(kind, Key::default(), budget),
        };
        if let Some(part) = part {
            part.append(piece, budget);
        }
        true
    }

    /// The part of that key and kind, which is added if it is not there; `None` if the budget does not allow it.
    pub(crate) fn part(&mut self, kind: Kind, key: Key<'_>, budget: &mut Budget) -> Option<&mut Part> {
        match self.parts.iter().rposition(|part| part.has_key(key) && part.kind == kind) {
            Some(at) => self.parts.get_mut(at),
            None => self.add(kind, key, budget),
        }
    }

    /// The part of that key, of whatever kind.
    pub(crate) fn keyed(&mut self, key: Key<'_>) -> Option<&mut Part> {
        self.parts.iter_mut().rfind(|part| part.has_key(key))
    }

    /// The tool call that a fragment with this index and id belongs to; `None` if the budget does not allow another one.
    pub(crate) fn call(&mut self, index: Option<i64>, id: &str, budget: &mut Budget) -> Option<&mut Part> {
        let part = match self.parts.iter().rposition(|part| part.is_call(index, id)) {
            Some(at) => self.parts.get_mut(at),
            None => self.add(Kind::ToolCall, Key { index, name: "" }, budget),
        }?;
        part.set_id(id, budget);
        Some(part)
    }

    /// Adds a part.
    pub(crate) fn add(&mut self, kind: Kind, key: Key<'_>, budget: &mut Budget) -> Option<&mut Part> {
        self.push(Part::new(kind, key), COST + key.name.len(), budget)
    }

    fn push(&mut self, part: Part, cost: usize, budget: &mut Budget) -> Option<&mut Part> {
        if self.parts.len() >= PARTS_MAX {
            budget.cut();
        }
        if !budget.take(cost) {
            return None;
        }
        self.parts.push(part);
        self.parts.last_mut()
    }

    /// Adds a part of a kind that has no meaning to us, as it came.
    pub(crate) fn add_other(&mut self, json: &RawValue, budget: &mut Budget) {
        let mut part = Part::new(Kind::Other, Key::default());
        json.get().clone_into(&mut part.content);
        self.push(part, COST + json.get().len(), budget);
    }

    /// The texts of these kinds, a part a line.
    pub(super) fn texts(&self, kinds: &[Kind]) -> String {
        let parts = self.parts.iter().filter(|part| kinds.contains(&part.kind) && !part.content.is_empty());
        parts.map(|part| part.content.as_str()).collect::<Vec<_>>().join("\n")
    }
}
