//! One choice of an answer, put together from its deltas.

use super::tool::{self, Tool};
use super::wire::{self, Delta, Logprobs};
use crate::budget::Budget;
use crate::json::{self, RawValue};

/// Unknown members that are kept of one message; the servers we know send about ten.
const EXTRA_MAX: usize = 64;

/// What one choice adds up to.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) role: String,
    pub(super) reasoning: String,
    pub(super) text: String,
    pub(super) refusal: String,
    pub(super) tools: Vec<Tool>,
    pub(super) finish_reason: Option<String>,
    /// Token decisions: the items of the lists that were sent, with commas between them.
    pub(super) logprobs: String,
    /// Token ids, in the same way.
    pub(super) token_ids: String,
    pub(super) extra: Extra,
}

impl Choice {
    /// Takes what is new. True if the model said something in it.
    pub(super) fn take(&mut self, new: &wire::Choice<'_>, budget: &mut Budget) -> bool {
        let spoke = new.delta.or(new.message).is_some_and(|delta| self.take_delta(delta, budget));
        if let Some(reason) = new.finish_reason.and_then(json::text) {
            self.finish_reason = Some(reason.into());
        }
        if let Some(logprobs) = new.logprobs {
            self.take_logprobs(logprobs, budget);
        }
        match new.token_ids.map(|ids| (ids, json::inside_list(ids))) {
            Some((_, Some(ids))) => append_items(&mut self.token_ids, ids, budget),
            Some((ids, None)) if !ids.get().starts_with('[') => self.extra.set("token_ids", ids, budget),
            _ => {}
        }
        self.extra.set_all(&new.rest, budget);
        spoke
    }

    fn take_delta(&mut self, json: &RawValue, budget: &mut Budget) -> bool {
        let Ok(delta) = Delta::read(json.get()) else {
            self.extra.set("delta", json, budget);
            return false;
        };
        if let (true, Some(role)) = (self.role.is_empty(), delta.role.and_then(json::text)) {
            budget.append(&mut self.role, &role);
        }
        let spoke = self.take_texts(&delta, budget) | self.take_tools(&delta, budget);
        self.extra.set_all(&delta.rest, budget);
        spoke
    }

    fn take_texts(&mut self, delta: &Delta<'_>, budget: &mut Budget) -> bool {
        let texts = [
            ("reasoning", &mut self.reasoning, delta.reasoning_content.or(delta.reasoning)),
            ("content", &mut self.text, delta.content),
            ("refusal", &mut self.refusal, delta.refusal),
        ];
        let mut spoke = false;
        for (name, text, value) in texts {
            let Some(value) = value else { continue };
            match json::content_text(value, "") {
                Some(piece) => {
                    spoke |= !piece.is_empty();
                    budget.append(text, &piece);
                }
                None => self.extra.set(name, value, budget),
            }
        }
        spoke
    }

    fn take_tools(&mut self, delta: &Delta<'_>, budget: &mut Budget) -> bool {
        let mut calls = 0;
        if let Some(list) = delta.tool_calls {
            json::items(list, |call| {
                tool::take(&mut self.tools, call, budget);
                calls += 1;
            });
        }
        if let Some(function) = delta.function_call {
            tool::take_single(&mut self.tools, function, budget);
            calls += 1;
        }
        calls > 0
    }

    fn take_logprobs(&mut self, json: &RawValue, budget: &mut Budget) {
        let Ok(logprobs) = Logprobs::read(json.get()) else { return self.extra.set("logprobs", json, budget) };
        match logprobs.content {
            Some(content) if content.get().starts_with('[') => {
                if let Some(new) = json::inside_list(content) {
                    append_items(&mut self.logprobs, new, budget);
                }
            }
            Some(_) => self.extra.set("logprobs", json, budget),
            None => {}
        }
        self.extra.set_all(&logprobs.rest, budget);
    }
}

fn append_items(list: &mut String, new: &str, budget: &mut Budget) {
    if budget.take(new.len() + 1) {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(new);
    }
}

/// Members that have no meaning to us, as JSON that is kept as it came; the last value of a name.
#[derive(Debug, Default)]
pub(super) struct Extra(Vec<(String, String)>);

impl Extra {
    pub(super) fn set_all(&mut self, rest: &wire::Rest<'_>, budget: &mut Budget) {
        for (name, value) in rest {
            self.set(name, value, budget);
        }
    }

    pub(super) fn set(&mut self, name: &str, value: &RawValue, budget: &mut Budget) {
        let value = value.get();
        if let Some((_, old)) = self.0.iter_mut().find(|(have, _)| have == name) {
            if old != value && budget.exchange(old.len(), value.len()) {
                old.clear();
                old.push_str(value);
            }
        } else if self.0.len() < EXTRA_MAX && budget.take(name.len() + value.len()) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Names and values, each value the JSON of one.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().filter_map(|(name, value)| Some((name.as_str(), json::raw(value)?)))
    }
}
