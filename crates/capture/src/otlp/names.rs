//! What attributes mean: the one place that knows their names.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use onrecord_proof::{Field, Group, field};

use super::attributes::CONTENT;

/// The field that an attribute is recorded in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    /// As it is.
    Is(&'static Field),
    /// A time in seconds, in a field of microseconds.
    Seconds(&'static Field),
}

use Meaning::{Is, Seconds};

/// Attributes with a field. Of several for one field the first counts: the semantic conventions, then OpenInference, then
/// what OpenLLMetry used to write.
pub(super) const NAMES: &[(&str, Meaning)] = &[
    ("user.id", Is(&field::USER_ID)),
    ("enduser.id", Is(&field::USER_ID)),
    ("gen_ai.user", Is(&field::USER_ID)),
    ("llm.user", Is(&field::USER_ID)),
    ("gen_ai.operation.name", Is(&field::OPERATION)),
    ("llm.request.type", Is(&field::OPERATION)),
    ("gen_ai.conversation.id", Is(&field::SESSION)),
    ("session.id", Is(&field::SESSION)),
    ("traceloop.association.properties.session_id", Is(&field::SESSION)),
    ("gen_ai.agent.name", Is(&field::AGENT_NAME)),
    ("agent.name", Is(&field::AGENT_NAME)),
    ("server.address", Is(&field::SERVER_ADDRESS)),
    ("server.port", Is(&field::SERVER_PORT)),
    ("http.request.method", Is(&field::METHOD)),
    ("url.path", Is(&field::PATH)),
    ("gen_ai.provider.name", Is(&field::PROVIDER)),
    ("gen_ai.system", Is(&field::PROVIDER)),
    ("llm.provider", Is(&field::PROVIDER)),
    ("llm.system", Is(&field::PROVIDER)),
    ("gen_ai.request.model", Is(&field::REQUEST_MODEL)),
    ("llm.request.model_name", Is(&field::REQUEST_MODEL)),
    ("llm.request.model", Is(&field::REQUEST_MODEL)),
    ("llm.model_name", Is(&field::REQUEST_MODEL)),
    ("embedding.model_name", Is(&field::REQUEST_MODEL)),
    ("reranker.model_name", Is(&field::REQUEST_MODEL)),
    ("gen_ai.response.model", Is(&field::RESPONSE_MODEL)),
    ("llm.response.model_name", Is(&field::RESPONSE_MODEL)),
    ("llm.response.model", Is(&field::RESPONSE_MODEL)),
    ("openai.response.system_fingerprint", Is(&field::FINGERPRINT)),
    ("gen_ai.openai.response.system_fingerprint", Is(&field::FINGERPRINT)),
    ("gen_ai.openai.system_fingerprint", Is(&field::FINGERPRINT)),
    ("gen_ai.request.temperature", Is(&field::TEMPERATURE)),
    ("gen_ai.request.top_p", Is(&field::TOP_P)),
    ("gen_ai.request.top_k", Is(&field::TOP_K)),
    ("gen_ai.request.max_tokens", Is(&field::MAX_TOKENS)),
    ("gen_ai.request.choice.count", Is(&field::CHOICE_COUNT)),
    ("gen_ai.request.seed", Is(&field::SEED)),
    ("gen_ai.request.stop_sequences", Is(&field::STOP_SEQUENCES)),
    ("gen_ai.request.frequency_penalty", Is(&field::FREQUENCY_PENALTY)),
    ("gen_ai.request.presence_penalty", Is(&field::PRESENCE_PENALTY)),
    ("gen_ai.request.stream", Is(&field::STREAM)),
    ("gen_ai.is_streaming", Is(&field::STREAM)),
    ("llm.is_streaming", Is(&field::STREAM)),
    ("gen_ai.request.encoding_formats", Is(&field::ENCODING_FORMATS)),
    ("gen_ai.prompt.name", Is(&field::PROMPT_NAME)),
    ("gen_ai.prompt.version", Is(&field::PROMPT_VERSION)),
    ("gen_ai.tool.name", Is(&field::TOOL_NAME)),
    ("tool.name", Is(&field::TOOL_NAME)),
    ("gen_ai.input.messages", Is(&field::INPUT_MESSAGES)),
    ("gen_ai.system_instructions", Is(&field::SYSTEM_INSTRUCTIONS)),
    ("gen_ai.tool.call.arguments", Is(&field::TOOL_ARGUMENTS)),
    ("gen_ai.retrieval.query.text", Is(&field::RETRIEVAL_QUERY)),
    ("reranker.query", Is(&field::RETRIEVAL_QUERY)),
    ("input.value", Is(&field::INPUT_BODY)),
    ("traceloop.entity.input", Is(&field::INPUT_BODY)),
    ("input.mime_type", Is(&field::INPUT_CONTENT_TYPE)),
    ("gen_ai.output.messages", Is(&field::OUTPUT_MESSAGES)),
    ("gen_ai.tool.call.result", Is(&field::TOOL_RESULT)),
    ("gen_ai.retrieval.documents", Is(&field::DOCUMENTS)),
    ("output.value", Is(&field::OUTPUT_BODY)),
    ("traceloop.entity.output", Is(&field::OUTPUT_BODY)),
    ("output.mime_type", Is(&field::OUTPUT_CONTENT_TYPE)),
    ("gen_ai.usage.input_tokens", Is(&field::INPUT_TOKENS)),
    ("gen_ai.usage.prompt_tokens", Is(&field::INPUT_TOKENS)),
    ("llm.token_count.prompt", Is(&field::INPUT_TOKENS)),
    ("llm.usage.prompt_tokens", Is(&field::INPUT_TOKENS)),
    ("gen_ai.usage.output_tokens", Is(&field::OUTPUT_TOKENS)),
    ("gen_ai.usage.completion_tokens", Is(&field::OUTPUT_TOKENS)),
    ("llm.token_count.completion", Is(&field::OUTPUT_TOKENS)),
    ("llm.usage.completion_tokens", Is(&field::OUTPUT_TOKENS)),
    ("gen_ai.usage.cache_read.input_tokens", Is(&field::CACHED_TOKENS)),
    ("gen_ai.usage.cache_read_input_tokens", Is(&field::CACHED_TOKENS)),
    ("llm.token_count.prompt_details.cache_read", Is(&field::CACHED_TOKENS)),
    ("gen_ai.usage.cache_creation.input_tokens", Is(&field::CACHE_WRITTEN_TOKENS)),
    ("gen_ai.usage.cache_write.input_tokens", Is(&field::CACHE_WRITTEN_TOKENS)),
    ("gen_ai.usage.cache_creation_input_tokens", Is(&field::CACHE_WRITTEN_TOKENS)),
    ("llm.token_count.prompt_details.cache_write", Is(&field::CACHE_WRITTEN_TOKENS)),
    ("gen_ai.usage.reasoning.output_tokens", Is(&field::REASONING_TOKENS)),
    ("gen_ai.usage.reasoning_tokens", Is(&field::REASONING_TOKENS)),
    ("llm.token_count.completion_details.reasoning", Is(&field::REASONING_TOKENS)),
    ("gen_ai.embeddings.dimension.count", Is(&field::EMBEDDING_DIMENSIONS)),
    ("gen_ai.response.time_to_first_chunk", Seconds(&field::FIRST_TOKEN)),
    ("gen_ai.response.finish_reasons", Is(&field::FINISH_REASONS)),
    ("llm.finish_reason", Is(&field::FINISH_REASONS)),
    ("llm.response.finish_reason", Is(&field::FINISH_REASONS)),
    ("gen_ai.response.id", Is(&field::RESPONSE_ID)),
    ("error.type", Is(&field::ERROR_TYPE)),
    ("http.response.status_code", Is(&field::STATUS)),
    ("onrecord.step", Is(&field::STEP)),
    ("onrecord.rerank.before", Is(&field::RERANK_BEFORE)),
    ("onrecord.rerank.after", Is(&field::RERANK_AFTER)),
    ("onrecord.guardrail.verdict", Is(&field::VERDICT)),
    ("gen_ai.evaluation.name", Is(&field::EVALUATION)),
    ("gen_ai.evaluation.score.value", Is(&field::SCORE)),
    ("gen_ai.evaluation.score.label", Is(&field::LABEL)),
    ("gen_ai.evaluation.explanation", Is(&field::EXPLANATION)),
];

/// Attributes of OpenInference whose text is the JSON of a call's parameters.
pub(super) const INVOCATIONS: [&str; 2] = ["llm.invocation_parameters", "embedding.invocation_parameters"];

/// The parameters among them that have a field; the model has one too, see [`SAID_OF_MODEL`].
pub(super) const PARAMETERS: &[(&str, &Field)] = &[
    ("temperature", &field::TEMPERATURE),
    ("top_p", &field::TOP_P),
    ("top_k", &field::TOP_K),
    ("max_tokens", &field::MAX_TOKENS),
    ("max_completion_tokens", &field::MAX_TOKENS),
    ("n", &field::CHOICE_COUNT),
    ("seed", &field::SEED),
    ("stop", &field::STOP_SEQUENCES),
    ("frequency_penalty", &field::FREQUENCY_PENALTY),
    ("presence_penalty", &field::PRESENCE_PENALTY),
    ("stream", &field::STREAM),
    ("encoding_format", &field::ENCODING_FORMATS),
];

/// Attributes of OpenInference that name the model that was asked for until an answer comes, and then the one that answered.
pub(super) const SAID_OF_MODEL: [&str; 2] = ["llm.model_name", "embedding.model_name"];

/// What OpenInference sends instead of what it was told to hide.
pub(super) const HIDDEN: &str = "__REDACTED__";

/// Groups by how the names of other attributes begin; the first that fits counts.
const GROUPS: &[(&str, Group)] = &[
    ("enduser.", Group::Who),
    ("user.", Group::Who),
    ("gen_ai.tool.call.result", Group::Output),
    ("gen_ai.tool.call.", Group::Input),
    ("gen_ai.prompt", Group::Input),
    ("gen_ai.completion", Group::Output),
    ("gen_ai.output.", Group::Output),
    ("gen_ai.input.", Group::Input),
    ("gen_ai.retrieval.documents", Group::Output),
    ("gen_ai.retrieval.", Group::Input),
    ("llm.input_messages", Group::Input),
    ("llm.prompts", Group::Input),
    ("llm.prompt_template.variables", Group::Input),
    ("llm.output_messages", Group::Output),
    ("llm.completions", Group::Output),
    ("llm.choices", Group::Output),
    ("input.", Group::Input),
    ("output.", Group::Output),
    ("document.", Group::Output),
    ("retrieval.documents", Group::Output),
    ("embedding.embeddings", Group::Input),
    ("embedding.invocation_parameters", Group::Config),
    ("reranker.input_documents", Group::Input),
    ("reranker.output_documents", Group::Output),
    ("tool.parameters", Group::Config),
    ("tool_call.", Group::Input),
    ("traceloop.entity.input", Group::Input),
    ("traceloop.entity.output", Group::Output),
    ("gen_ai.usage.", Group::Performance),
    ("llm.usage.", Group::Performance),
    ("llm.token_count.", Group::Performance),
    ("gen_ai.request.", Group::Config),
    ("gen_ai.tool.", Group::Config),
    ("llm.tools", Group::Config),
    ("llm.invocation_parameters", Group::Config),
    ("llm.prompt_template.", Group::Config),
    ("llm.request.", Group::Config),
    ("gen_ai.evaluation.", Group::Outcome),
    ("gen_ai.response.", Group::Outcome),
    ("exception.", Group::Outcome),
    ("error.", Group::Outcome),
];

/// The name under which an attribute without a field is kept. Those of our own fields are not free: whoever sends an
/// attribute of such a name must not be able to say what only the recorder knows, or to change a column's shape.
pub fn kept_as(name: &str) -> String {
    static OWN: LazyLock<HashSet<&str>> = LazyLock::new(|| field::ALL.iter().map(|field| field.name).collect());
    if name.starts_with("onrecord.") || OWN.contains(name) { format!("attribute.{name}") } else { name.to_owned() }
}

/// The place of a name in the table.
pub(super) fn place_of(name: &str) -> Option<usize> {
    static PLACES: LazyLock<HashMap<&str, usize>> =
        LazyLock::new(|| NAMES.iter().enumerate().map(|(place, (name, _))| (*name, place)).collect());
    PLACES.get(name).copied()
}

/// The group of an attribute that has no field.
pub(super) fn group_of(name: &str) -> Group {
    if name.starts_with("embedding.embeddings") && name.ends_with(".vector") {
        return Group::Output;
    }
    GROUPS.iter().find(|(begin, _)| name.starts_with(begin)).map_or(Group::Context, |(_, group)| *group)
}

/// True if an attribute says what was asked or answered. What such a text is written in says nothing of it.
pub(super) fn is_content(name: &str) -> bool {
    let listed = place_of(name).map(|place| match NAMES[place].1 {
        Is(field) | Seconds(field) => field.group,
    });
    let group = listed.unwrap_or_else(|| group_of(name));
    CONTENT.contains(&group) && !name.ends_with("mime_type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_once() {
        for (at, (name, _)) in NAMES.iter().enumerate() {
            assert!(NAMES[..at].iter().all(|(other, _)| other != name), "{name}");
        }
        for (at, (begin, _)) in GROUPS.iter().enumerate() {
            assert!(GROUPS[..at].iter().all(|(other, _)| !begin.starts_with(other)), "{begin} is never reached");
        }
    }

    #[test]
    fn names_of_our_own_are_not_free() {
        for (name, kept) in [
            ("app.release", "app.release"),
            ("onrecord.principal", "attribute.onrecord.principal"),
            ("onrecord.of.tomorrow", "attribute.onrecord.of.tomorrow"),
            ("trace_id", "attribute.trace_id"),
        ] {
            assert_eq!(kept_as(name), kept);
        }
    }

    #[test]
    fn what_is_content() {
        for name in
            ["gen_ai.input.messages", "input.value", "gen_ai.prompt.0.content", "llm.output_messages.0.message.role"]
        {
            assert!(is_content(name), "{name}");
        }
        for name in ["gen_ai.request.model", "input.mime_type", "gen_ai.usage.input_tokens", "app.release"] {
            assert!(!is_content(name), "{name}");
        }
    }
}
