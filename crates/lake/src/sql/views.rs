//! The views: short, friendly names for what each kind of record has.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::schema::COLUMNS;
use crate::search;

/// The documentation of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDoc {
    /// The table or view.
    pub table: &'static str,
    /// The column.
    pub name: String,
    /// Its type, as `arrow_typeof` names it; of a view's column the expression that it stands for.
    pub definition: String,
    /// What it means, with its unit.
    pub doc: String,
}

pub(super) struct View {
    pub(super) name: &'static str,
    /// What it is read from, and which rows of that.
    from: &'static str,
    columns: &'static [(&'static str, &'static str, &'static str)],
}

pub(super) const VIEWS: [&View; 10] =
    [&INTERACTIONS, &TOKENS, &SESSIONS, &STEPS, &FEEDBACK, &ACCESSES, &DISPOSALS, &ALERTS, &EVENTS, &CONFIGS];

// Each column: its name, its expression over `records`, its meaning. Where the expression is a column alone and the
// meaning is left out, that column's applies.
const INTERACTIONS: View = View {
    name: "interactions",
    from: "records WHERE kind = 'interaction'",
    columns: &[
        ("time", "captured_at", "When the call began, by the recorder's clock."),
        ("committed_at", "committed_at", "When its record was committed, after its end, by the recorder's clock."),
        ("id", "id", ""),
        ("leaf_index", "leaf_index", ""),
        ("session", "gen_ai_conversation_id", ""),
        ("request_id", "onrecord_request_id", ""),
        ("tags", "onrecord_tags", ""),
        ("trace_id", "trace_id", ""),
        ("source", "onrecord_source", ""),
        ("principal", "onrecord_principal", ""),
        ("user_id", "user_id", ""),
        ("client_address", "client_address", ""),
        ("upstream", "onrecord_upstream", ""),
        ("operation", "gen_ai_operation_name", ""),
        ("provider", "gen_ai_provider_name", ""),
        ("model", "gen_ai_request_model", ""),
        ("response_model", "gen_ai_response_model", ""),
        ("temperature", "gen_ai_request_temperature", ""),
        ("top_p", "gen_ai_request_top_p", ""),
        ("max_tokens", "gen_ai_request_max_tokens", ""),
        ("seed", "gen_ai_request_seed", ""),
        ("stop_sequences", "gen_ai_request_stop_sequences", ""),
        ("used_temperature", "onrecord_sampling_temperature", ""),
        ("used_top_p", "onrecord_sampling_top_p", ""),
        ("used_top_k", "onrecord_sampling_top_k", ""),
        ("config_id", "refers_to(refs, 'config')", "Id of the record of the configuration in force; see `configs`."),
        ("prompt_template", "gen_ai_prompt_name", ""),
        ("prompt_version", "onrecord_prompt_version", ""),
        ("prompt_sha256", "onrecord_prompt_sha256", ""),
        ("plugins", "onrecord_plugins", ""),
        ("tools", "onrecord_tools", ""),
        ("mcp_servers", "onrecord_mcp_servers", ""),
        (
            "media",
            "body_text(onrecord_input_media)",
            "Images, audio and files of the request: JSON list of kind, media type, bytes, SHA-256 and where each stands.",
        ),
        ("stream", "gen_ai_request_stream", ""),
        ("outcome", "onrecord_outcome", ""),
        ("status", "http_response_status_code", ""),
        ("finish_reasons", "gen_ai_response_finish_reasons", ""),
        ("error_type", "error_type", ""),
        ("error_message", "onrecord_error_message", ""),
        ("input_tokens", "gen_ai_usage_input_tokens", ""),
        ("output_tokens", "gen_ai_usage_output_tokens", ""),
        ("duration_ms", "onrecord_duration_us / 1000.0", "From the request's head to the end of the answer, in ms."),
        ("first_token_ms", "onrecord_first_token_us / 1000.0", "To the first content of the answer, in ms."),
        ("first_byte_ms", "onrecord_first_byte_us / 1000.0", "To the head of the answer, in ms."),
        (
            "connect_ms",
            "onrecord_connect_us / 1000.0",
            "To a connection with the model server, in ms; 0 if one was open.",
        ),
        (
            "queue_ms",
            "onrecord_upstream_queue_us / 1000.0",
            "Waiting for its turn, as the model server reports it, in ms.",
        ),
        ("load_ms", "onrecord_upstream_load_us / 1000.0", "Loading the model, as the model server reports it, in ms."),
        (
            "prefill_ms",
            "onrecord_upstream_prefill_us / 1000.0",
            "Reading the prompt, as the model server reports it, in ms.",
        ),
        ("decode_ms", "onrecord_upstream_decode_us / 1000.0", "Generating, as the model server reports it, in ms."),
        (
            "upstream_ms",
            "onrecord_upstream_total_us / 1000.0",
            "All of the call, as the model server reports it, in ms.",
        ),
        (
            "interval_p50_ms",
            "onrecord_interval_p50_us / 1000.0",
            "Half of the pieces of content of a stream came within this time after the one before, in ms.",
        ),
        ("interval_p95_ms", "onrecord_interval_p95_us / 1000.0", "95 of 100 of them did, in ms."),
        ("interval_max_ms", "onrecord_interval_max_us / 1000.0", "The longest wait between two of them, in ms."),
        (
            "tokens_per_second",
            "coalesce(onrecord_upstream_tokens_per_second, onrecord_tokens_per_second)",
            "Output tokens a second: as the model server reports them, else as measured from first to last content.",
        ),
        ("calls_under_way", "onrecord_calls_under_way", ""),
        ("memory_peak", "onrecord_upstream_memory_peak", ""),
        ("memory_cgroup_peak", "onrecord_upstream_memory_cgroup_peak", ""),
        ("memory_gpu_peak", "onrecord_upstream_memory_gpu_peak", ""),
        ("vram", "onrecord_upstream_vram", ""),
        ("kv_cache", "onrecord_upstream_kv_cache", ""),
        ("upstream_running", "onrecord_upstream_running", ""),
        ("upstream_waiting", "onrecord_upstream_waiting", ""),
        ("decisions", "onrecord_decisions_count", ""),
        ("decisions_source", "onrecord_decisions_source", ""),
        ("mean_entropy", "onrecord_decisions_entropy_mean", ""),
        ("max_entropy", "onrecord_decisions_entropy_max", ""),
        ("min_margin", "onrecord_decisions_margin_min", ""),
        ("perplexity", "onrecord_decisions_perplexity", ""),
        ("cached_tokens", "gen_ai_usage_cache_read_input_tokens", ""),
        ("reasoning_tokens", "gen_ai_usage_reasoning_output_tokens", ""),
        ("method", "http_request_method", ""),
        ("path", "url_path", ""),
        ("prompt", "onrecord_input_text", ""),
        ("answer", "onrecord_output_text", ""),
        ("input", "body_text(onrecord_input_body)", "The request body as text; what is not UTF-8 is replaced."),
        (
            "rendered_prompt",
            "body_text(onrecord_prompt_rendered)",
            "What the model read, where its server told it with the answer; else see the step `prompt` of the call.",
        ),
        ("prompt_token_ids", "body_text(onrecord_prompt_token_ids)", "The numbers of its tokens, likewise: JSON list."),
        (
            "output",
            "coalesce(body_text(onrecord_output_body), body_text(gen_ai_output_messages))",
            "The response body as text, or the messages that a stream added up to.",
        ),
        ("input_size", "http_request_body_size", ""),
        ("output_size", "http_response_body_size", ""),
    ],
};

const TOKENS: View = View {
    name: "tokens",
    from: "(SELECT captured_at, id AS call_id, leaf_index AS call_leaf_index, gen_ai_conversation_id, \
           coalesce(gen_ai_response_model, gen_ai_request_model) AS model, \
           unnest(token_decisions(onrecord_dialect, body(onrecord_decisions_logprobs), body(onrecord_decisions_times), \
           body(onrecord_output_body), onrecord_output_content_encoding, body(gen_ai_output_messages))) AS token \
           FROM records WHERE kind = 'interaction' \
           AND (onrecord_decisions_count IS NOT NULL OR onrecord_decisions_times IS NOT NULL))",
    columns: &[
        ("time", "captured_at", "When the call began, by the recorder's clock."),
        ("interaction_id", "call_id", "Id of the call."),
        ("leaf_index", "call_leaf_index", "Leaf index of the call."),
        ("session", "gen_ai_conversation_id", ""),
        ("model", "model", "The model that answered."),
        ("choice", "token['choice']", "Which answer of the call, counted from 0."),
        ("position", "token['position']", "Which token of the answer, counted from 0."),
        ("token_id", "token['id']", "Its number in the model's vocabulary, where the server tells it."),
        ("text", "token['text']", "Its text as the server tells it."),
        ("bytes", "token['bytes']", "Its bytes, which need not be whole characters."),
        ("logprob", "token['logprob']", "Natural logarithm of its probability."),
        ("probability", "exp(token['logprob'])", "Its probability, from 0 to 1."),
        (
            "entropy",
            "token['entropy']",
            "Entropy of the decision in nats, over the alternatives and the rest of the vocabulary as one: a lower bound.",
        ),
        ("margin", "token['margin']", "Probability of the likeliest token less that of the second one, from 0 to 1."),
        ("after_ms", "token['time_us'] / 1000.0", "When it came, in ms after the request's head; of streams only."),
        ("alternatives", "token['alternatives']", "The likeliest tokens: a list of `id`, `text` and `logprob`."),
    ],
};

const SESSIONS: View = View {
    name: "sessions",
    from: "records WHERE gen_ai_conversation_id IS NOT NULL AND kind IN ('interaction', 'step', 'feedback') \
           GROUP BY gen_ai_conversation_id",
    columns: &[
        ("session", "gen_ai_conversation_id", ""),
        ("began", "min(captured_at)", "When its first record began."),
        ("last", "max(captured_at)", "When its last record began."),
        ("calls", "count(*) FILTER (WHERE kind = 'interaction')", "Calls of a model."),
        ("steps", "count(*) FILTER (WHERE kind = 'step')", "Steps before, around and after them."),
        ("feedback", "count(*) FILTER (WHERE kind = 'feedback')", "Judgements of it and of its answers."),
        (
            "errors",
            "count(*) FILTER (WHERE kind = 'interaction' AND (error_type IS NOT NULL OR onrecord_outcome <> 'completed'))",
            "Calls that ended with an error, or did not end by themselves.",
        ),
        (
            "models",
            "array_agg(DISTINCT gen_ai_request_model) FILTER (WHERE gen_ai_request_model IS NOT NULL)",
            "The models that were asked.",
        ),
        ("user_id", "max(user_id)", "The end user; of several the last one by name."),
        (
            "input_tokens",
            "sum(gen_ai_usage_input_tokens) FILTER (WHERE kind = 'interaction')",
            "Tokens read, as the servers count them.",
        ),
        (
            "output_tokens",
            "sum(gen_ai_usage_output_tokens) FILTER (WHERE kind = 'interaction')",
            "Tokens written, as the servers count them.",
        ),
        (
            "duration_ms",
            "sum(onrecord_duration_us) FILTER (WHERE kind = 'interaction') / 1000.0",
            "Time in calls, in ms.",
        ),
        (
            "mean_score",
            "avg(gen_ai_evaluation_score_value) FILTER (WHERE kind = 'feedback')",
            "Mean score of the judgements.",
        ),
    ],
};

const STEPS: View = View {
    name: "steps",
    from: "records WHERE kind = 'step'",
    columns: &[
        ("time", "captured_at", "When the step began, by the clock of who sent it."),
        ("committed_at", "committed_at", "When its record was committed, after it was sent, by the recorder's clock."),
        ("id", "id", ""),
        ("leaf_index", "leaf_index", ""),
        ("step", "onrecord_step", ""),
        ("name", "onrecord_span_name", ""),
        ("service", "service_name", ""),
        ("source", "onrecord_source", ""),
        ("trace_id", "trace_id", ""),
        ("span_id", "span_id", ""),
        ("parent_span_id", "parent_span_id", ""),
        ("session", "gen_ai_conversation_id", ""),
        (
            "interaction_id",
            "onrecord_subject",
            "Id of the call that the step is around or a part of, where that is known.",
        ),
        ("model", "coalesce(gen_ai_response_model, gen_ai_request_model)", "The model that was used, if one was."),
        ("tool", "gen_ai_tool_name", ""),
        ("agent", "gen_ai_agent_name", ""),
        ("query", "gen_ai_retrieval_query_text", ""),
        ("documents", "body_text(gen_ai_retrieval_documents)", "Documents that were found, with their scores: JSON."),
        ("rerank_before", "body_text(onrecord_rerank_before)", "The order before reranking: JSON."),
        ("rerank_after", "body_text(onrecord_rerank_after)", "The order after reranking: JSON."),
        ("verdict", "onrecord_guardrail_verdict", ""),
        (
            "rendered_prompt",
            "body_text(onrecord_prompt_rendered)",
            "What the model read: the messages put into the chat template.",
        ),
        ("prompt_token_ids", "body_text(onrecord_prompt_token_ids)", "The numbers of its tokens: JSON list."),
        (
            "input",
            "coalesce(body_text(gen_ai_input_messages), body_text(onrecord_input_body), body_text(gen_ai_tool_call_arguments))",
            "What the step was given.",
        ),
        (
            "output",
            "coalesce(body_text(gen_ai_output_messages), body_text(onrecord_output_body), body_text(gen_ai_tool_call_result))",
            "What came out of it.",
        ),
        ("input_tokens", "gen_ai_usage_input_tokens", ""),
        ("output_tokens", "gen_ai_usage_output_tokens", ""),
        ("duration_ms", "onrecord_duration_us / 1000.0", "How long it took, in ms."),
        ("outcome", "onrecord_outcome", ""),
        ("error_type", "error_type", ""),
        ("error_message", "onrecord_error_message", ""),
    ],
};

const FEEDBACK: View = View {
    name: "feedback",
    from: "records WHERE kind = 'feedback'",
    columns: &[
        ("time", "captured_at", "When it was given."),
        ("id", "id", ""),
        ("leaf_index", "leaf_index", ""),
        ("subject_id", "onrecord_subject", ""),
        ("session", "gen_ai_conversation_id", ""),
        ("trace_id", "trace_id", ""),
        ("parent_span_id", "parent_span_id", "The span that was judged."),
        (
            "response_id",
            "gen_ai_response_id",
            "The model server's id of the answer that was judged, if the judgement names it.",
        ),
        ("name", "gen_ai_evaluation_name", ""),
        ("score", "gen_ai_evaluation_score_value", ""),
        ("label", "gen_ai_evaluation_score_label", ""),
        ("comment", "gen_ai_evaluation_explanation", ""),
        ("user_id", "user_id", ""),
        ("principal", "onrecord_principal", ""),
        ("source", "onrecord_source", ""),
    ],
};

const ACCESSES: View = View {
    name: "accesses",
    from: "records WHERE kind = 'access'",
    columns: &[
        ("time", "captured_at", "When payload was read, by the recorder's clock."),
        ("id", "id", ""),
        ("leaf_index", "leaf_index", ""),
        ("principal", "onrecord_principal", ""),
        ("user_id", "user_id", "The name that a client of the PostgreSQL protocol gave itself."),
        ("client_address", "client_address", ""),
        ("event", "onrecord_event", ""),
        ("statement", "db_query_text", ""),
        ("purpose", "onrecord_purpose", ""),
        ("row_count", "onrecord_access_rows", ""),
        ("outcome", "onrecord_outcome", ""),
        ("error_message", "onrecord_error_message", ""),
    ],
};

const DISPOSALS: View = View {
    name: "disposals",
    from: "records WHERE kind = 'disposal'",
    columns: &[
        ("time", "captured_at", "When it was ordered, by the recorder's clock; what it is about goes after that."),
        ("id", "id", ""),
        ("leaf_index", "leaf_index", ""),
        ("event", "onrecord_event", "`erase` by hand, `retention` by the policy."),
        ("condition", "db_query_text", "Which records it was about when it was ordered."),
        ("record_count", "onrecord_disposal_records", ""),
        ("groups", "onrecord_disposal_groups", ""),
        ("reason", "onrecord_purpose", "Why, as the caller or the policy says."),
        ("requested_by", "onrecord_requested_by", ""),
        ("rule", "onrecord_retention_rule", ""),
        ("policy_sha256", "onrecord_policy_sha256", ""),
        ("principal", "onrecord_principal", ""),
        ("client_address", "client_address", ""),
    ],
};

const ALERTS: View = View {
    name: "alerts",
    from: "records WHERE kind = 'alert'",
    columns: &[
        ("time", "captured_at", "When it was raised, or found to be over."),
        ("id", "id", ""),
        ("leaf_index", "leaf_index", ""),
        ("event", "onrecord_event", "The rule that noticed it."),
        ("outcome", "onrecord_outcome", "`raised` when it began, `resolved` when it was over."),
        ("occurrence", "onrecord_request_id", "What was noticed: the same when it begins and when it is over."),
        ("note", "onrecord_output_text", "What the rule found, in words."),
        ("subject_id", "onrecord_subject", "Id of the record that it is about."),
        ("session", "gen_ai_conversation_id", ""),
        ("model", "coalesce(gen_ai_response_model, gen_ai_request_model)", "The model that it is about."),
        ("upstream", "onrecord_upstream", ""),
        ("score", "gen_ai_evaluation_score_value", "The value that raised it, where there is one."),
        ("principal", "onrecord_principal", ""),
        ("source", "onrecord_source", ""),
    ],
};

const EVENTS: View = View {
    name: "events",
    from: "records WHERE kind IN ('system', 'gap', 'heartbeat', 'disposal', 'alert', 'config')",
    columns: &[
        ("time", "captured_at", "When it happened, by the recorder's clock."),
        ("id", "id", ""),
        ("leaf_index", "leaf_index", ""),
        ("kind", "kind", ""),
        ("event", "onrecord_event", ""),
        ("note", "onrecord_note", ""),
        ("principal", "onrecord_principal", ""),
        ("purpose", "onrecord_purpose", ""),
        ("version", "service_version", ""),
        ("outcome", "onrecord_outcome", ""),
        ("error_message", "onrecord_error_message", ""),
        ("gap_calls", "onrecord_gap_calls", ""),
        ("gap_from", "to_timestamp_micros(onrecord_gap_from)", "When the first unrecorded call began."),
        ("gap_until", "to_timestamp_micros(onrecord_gap_until)", "When the last unrecorded call began."),
    ],
};

const CONFIGS: View = View {
    name: "configs",
    from: "records WHERE kind = 'config'",
    columns: &[
        ("time", "captured_at", "When the configuration was first seen, by the recorder's clock."),
        ("id", "id", ""),
        ("leaf_index", "leaf_index", ""),
        ("upstream", "onrecord_upstream", ""),
        ("server", "gen_ai_provider_name", ""),
        ("server_build", "onrecord_server_build", ""),
        ("model", "onrecord_model_name", ""),
        ("model_revision", "onrecord_model_revision", ""),
        ("model_path", "onrecord_model_path", ""),
        ("model_size", "onrecord_model_size", ""),
        ("model_sha256", "onrecord_model_sha256", ""),
        ("architecture", "onrecord_model_architecture", ""),
        ("parameters", "onrecord_model_parameters", ""),
        ("quantization", "onrecord_model_quantization", ""),
        ("context_length", "onrecord_model_context_length", ""),
        ("chat_template_sha256", "onrecord_chat_template_sha256", ""),
        ("chat_template", "onrecord_chat_template_text", ""),
        ("sampling", "body_text(onrecord_config_sampling)", "The model server's default sampling parameters: JSON."),
        ("adapters", "onrecord_adapters", ""),
        ("command", "onrecord_server_command", ""),
        ("event", "onrecord_event", "`taken` first, `changed`, or `completed` by the digest of the model's file."),
        ("drift", "onrecord_config_drift", ""),
        ("supersedes", "refers_to(refs, 'supersedes')", "Id of the configuration that was in force before."),
        ("deployment", "refers_to(refs, 'source')", "Id of the deployment that announced the change."),
    ],
};

impl View {
    /// The statement that creates it.
    pub(super) fn statement(&self) -> String {
        format!("CREATE VIEW {} AS SELECT {} FROM {}", self.name, self.list().trim_end_matches(", "), self.from)
    }

    /// Its columns, each with a comma behind it.
    fn list(&self) -> String {
        let mut columns = String::new();
        for (name, expression, _) in self.columns {
            let _ = write!(columns, "{expression} AS \"{name}\", ");
        }
        columns
    }

    /// Whether each of its rows is a record.
    fn is_of_records(&self) -> bool {
        self.columns.iter().any(|(name, expression, _)| (*name, *expression) == ("id", "id"))
    }

    fn docs(&self) -> impl Iterator<Item = ColumnDoc> + '_ {
        self.columns.iter().map(|(name, expression, doc)| ColumnDoc {
            table: self.name,
            name: (*name).to_owned(),
            definition: (*expression).to_owned(),
            doc: if doc.is_empty() { doc_of_column(expression) } else { (*doc).to_owned() },
        })
    }
}

/// The statement that gives the rows of a view of records, with `more` columns besides its own, over those of `records`.
pub(crate) fn rows_of_view(name: &str, more: &str) -> Result<String> {
    let view = VIEWS.iter().find(|view| view.name == name && view.is_of_records());
    let view = view.ok_or_else(|| {
        let views = VIEWS.iter().filter(|view| view.is_of_records()).map(|view| view.name).collect::<Vec<_>>();
        Error::Query(format!("there is no view {name:?} of single records; there are records, {}", views.join(", ")))
    })?;
    Ok(format!("SELECT {}{more} FROM {}", view.list(), view.from))
}

fn doc_of_column(name: &str) -> String {
    COLUMNS.iter().find(|column| column.field.name() == name).map(|column| column.doc.clone()).unwrap_or_default()
}

/// The columns of the table `records` and of every view, in order.
pub fn columns() -> Vec<ColumnDoc> {
    let records = COLUMNS.iter().map(|column| ColumnDoc {
        table: "records",
        name: column.field.name().clone(),
        definition: column.field.data_type().to_string(),
        doc: column.doc.clone(),
    });
    let search = search::table::DOCS.iter().map(|(name, definition, doc)| ColumnDoc {
        table: "search('…')",
        name: (*name).to_owned(),
        definition: (*definition).to_owned(),
        doc: (*doc).to_owned(),
    });
    records.chain(VIEWS.iter().flat_map(|view| view.docs())).chain(search).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_column_is_documented() {
        for column in super::columns() {
            assert!(!column.doc.is_empty(), "{}.{}", column.table, column.name);
        }
    }
}
