//! Which wire dialect a call speaks, and what each of them brings.
//!
//! A dialect is one module with two things: a table of what the members of its requests mean ([`Asked`]), and a reader
//! of its answers ([`Wire`]). This is the one place that lists them.

use onrecord_proof::Record;

use crate::RequestFacts;
use crate::anthropic;
use crate::llamacpp::{completion, rerank, side};
use crate::lmstudio;
use crate::ollama;
use crate::openai::{chat, completions, embeddings, responses};
use crate::request::asked::Asked;
use crate::tgi;
use crate::wire::Wire;

/// The language that a client and a model server speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI chat completions, as OpenAI, llama.cpp, vLLM, Ollama, LM Studio and others serve them.
    OpenAiChat,
    /// OpenAI legacy completions, of the same servers.
    OpenAiCompletions,
    /// OpenAI responses.
    OpenAiResponses,
    /// OpenAI embeddings, and llama.cpp's own.
    OpenAiEmbeddings,
    /// Anthropic messages, as Anthropic, llama.cpp, vLLM, Ollama and others serve them.
    AnthropicMessages,
    /// Ollama's `/api/chat`.
    OllamaChat,
    /// Ollama's `/api/generate`.
    OllamaGenerate,
    /// Ollama's `/api/embed`, and the older `/api/embeddings`.
    OllamaEmbed,
    /// llama.cpp's own `/completion`, also mounted as `/completions`.
    LlamaCompletion,
    /// llama.cpp's `/infill`.
    LlamaInfill,
    /// llama.cpp's `/apply-template`.
    LlamaTemplate,
    /// llama.cpp's `/v1/chat/completions/control`, which alters a completion that is running.
    LlamaControl,
    /// Reranking, as llama.cpp and vLLM serve it.
    Rerank,
    /// `/tokenize` of llama.cpp, vLLM and Text Generation Inference.
    Tokenize,
    /// `/detokenize` of llama.cpp and vLLM.
    Detokenize,
    /// `/generate` of Text Generation Inference.
    TgiGenerate,
    /// `/generate_stream` of Text Generation Inference.
    TgiGenerateStream,
    /// LM Studio's `/api/v1/chat`. Its `/api/v0` speaks OpenAI's dialects.
    LmStudioChat,
    /// Anything else: kept as it came, with sizes and digests.
    Unknown,
}

impl Dialect {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiResponses,
        Self::OpenAiEmbeddings,
        Self::AnthropicMessages,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::OllamaEmbed,
        Self::LlamaCompletion,
        Self::LlamaInfill,
        Self::LlamaTemplate,
        Self::LlamaControl,
        Self::Rerank,
        Self::Tokenize,
        Self::Detokenize,
        Self::TgiGenerate,
        Self::TgiGenerateStream,
        Self::LmStudioChat,
        Self::Unknown,
    ];

    /// The dialect of a request. `path` may have any prefix, as servers and proxies mount their APIs differently.
    pub fn of(method: &str, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        if method != "POST" {
            return Self::Unknown;
        }
        let ends = |end: &str| path.ends_with(end);
        match path {
            // Without a prefix llama.cpp answers these in its own way, and nobody else does.
            "/completions" => Self::LlamaCompletion,
            _ if ends("/completion") => Self::LlamaCompletion,
            _ if ends("/infill") => Self::LlamaInfill,
            _ if ends("/apply-template") => Self::LlamaTemplate,
            _ if ends("/chat/completions/control") => Self::LlamaControl,
            _ if ends("/rerank") || ends("/reranking") => Self::Rerank,
            _ if ends("/tokenize") => Self::Tokenize,
            _ if ends("/detokenize") => Self::Detokenize,
            _ if ends("/api/v1/chat") => Self::LmStudioChat,
            _ if ends("/api/chat") => Self::OllamaChat,
            _ if ends("/api/generate") => Self::OllamaGenerate,
            _ if ends("/api/embed") || ends("/api/embeddings") => Self::OllamaEmbed,
            _ if ends("/generate") => Self::TgiGenerate,
            _ if ends("/generate_stream") => Self::TgiGenerateStream,
            _ if ends("/chat/completions") => Self::OpenAiChat,
            _ if ends("/completions") => Self::OpenAiCompletions,
            _ if ends("/responses") => Self::OpenAiResponses,
            _ if ends("/embeddings") || ends("/embedding") => Self::OpenAiEmbeddings,
            _ if ends("/v1/messages") => Self::AnthropicMessages,
            _ => Self::Unknown,
        }
    }

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai.chat",
            Self::OpenAiCompletions => "openai.completions",
            Self::OpenAiResponses => "openai.responses",
            Self::OpenAiEmbeddings => "openai.embeddings",
            Self::AnthropicMessages => "anthropic.messages",
            Self::OllamaChat => "ollama.chat",
            Self::OllamaGenerate => "ollama.generate",
            Self::OllamaEmbed => "ollama.embed",
            Self::LlamaCompletion => "llamacpp.completion",
            Self::LlamaInfill => "llamacpp.infill",
            Self::LlamaTemplate => "llamacpp.apply_template",
            Self::LlamaControl => "llamacpp.control",
            Self::Rerank => "rerank",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
            Self::TgiGenerate => "tgi.generate",
            Self::TgiGenerateStream => "tgi.generate_stream",
            Self::LmStudioChat => "lmstudio.chat",
            Self::Unknown => "unknown",
        }
    }

    /// What is asked for in it, in the words of the OpenTelemetry GenAI semantic conventions where they have one.
    pub fn operation(self) -> Option<&'static str> {
        match self {
            Self::OpenAiChat
            | Self::OpenAiResponses
            | Self::AnthropicMessages
            | Self::OllamaChat
            | Self::LmStudioChat => Some("chat"),
            Self::OpenAiCompletions | Self::OllamaGenerate | Self::LlamaCompletion | Self::LlamaInfill => {
                Some("text_completion")
            }
            Self::OpenAiEmbeddings | Self::OllamaEmbed => Some("embeddings"),
            Self::TgiGenerate | Self::TgiGenerateStream => Some("text_completion"),
            Self::LlamaTemplate => Some("apply_template"),
            Self::LlamaControl => Some("control"),
            Self::Rerank => Some("rerank"),
            Self::Tokenize => Some("tokenize"),
            Self::Detokenize => Some("detokenize"),
            Self::Unknown => None,
        }
    }

    /// Records what a request says.
    pub(crate) fn request(self, json: &str, record: &mut Record) -> RequestFacts {
        self.asked().map_or_else(|| RequestFacts::of(json), |asked| asked.read(json, record))
    }

    /// What its requests say.
    fn asked(self) -> Option<&'static Asked> {
        match self {
            Self::OpenAiChat => Some(&chat::REQUEST),
            Self::OpenAiCompletions => Some(&completions::REQUEST),
            Self::OpenAiResponses => Some(&responses::REQUEST),
            Self::OpenAiEmbeddings => Some(&embeddings::REQUEST),
            Self::AnthropicMessages => Some(&anthropic::REQUEST),
            Self::OllamaChat => Some(&ollama::CHAT),
            Self::OllamaGenerate => Some(&ollama::GENERATE),
            Self::OllamaEmbed => Some(&ollama::EMBED),
            Self::LlamaCompletion => Some(&completion::REQUEST),
            Self::LlamaInfill => Some(&completion::INFILL),
            Self::LlamaTemplate => Some(&side::TEMPLATE),
            Self::LlamaControl => Some(&side::CONTROL),
            Self::Rerank => Some(&rerank::REQUEST),
            Self::Tokenize => Some(&side::TOKENIZE),
            Self::Detokenize => Some(&side::DETOKENIZE),
            Self::TgiGenerate => Some(&tgi::GENERATE),
            Self::TgiGenerateStream => Some(&tgi::STREAM),
            Self::LmStudioChat => Some(&lmstudio::REQUEST),
            Self::Unknown => None,
        }
    }

    /// The reader of its answers; `None` if the dialect is not known.
    pub(crate) fn wire(self) -> Option<Box<dyn Wire>> {
        match self {
            Self::OpenAiChat => Some(Box::new(chat::Chat)),
            Self::OpenAiCompletions => Some(Box::new(completions::Completions)),
            Self::OpenAiResponses => Some(Box::<responses::Responses>::default()),
            Self::OpenAiEmbeddings | Self::OllamaEmbed => Some(Box::new(embeddings::Embed)),
            Self::AnthropicMessages => Some(Box::new(anthropic::Messages)),
            Self::OllamaChat | Self::OllamaGenerate => Some(Box::new(ollama::Ollama)),
            Self::LlamaCompletion | Self::LlamaInfill => Some(Box::<completion::Native>::default()),
            Self::Rerank => Some(Box::new(rerank::Rerank)),
            Self::TgiGenerate | Self::TgiGenerateStream => Some(Box::new(tgi::Generate)),
            Self::LmStudioChat => Some(Box::<lmstudio::Chat>::default()),
            Self::LlamaTemplate | Self::LlamaControl | Self::Tokenize | Self::Detokenize => {
                Some(Box::new(side::SideCall))
            }
            Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of() {
        for (method, path, expect) in [
            ("POST", "/v1/chat/completions", Dialect::OpenAiChat),
            ("POST", "/openai/deployments/x/chat/completions?api-version=1", Dialect::OpenAiChat),
            ("POST", "//v1/chat/completions/", Dialect::OpenAiChat),
            ("POST", "/api/v0/chat/completions", Dialect::OpenAiChat),
            ("GET", "/v1/chat/completions", Dialect::Unknown),
            ("POST", "/v1/chat/completions/input_tokens", Dialect::Unknown),
            ("POST", "/v1/completions", Dialect::OpenAiCompletions),
            ("POST", "/openai/deployments/x/completions", Dialect::OpenAiCompletions),
            ("POST", "/api/v0/completions", Dialect::OpenAiCompletions),
            ("POST", "/v1/responses", Dialect::OpenAiResponses),
            ("POST", "/responses", Dialect::OpenAiResponses),
            ("GET", "/v1/responses/resp_1", Dialect::Unknown),
            ("POST", "/v1/responses/input_tokens", Dialect::Unknown),
            ("POST", "/v1/embeddings", Dialect::OpenAiEmbeddings),
            ("POST", "/embeddings", Dialect::OpenAiEmbeddings),
            ("POST", "/embedding", Dialect::OpenAiEmbeddings),
            ("POST", "/v1/messages", Dialect::AnthropicMessages),
            ("POST", "/v1/messages/count_tokens", Dialect::Unknown),
            ("POST", "/v1/threads/t/messages", Dialect::Unknown),
            ("POST", "/api/chat", Dialect::OllamaChat),
            ("POST", "/ollama/api/chat", Dialect::OllamaChat),
            ("POST", "/api/generate", Dialect::OllamaGenerate),
            ("POST", "/api/embed", Dialect::OllamaEmbed),
            ("POST", "/api/embeddings", Dialect::OllamaEmbed),
            ("POST", "/api/pull", Dialect::Unknown),
            ("POST", "/completion", Dialect::LlamaCompletion),
            ("POST", "/completions", Dialect::LlamaCompletion),
            ("POST", "/completions/", Dialect::LlamaCompletion),
            ("POST", "/llama/completion", Dialect::LlamaCompletion),
            ("POST", "/infill", Dialect::LlamaInfill),
            ("POST", "/apply-template", Dialect::LlamaTemplate),
            ("POST", "/v1/chat/completions/control", Dialect::LlamaControl),
            ("POST", "/rerank", Dialect::Rerank),
            ("POST", "/v1/rerank", Dialect::Rerank),
            ("POST", "/v1/reranking", Dialect::Rerank),
            ("POST", "/tokenize", Dialect::Tokenize),
            ("POST", "/detokenize", Dialect::Detokenize),
            ("POST", "/generate", Dialect::TgiGenerate),
            ("POST", "/generate_stream", Dialect::TgiGenerateStream),
            ("POST", "/api/v1/chat", Dialect::LmStudioChat),
            ("POST", "/api/v0/embeddings", Dialect::OpenAiEmbeddings),
            ("POST", "/x?/chat/completions", Dialect::Unknown),
            ("POST", "/xcompletions", Dialect::Unknown),
        ] {
            assert_eq!(Dialect::of(method, path), expect, "{method} {path}");
        }
    }
}
