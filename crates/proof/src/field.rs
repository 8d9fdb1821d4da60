//! The fields that this program knows: the group each belongs to, its shape, its meaning and its unit.
//!
//! Names follow the OpenTelemetry GenAI semantic conventions where they have one. A field that is not listed here is
//! stored all the same, under its name in its group; a listed one has a typed column of its own in the lake.

use crate::group::Group;

/// What values a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// UTF-8 text.
    Text,
    /// A 64-bit integer.
    Int,
    /// A double.
    Float,
    /// True or false.
    Bool,
    /// A short byte string such as a digest.
    Bytes,
    /// A body: bytes as they were sent, often JSON.
    Body,
    /// A list of texts.
    TextList,
    /// Names and texts.
    TextMap,
}

/// The definition of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The group it is committed to, revealed and erased with.
    pub group: Group,
    /// Its name in the record.
    pub name: &'static str,
    /// What values it takes.
    pub shape: Shape,
    /// What it means, with its unit.
    pub doc: &'static str,
}

impl Field {
    /// The name of its column: the field's name with `_` for `.`.
    pub fn column(&self) -> String {
        self.name.replace('.', "_")
    }

    /// The field that is kept in the column of that name.
    pub fn of_column(column: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|field| field.column() == column)
    }
}

macro_rules! fields {
    ($($group:ident { $($id:ident $name:literal $shape:ident $doc:literal;)* })*) => {
        $($(#[doc = $doc] pub const $id: Field =
            Field { group: Group::$group, name: $name, shape: Shape::$shape, doc: $doc };)*)*

        /// Every field, by group.
        pub const ALL: &[&Field] = &[$($(&$id),*),*];
    };
}

fields! {
    Who {
        PRINCIPAL "onrecord.principal" Text "Name of the access token that was presented, `anonymous` without one.";
        USER_ID "user.id" Text "The end user, as the application names them.";
        CLIENT_ADDRESS "client.address" Text "Address of the client.";
        USER_AGENT "user_agent.original" Text "The client's `User-Agent`.";
        REQUESTED_BY "onrecord.requested_by" Text "On whose behalf records were erased or held, as the caller says.";
    }
    Context {
        OPERATION "gen_ai.operation.name" Text "What was asked for: `chat`, `text_completion`, `embeddings`, …";
        SESSION "gen_ai.conversation.id" Text "The session or conversation.";
        REQUEST_ID "onrecord.request.id" Text "The caller's request id, or one that was generated.";
        REQUEST_ATTEMPT "onrecord.request.attempt" Int "Which attempt at the same request this is, from 2; the first has none.";
        TAGS "onrecord.tags" TextMap "The caller's tags.";
        TRACE_ID "trace_id" Text "W3C trace id, 32 hexadecimal digits.";
        SPAN_ID "span_id" Text "The span of this record, 16 hexadecimal digits.";
        PARENT_SPAN_ID "parent_span_id" Text "The span that this one is part of, 16 hexadecimal digits.";
        METHOD "http.request.method" Text "HTTP method.";
        PATH "url.path" Text "Path of the request.";
        QUERY "url.query" Text "Query string of the request.";
        SOURCE "onrecord.source" Text "Where it came from, if not through the gateway: `otlp`, `api`, `embedded`.";
        STEP "onrecord.step" Text "What kind of step: `retrieval`, `rerank`, `guardrail`, `tool`, `template`, `tokenization`, `agent`, `chain`, …";
        SPAN_NAME "onrecord.span.name" Text "Name of the span.";
        SERVICE_NAME "service.name" Text "The application that a record came from.";
        AGENT_NAME "gen_ai.agent.name" Text "The agent that acted.";
        SUBJECT "onrecord.subject" Text "Id of the record that this feedback, or this alert, is about.";
        UPSTREAM "onrecord.upstream" Text "Name of the model server's entry in the configuration.";
        SERVER_ADDRESS "server.address" Text "Host of the model server.";
        SERVER_PORT "server.port" Int "Port of the model server.";
        DIALECT "onrecord.dialect" Text "The wire dialect, e.g. `openai.chat`; `unknown` for what was passed through.";
        EVENT "onrecord.event" Text "What happened, in `system`, `access` and `disposal` records; of an alert the rule.";
        STATEMENT "db.query.text" Text "The statement or command of an access; the condition of a disposal or a hold.";
        KEY_NEXT "onrecord.key.next" Text "Public key that signs the log from here on, in the record of a key rotation.";
        NOTE "onrecord.note" Text "What somebody says about an event, e.g. a deployment.";
        PURPOSE "onrecord.purpose" Text "Why payload was read, erased or held, as the caller says.";
        EXPORT_FILES "onrecord.export.files" Bytes "SHA-256 of the list of files of an export, as `sha256sum` prints it.";
        EXPORT_LEAVES "onrecord.export.leaves" Bytes "SHA-256 of the leaves whose records an export has rows of: index (8 bytes, big-endian) and hash of each.";
        DISPOSAL_GROUPS "onrecord.disposal.groups" TextList "The groups that a disposal erases.";
        DISPOSAL_RECORDS "onrecord.disposal.records" Int "How many records a disposal is about.";
        RETENTION_RULE "onrecord.retention.rule" Text "The retention rule that a disposal follows.";
        POLICY_SHA256 "onrecord.policy.sha256" Bytes "SHA-256 of the retention policy in force.";
        SERVICE_VERSION "service.version" Text "Version of this program.";
    }
    Config {
        PROVIDER "gen_ai.provider.name" Text "Kind of model server.";
        REQUEST_MODEL "gen_ai.request.model" Text "The model that was asked for.";
        RESPONSE_MODEL "gen_ai.response.model" Text "The model that answered, as the server names it.";
        FINGERPRINT "openai.response.system_fingerprint" Text "The server's `system_fingerprint`.";
        TEMPERATURE "gen_ai.request.temperature" Float "Sampling temperature asked for.";
        TOP_P "gen_ai.request.top_p" Float "Nucleus size asked for.";
        TOP_K "gen_ai.request.top_k" Float "Candidates kept, as asked for.";
        MAX_TOKENS "gen_ai.request.max_tokens" Int "Token limit asked for.";
        CHOICE_COUNT "gen_ai.request.choice.count" Int "Number of answers asked for.";
        SEED "gen_ai.request.seed" Int "Seed asked for.";
        STOP_SEQUENCES "gen_ai.request.stop_sequences" TextList "Stop strings asked for.";
        FREQUENCY_PENALTY "gen_ai.request.frequency_penalty" Float "Frequency penalty asked for.";
        PRESENCE_PENALTY "gen_ai.request.presence_penalty" Float "Presence penalty asked for.";
        STREAM "gen_ai.request.stream" Bool "True if a stream was asked for.";
        ENCODING_FORMATS "gen_ai.request.encoding_formats" TextList "Encodings of embedding vectors asked for.";
        TOOL_NAME "gen_ai.tool.name" Text "The tool that was used.";
        SAMPLING "onrecord.upstream.sampling" Body "Sampling parameters in force, as the model server reports them: JSON.";
        USED_TEMPERATURE "onrecord.sampling.temperature" Float "Sampling temperature in force: as reported, else as asked for, else the server's default.";
        USED_TOP_P "onrecord.sampling.top_p" Float "Nucleus size in force.";
        USED_TOP_K "onrecord.sampling.top_k" Float "Candidates kept, as in force.";
        USED_MIN_P "onrecord.sampling.min_p" Float "Least probability of a candidate, relative to the likeliest, as in force.";
        USED_REPEAT_PENALTY "onrecord.sampling.repeat_penalty" Float "Repetition penalty in force.";
        USED_FREQUENCY_PENALTY "onrecord.sampling.frequency_penalty" Float "Frequency penalty in force.";
        USED_PRESENCE_PENALTY "onrecord.sampling.presence_penalty" Float "Presence penalty in force.";
        CONFIG_SHA256 "onrecord.config.sha256" Bytes "Digest of a configuration, without that of the model's file.";
        DRIFT "onrecord.config.drift" Bool "True if a configuration changed and no deployment was announced.";
        MODEL "onrecord.model.name" Text "Name under which a model server offers a model.";
        MODEL_REVISION "onrecord.model.revision" Text "The model server's own digest or revision of the model.";
        MODEL_PATH "onrecord.model.path" Text "Where the model is, as the model server names it.";
        MODEL_SIZE "onrecord.model.size" Int "Bytes of the model's file.";
        MODEL_SHA256 "onrecord.model.sha256" Bytes "SHA-256 of the model's file.";
        ARCHITECTURE "onrecord.model.architecture" Text "Architecture of the model, e.g. `llama`.";
        PARAMETERS "onrecord.model.parameters" Int "Number of the model's parameters.";
        QUANTIZATION "onrecord.model.quantization" Text "How the model's weights are stored, e.g. `Q4_K_M`.";
        CONTEXT_LENGTH "onrecord.model.context_length" Int "Tokens of context that a call can use.";
        TEMPLATE_SHA256 "onrecord.chat_template.sha256" Bytes "SHA-256 of the model's chat template.";
        TEMPLATE_TEXT "onrecord.chat_template.text" Text "The model's chat template.";
        DEFAULT_SAMPLING "onrecord.config.sampling" Body "The model server's default sampling parameters: JSON.";
        ADAPTERS "onrecord.adapters" TextList "Adapters (LoRA): those of a configuration, or those that a call asked for.";
        SERVER_BUILD "onrecord.server.build" Text "Build or version of the model server.";
        SERVER_COMMAND "onrecord.server.command" TextList "How the model server was started, secrets masked.";
        PROMPT_NAME "gen_ai.prompt.name" Text "The application's prompt template.";
        PROMPT_VERSION "onrecord.prompt.version" Text "Its version.";
        PROMPT_SHA256 "onrecord.prompt.sha256" Bytes "SHA-256 of its text, as the application declares it or as it was registered.";
        PROMPT_VARIABLES "onrecord.prompt.variables" Body "What it was filled with: JSON as the application sent it.";
        PROMPT_TEXT "onrecord.prompt.text" Text "The text of a prompt template that was registered.";
        PLUGINS "onrecord.plugins" TextList "Plugins and extensions, as the application declares them.";
        TOOLS "onrecord.tools" TextMap "The tools that a call offers to the model: SHA-256 of each definition, by name.";
        MCP_SERVERS "onrecord.mcp_servers" TextMap "The MCP servers that a call brings in: URL by name.";
    }
    Input {
        INPUT_BODY "onrecord.input.body" Body "The request body, byte for byte, up to the capture limit.";
        INPUT_MESSAGES "gen_ai.input.messages" Body "Messages that a step or a call was given, as its span has them: JSON.";
        SYSTEM_INSTRUCTIONS "gen_ai.system_instructions" Body "Instructions beside the messages: JSON.";
        TOOL_ARGUMENTS "gen_ai.tool.call.arguments" Body "What a tool was given.";
        RETRIEVAL_QUERY "gen_ai.retrieval.query.text" Text "What was searched for.";
        RERANK_BEFORE "onrecord.rerank.before" Body "Documents in the order before reranking: JSON list.";
        RENDERED_PROMPT "onrecord.prompt.rendered" Body "What the model read: the messages put into the chat template.";
        PROMPT_TOKEN_IDS "onrecord.prompt.token_ids" Body "Numbers of the tokens that the model read: JSON list.";
        PROMPT_SOURCE "onrecord.prompt.source" Text "How these two are known: `reported` by the model server with its answer, or `reconstructed` by asking it for them afterwards.";
        INPUT_TEXT "onrecord.input.text" Text "Text of the last message of the input.";
        INPUT_MEDIA "onrecord.input.media" Body "Images, audio and files within the request body: JSON list of `kind`, `media_type`, `bytes`, `sha256` of what the base64 stands for, and `at`, the RFC 6901 pointer to it.";
        INPUT_SIZE "http.request.body.size" Int "Bytes of the request body.";
        INPUT_SHA256 "onrecord.input.sha256" Bytes "SHA-256 of the whole request body.";
        INPUT_CONTENT_TYPE "onrecord.input.content_type" Text "`Content-Type` of the request.";
        INPUT_ENCODING "onrecord.input.content_encoding" Text "`Content-Encoding` of the request, as stored.";
        INPUT_TRUNCATED "onrecord.input.truncated" Bool "True if only a prefix of the body is stored.";
    }
    Output {
        OUTPUT_BODY "onrecord.output.body" Body "The response body, byte for byte, up to the capture limit.";
        OUTPUT_MESSAGES "gen_ai.output.messages" Body "What a stream added up to: JSON list of messages with parts.";
        TOOL_RESULT "gen_ai.tool.call.result" Body "What a tool gave back.";
        DOCUMENTS "gen_ai.retrieval.documents" Body "Documents that were found, with their scores: JSON list.";
        RERANK_AFTER "onrecord.rerank.after" Body "Documents in the order after reranking: JSON list.";
        OUTPUT_TEXT "onrecord.output.text" Text "Text of the answer; of several choices one after the other.";
        OUTPUT_REASONING "onrecord.output.reasoning" Text "Reasoning that came before the answer.";
        OUTPUT_SIZE "http.response.body.size" Int "Bytes of the response body as it went over the wire.";
        OUTPUT_SHA256 "onrecord.output.sha256" Bytes "SHA-256 of the response body as it went over the wire.";
        OUTPUT_CONTENT_TYPE "onrecord.output.content_type" Text "`Content-Type` of the response.";
        OUTPUT_ENCODING "onrecord.output.content_encoding" Text "`Content-Encoding` of the response, as stored.";
        OUTPUT_TRUNCATED "onrecord.output.truncated" Bool "True if only a prefix of the body is stored.";
        OUTPUT_EVENTS "onrecord.output.events" Int "Events in the stream.";
        EMBEDDING_COUNT "onrecord.embeddings.count" Int "Embedding vectors in the answer.";
        EMBEDDING_DIMENSIONS "gen_ai.embeddings.dimension.count" Int "Numbers in each of them.";
    }
    Decisions {
        LOGPROBS "onrecord.decisions.logprobs" Body "Token decisions that no stored body has: JSON list as the server sent them; of several answers a list of lists.";
        TOKEN_TIMES "onrecord.decisions.times" Body "When the tokens of a stream came. For each answer in order: a count of bytes, then so many bytes of pairs, microseconds since the pair before (the first: since the request's head) and tokens (0: not told how many). All numbers are LEB128.";
        DECISIONS_SOURCE "onrecord.decisions.source" Text "Who asked for token decisions: `client`, `injected` (the gateway, which took them out of the answer again), or `refused` (the model server does not give them).";
        DECISION_COUNT "onrecord.decisions.count" Int "Tokens of the output whose decisions are known.";
        MEAN_ENTROPY "onrecord.decisions.entropy.mean" Float "Mean entropy of the decisions in nats, over the alternatives that the server told and the rest of the vocabulary as one: a lower bound.";
        MAX_ENTROPY "onrecord.decisions.entropy.max" Float "The largest of these entropies, in nats.";
        MIN_MARGIN "onrecord.decisions.margin.min" Float "Smallest difference between the probabilities of the two likeliest tokens, from 0 to 1.";
        LOGPROB_SUM "onrecord.decisions.logprob.sum" Float "Sum of the log-probabilities of the chosen tokens.";
        PERPLEXITY "onrecord.decisions.perplexity" Float "Perplexity of the output: e to the negated mean log-probability.";
    }
    Performance {
        INPUT_TOKENS "gen_ai.usage.input_tokens" Int "Tokens of the input, as the server counts them, cached ones included.";
        OUTPUT_TOKENS "gen_ai.usage.output_tokens" Int "Tokens of the output, as the server counts them.";
        CACHE_WRITTEN_TOKENS "gen_ai.usage.cache_creation.input_tokens" Int "Tokens of the input that were written to a cache.";
        CACHED_TOKENS "gen_ai.usage.cache_read.input_tokens" Int "Tokens of the input that were served from a cache.";
        REASONING_TOKENS "gen_ai.usage.reasoning.output_tokens" Int "Tokens spent on reasoning.";
        DURATION "onrecord.duration_us" Int "From the request's head to the end of the answer, in microseconds.";
        CONNECT "onrecord.connect_us" Int "To a connection with the model server, in microseconds; 0 if one was open.";
        FIRST_BYTE "onrecord.first_byte_us" Int "To the head of the answer, in microseconds.";
        FIRST_TOKEN "onrecord.first_token_us" Int "To the first content of the answer, in microseconds.";
        INTERVAL_P50 "onrecord.interval_p50_us" Int "Half of the pieces of content of a stream came within so many microseconds after the one before, to a sixteenth.";
        INTERVAL_P95 "onrecord.interval_p95_us" Int "95 of 100 of them did, in microseconds.";
        INTERVAL_MAX "onrecord.interval_max_us" Int "The longest wait between two pieces of content of a stream, in microseconds.";
        TOKENS_PER_SECOND "onrecord.tokens_per_second" Float "Output tokens a second, from the first content of a stream to the last.";
        CALLS_UNDER_WAY "onrecord.calls_under_way" Int "Other calls that were under way when this one began.";
        UPSTREAM_MEMORY "onrecord.upstream.memory.peak" Int "Most memory that the model server's processes on this machine had in RAM while the call was under way, in bytes, of samples every 100 ms.";
        UPSTREAM_CGROUP_MEMORY "onrecord.upstream.memory.cgroup_peak" Int "Most memory that the control group of the model server's process (cgroup v2) had meanwhile, in bytes, with cached pages and whatever else is in it.";
        UPSTREAM_GPU_MEMORY "onrecord.upstream.memory.gpu_peak" Int "Most memory that the model server's processes had on GPUs of this machine meanwhile, in bytes, as the NVIDIA driver tells (NVML) every 500 ms.";
        UPSTREAM_VRAM "onrecord.upstream.vram" Int "Most GPU memory that the model server's models took meanwhile, in bytes, as it tells itself.";
        UPSTREAM_KV_CACHE "onrecord.upstream.kv_cache" Float "The largest share of the model server's key-value cache that was in use meanwhile, from 0 to 1, as it tells itself every 2 s.";
        UPSTREAM_RUNNING "onrecord.upstream.running" Int "Most requests that the model server computed at once meanwhile, as it tells itself.";
        UPSTREAM_WAITING "onrecord.upstream.waiting" Int "Most requests that waited at the model server meanwhile, as it tells itself.";
        TIMINGS "onrecord.upstream.timings" Body "The model server's own timings: JSON as it sent them.";
        UPSTREAM_TOTAL "onrecord.upstream.total_us" Int "All of the call, as the model server reports it, in microseconds.";
        UPSTREAM_QUEUE "onrecord.upstream.queue_us" Int "Waiting for its turn, as the model server reports it, in microseconds.";
        UPSTREAM_LOAD "onrecord.upstream.load_us" Int "Loading the model, as the model server reports it, in microseconds.";
        UPSTREAM_PREFILL "onrecord.upstream.prefill_us" Int "Reading the prompt, as the model server reports it, in microseconds.";
        UPSTREAM_DECODE "onrecord.upstream.decode_us" Int "Generating, as the model server reports it, in microseconds.";
        UPSTREAM_FIRST_TOKEN "onrecord.upstream.first_token_us" Int "To the first token, as the model server reports it, in microseconds.";
        UPSTREAM_TOKENS_PER_SECOND "onrecord.upstream.tokens_per_second" Float "Output tokens a second, as the model server reports them or by its own time for generating.";
    }
    Outcome {
        OUTCOME "onrecord.outcome" Text "`completed`, `upstream_error`, `client_disconnected`, `interrupted` or `rejected`; of a step `completed` or `failed`, of an alert `raised` or `resolved`.";
        STATUS "http.response.status_code" Int "Status that the client got; of a cut-off call, the one it was going to get.";
        FINISH_REASONS "gen_ai.response.finish_reasons" TextList "Why each answer ended.";
        STOPPED_BY "onrecord.response.stop_sequences" TextList "The stop string that ended each answer, empty where none did.";
        STOP_REASONS "onrecord.response.stop_reasons" TextList "Why each answer ended, in the same words for all servers: `eos`, `stop` (a stop string), `eos_or_stop` (the server does not tell which), `limit`, `tool_call`, `filter`, `cancelled`, `error`; empty if it is not known.";
        RESPONSE_ID "gen_ai.response.id" Text "The model server's id of the answer.";
        ERROR_TYPE "error.type" Text "Kind of error.";
        ERROR_MESSAGE "onrecord.error.message" Text "The error in words.";
        ERROR_STAGE "onrecord.error.stage" Text "Where it arose: `client`, `gateway`, `connect`, `upstream`, `stream`.";
        CAPTURE "onrecord.capture" Text "`parsed`, `unparsed` or `passthrough`.";
        CAPTURE_PROBLEM "onrecord.capture.problem" Text "Why the answer could not be parsed.";
        VERDICT "onrecord.guardrail.verdict" Text "What a guardrail decided.";
        EVALUATION "gen_ai.evaluation.name" Text "What an answer was judged for.";
        SCORE "gen_ai.evaluation.score.value" Float "The judgement as a number.";
        LABEL "gen_ai.evaluation.score.label" Text "The judgement as a word.";
        EXPLANATION "gen_ai.evaluation.explanation" Text "Why it was judged so.";
        ACCESS_ROWS "onrecord.access.rows" Int "Rows that an access returned.";
        GAP_CALLS "onrecord.gap.calls" Int "Calls that went unrecorded.";
        GAP_FROM "onrecord.gap.from" Int "First of them, in microseconds since 1970-01-01 UTC.";
        GAP_UNTIL "onrecord.gap.until" Int "Last of them, in microseconds since 1970-01-01 UTC.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_columns_are_unique() {
        let names: BTreeSet<_> = ALL.iter().map(|f| f.name).collect();
        let columns: BTreeSet<_> = ALL.iter().map(|f| f.column()).collect();
        assert_eq!((names.len(), columns.len()), (ALL.len(), ALL.len()));
    }
}
