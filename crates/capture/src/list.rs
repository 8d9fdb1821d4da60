//! Items of JSON that come bit by bit and are one list in the end: decisions, and the ids of tokens.

use crate::budget::Budget;
use crate::json::{self, RawValue};

/// The items, with commas between them.
#[derive(Debug, Default)]
pub(crate) struct List(String);

impl List {
    /// Appends the items of a list; false if it is none.
    pub(crate) fn extend(&mut self, list: &RawValue, budget: &mut Budget) -> bool {
        json::in_list(list, |items| {
            self.push(items, budget);
        })
    }

    /// Appends one item, or several with commas between them; false if they are not kept.
    pub(crate) fn push(&mut self, items: &str, budget: &mut Budget) -> bool {
        let fits = budget.take_tokens(items.len() + 1);
        if fits {
            if !self.0.is_empty() {
                self.0.push(',');
            }
            self.0.push_str(items);
        }
        fits
    }

    pub(crate) fn items(&self) -> &str {
        &self.0
    }

    /// The items, if all of them are integers.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        serde_json::from_str(&format!("[{}]", self.0)).unwrap_or_default()
    }
}
