//! Tool calls, put together from their fragments.

use super::wire::{Function, ToolCall};
use crate::budget::Budget;
use crate::json::{self, RawValue};

/// What one call costs beside its texts.
const COST: usize = 128;

/// One call of a tool.
#[derive(Debug, Default)]
pub(super) struct Tool {
    index: Option<i64>,
    pub(super) id: String,
    pub(super) name: String,
    /// JSON as it was accumulated, which a model may have left invalid.
    pub(super) arguments: String,
}

/// Takes one fragment.
pub(super) fn take(tools: &mut Vec<Tool>, json: &RawValue, budget: &mut Budget) {
    let Ok(call) = ToolCall::read(json.get()) else { return };
    let index = call.index.and_then(json::int);
    let id = call.id.and_then(json::non_empty).unwrap_or_default();
    let Some(tool) = find_or_add(tools, index, &id, budget) else { return };
    if tool.id.is_empty() {
        budget.append(&mut tool.id, &id);
    }
    if let Some(function) = call.function {
        take_function(tool, function, budget);
    }
}

/// Takes a fragment of `function_call`, which tool calls have replaced and older servers send.
pub(super) fn take_single(tools: &mut Vec<Tool>, function: &RawValue, budget: &mut Budget) {
    if let Some(tool) = find_or_add(tools, None, "", budget) {
        take_function(tool, function, budget);
    }
}

fn take_function(tool: &mut Tool, json: &RawValue, budget: &mut Budget) {
    let Ok(function) = Function::read(json.get()) else { return };
    // Some servers send the name with every fragment.
    if let Some(name) = function.name.and_then(json::text).filter(|name| *name != tool.name) {
        budget.append(&mut tool.name, &name);
    }
    if let Some(arguments) = function.arguments {
        // OpenAI sends a string of JSON, some servers the JSON itself.
        budget.append(&mut tool.arguments, &json::text(arguments).unwrap_or(arguments.get().into()));
    }
}

/// The call that a fragment belongs to: the one with its index, or without an index the last one. An id that is
/// another one begins another call, since some servers give each call index 0 or none at all.
fn find_or_add<'a>(
    tools: &'a mut Vec<Tool>,
    index: Option<i64>,
    id: &str,
    budget: &mut Budget,
) -> Option<&'a mut Tool> {
    let fits = |tool: &Tool| {
        (index.is_none() || tool.index == index) && (id.is_empty() || tool.id.is_empty() || tool.id == id)
    };
    let at = tools.iter().rposition(fits);
    if at.is_none() && budget.take(COST) {
        tools.push(Tool { index, ..Tool::default() });
        return tools.last_mut();
    }
    tools.get_mut(at?)
}
