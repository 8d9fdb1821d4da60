//! What a span is: the call of a model, or which kind of step.

use super::attributes::Attributes;

/// Operations of the semantic conventions that call a model.
const MODEL_CALLS: [&str; 6] = ["chat", "text_completion", "generate_content", "embeddings", "completion", "embedding"];

/// Kinds of steps, by what the attributes in [`KINDS`] say, that of OpenInference in capitals.
const STEPS: &[(&str, &str)] = &[
    ("retrieval", "retrieval"),
    ("RETRIEVER", "retrieval"),
    ("RERANKER", "rerank"),
    ("rerank", "rerank"),
    ("GUARDRAIL", "guardrail"),
    ("guardrail", "guardrail"),
    ("execute_tool", "tool"),
    ("TOOL", "tool"),
    ("tool", "tool"),
    ("PROMPT", "template"),
    ("tokenize", "tokenization"),
    ("EVALUATOR", "evaluation"),
    ("create_agent", "agent"),
    ("invoke_agent", "agent"),
    ("AGENT", "agent"),
    ("agent", "agent"),
    ("plan", "plan"),
    ("invoke_workflow", "chain"),
    ("CHAIN", "chain"),
    ("workflow", "chain"),
    ("task", "task"),
];

const KINDS: [&str; 4] =
    ["gen_ai.operation.name", "openinference.span.kind", "traceloop.span.kind", "llm.request.type"];

/// True if a span with these attributes is the call of a model.
pub(super) fn is_model_call(attributes: &Attributes<'_>) -> bool {
    let operation = attributes.text("gen_ai.operation.name").or_else(|| attributes.text("llm.request.type"));
    operation.is_some_and(|operation| MODEL_CALLS.contains(&operation))
        || attributes.text("openinference.span.kind").is_some_and(|kind| ["LLM", "EMBEDDING"].contains(&kind))
        || (operation.is_none() && attributes.has("gen_ai.request.model"))
}

/// True if a span with these attributes is the call of a model for embeddings.
pub(super) fn is_embedding(attributes: &Attributes<'_>) -> bool {
    operation(attributes).is_some_and(|operation| ["embeddings", "embedding"].contains(&operation))
}

/// What was asked of the model: as it is said, or as the kind of an OpenInference span implies.
pub(super) fn operation<'a>(attributes: &Attributes<'a>) -> Option<&'a str> {
    let said = attributes.text("gen_ai.operation.name").or_else(|| attributes.text("llm.request.type"));
    said.or_else(|| match attributes.text("openinference.span.kind")? {
        "EMBEDDING" => Some("embeddings"),
        "LLM" if attributes.have("llm.prompts.") => Some("text_completion"),
        "LLM" => Some("chat"),
        _ => None,
    })
}

/// Which kind of step a span with these attributes is: one of the table, what `onrecord.step` says, or `span`.
pub(super) fn of_step<'a>(attributes: &Attributes<'a>) -> &'a str {
    if let Some(own) = attributes.text("onrecord.step") {
        return own;
    }
    if is_model_call(attributes) {
        return "model_call";
    }
    let said = KINDS.iter().filter_map(|name| attributes.text(name));
    let known = said.filter_map(|kind| STEPS.iter().find(|(said, _)| *said == kind));
    known.map(|(_, step)| *step).next().unwrap_or("span")
}
