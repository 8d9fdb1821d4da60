//! Which wire dialect a call speaks, and what each of them brings.
//!
//! A dialect is one module with two things: a table of what the members of its requests mean ([`Asked`]), and a reader
//! of its answers ([`Wire`]). This is the one place that lists them.

use onrecord_proof::Record;

use crate::llamacpp::{completion, rerank, side};
use crate::openai::{chat, completions, embeddings, responses};
use crate::request::asked::Asked;
use crate::wire::Wire;
use crate::{RequestFacts, anthropic, lmstudio, ollama, sglang, tgi};

/// The language that a client and a model server speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
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
    /// How many tokens a request would have: Anthropic's `/v1/messages/count_tokens`, OpenAI's `…/input_tokens`.
    CountTokens,
    /// `/generate` of Text Generation Inference, and its root.
    TgiGenerate,
    /// `/generate_stream` of Text Generation Inference.
    TgiGenerateStream,
    /// `/generate` of SGLang, at the same path as that of Text Generation Inference.
    SglangGenerate,
    /// LM Studio's `/api/v1/chat`. Its `/api/v0` speaks OpenAI's dialects.
    LmStudioChat,
    /// Anything else: kept as it came, with sizes and digests.
    #[default]
    Unknown,
}

/// The paths of requests. One with a star may have any prefix; the first that fits counts.
const PATHS: [(&str, Dialect); 26] = [
    ("*/chat/completions", Dialect::OpenAiChat),
    // Without a prefix llama.cpp answers this one in its own way, and nobody else has it there.
    ("/completions", Dialect::LlamaCompletion),
    ("*/completions", Dialect::OpenAiCompletions),
    ("*/responses", Dialect::OpenAiResponses),
    ("*/api/embed", Dialect::OllamaEmbed),
    ("*/api/embeddings", Dialect::OllamaEmbed),
    ("*/embeddings", Dialect::OpenAiEmbeddings),
    ("*/embedding", Dialect::OpenAiEmbeddings),
    ("*/v1/messages", Dialect::AnthropicMessages),
    ("*/api/chat", Dialect::OllamaChat),
    ("*/api/v1/chat", Dialect::LmStudioChat),
    ("*/api/generate", Dialect::OllamaGenerate),
    ("*/generate", Dialect::TgiGenerate),
    // The root, where `stream` says which of the two it is.
    ("", Dialect::TgiGenerate),
    ("*/generate_stream", Dialect::TgiGenerateStream),
    ("*/completion", Dialect::LlamaCompletion),
    ("*/infill", Dialect::LlamaInfill),
    ("*/apply-template", Dialect::LlamaTemplate),
    ("*/chat/completions/control", Dialect::LlamaControl),
    ("*/messages/count_tokens", Dialect::CountTokens),
    ("*/chat/completions/input_tokens", Dialect::CountTokens),
    ("*/responses/input_tokens", Dialect::CountTokens),
    ("*/rerank", Dialect::Rerank),
    ("*/reranking", Dialect::Rerank),
    ("*/tokenize", Dialect::Tokenize),
    ("*/detokenize", Dialect::Detokenize),
];

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
        Self::CountTokens,
        Self::TgiGenerate,
        Self::TgiGenerateStream,
        Self::SglangGenerate,
        Self::LmStudioChat,
        Self::Unknown,
    ];

    /// The dialect of a request. `path` may have any prefix, as servers and proxies mount their APIs differently.
    pub fn of(method: &str, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        let known = PATHS.iter().find(|(end, _)| path == *end || (end.starts_with('*') && path.ends_with(&end[1..])));
        known.filter(|_| method == "POST").map_or(Self::Unknown, |(_, dialect)| *dialect)
    }

    /// The dialect that is spoken where two have the same path, by the body of a request.
    #[must_use]
    pub fn spoken(self, json: &str) -> Self {
        if self == Self::TgiGenerate && sglang::is_request(json) { Self::SglangGenerate } else { self }
    }

    /// Its name in records.
    pub fn name(self) -> &'static str {
        self.traits().map_or("unknown", |traits| traits.name)
    }

    /// What is asked for in it, in the words of the OpenTelemetry GenAI semantic conventions where they have one.
    pub fn operation(self) -> Option<&'static str> {
        self.traits().map(|traits| traits.operation)
    }

    /// Records what a request says.
    pub(crate) fn request(self, json: &str, record: &mut Record) -> RequestFacts {
        self.traits().map_or_else(|| RequestFacts::of(json), |traits| traits.asked.read(json, record))
    }

    /// The reader of its answers; `None` if the dialect is not known.
    pub(crate) fn wire(self) -> Option<Box<dyn Wire>> {
        self.traits().map(|traits| (traits.wire)())
    }

    /// What there is to know of it; `None` if it is not known.
    fn traits(self) -> Option<Traits> {
        let embed = || boxed(embeddings::Embed);
        let native = || boxed(completion::Native::default());
        let side = || boxed(side::SideCall);
        let tgi = || boxed(tgi::Generate);
        Some(match self {
            Self::OpenAiChat => Traits::new("openai.chat", "chat", &chat::REQUEST, || boxed(chat::Chat)),
            Self::OpenAiCompletions => {
                Traits::new("openai.completions", "text_completion", &completions::REQUEST, || {
                    boxed(completions::Completions)
                })
            }
            Self::OpenAiResponses => {
                Traits::new("openai.responses", "chat", &responses::REQUEST, || boxed(responses::Responses::default()))
            }
            Self::OpenAiEmbeddings => Traits::new("openai.embeddings", "embeddings", &embeddings::REQUEST, embed),
            Self::AnthropicMessages => {
                Traits::new("anthropic.messages", "chat", &anthropic::REQUEST, || boxed(anthropic::Messages))
            }
            Self::OllamaChat => Traits::new("ollama.chat", "chat", &ollama::CHAT, || boxed(ollama::Ollama)),
            Self::OllamaGenerate => {
                Traits::new("ollama.generate", "text_completion", &ollama::GENERATE, || boxed(ollama::Ollama))
            }
            Self::OllamaEmbed => Traits::new("ollama.embed", "embeddings", &ollama::EMBED, embed),
            Self::LlamaCompletion => {
                Traits::new("llamacpp.completion", "text_completion", &completion::REQUEST, native)
            }
            Self::LlamaInfill => Traits::new("llamacpp.infill", "text_completion", &completion::INFILL, native),
            Self::LlamaTemplate => Traits::new("llamacpp.apply_template", "apply_template", &side::TEMPLATE, side),
            Self::LlamaControl => Traits::new("llamacpp.control", "control", &side::CONTROL, side),
            Self::Rerank => Traits::new("rerank", "rerank", &rerank::REQUEST, || boxed(rerank::Rerank)),
            Self::Tokenize => Traits::new("tokenize", "tokenize", &side::TOKENIZE, side),
            Self::Detokenize => Traits::new("detokenize", "detokenize", &side::DETOKENIZE, side),
            Self::CountTokens => Traits::new("count_tokens", "count_tokens", &side::COUNT, side),
            Self::TgiGenerate => Traits::new("tgi.generate", "text_completion", &tgi::GENERATE, tgi),
            Self::TgiGenerateStream => Traits::new("tgi.generate_stream", "text_completion", &tgi::STREAM, tgi),
            Self::SglangGenerate => Traits::new("sglang.generate", "text_completion", &sglang::REQUEST, || {
                boxed(sglang::Generate::default())
            }),
            Self::LmStudioChat => {
                Traits::new("lmstudio.chat", "chat", &lmstudio::REQUEST, || boxed(lmstudio::Chat::default()))
            }
            Self::Unknown => return None,
        })
    }
}

/// What there is to know of a dialect.
struct Traits {
    name: &'static str,
    operation: &'static str,
    /// What its requests say.
    asked: &'static Asked,
    /// Makes a reader of its answers.
    wire: fn() -> Box<dyn Wire>,
}

impl Traits {
    const fn new(
        name: &'static str,
        operation: &'static str,
        asked: &'static Asked,
        wire: fn() -> Box<dyn Wire>,
    ) -> Self {
        Self { name, operation, asked, wire }
    }
}

fn boxed(wire: impl Wire + 'static) -> Box<dyn Wire> {
    Box::new(wire)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_dialect_has_a_name_and_a_path() {
        let names: BTreeSet<_> = Dialect::ALL.iter().map(|dialect| dialect.name()).collect();
        assert_eq!(names.len(), Dialect::ALL.len());
        // What has the path of another dialect is told by the body.
        let by_body = [Dialect::Unknown, Dialect::SglangGenerate];
        for dialect in Dialect::ALL.iter().filter(|dialect| !by_body.contains(dialect)) {
            assert!(PATHS.iter().any(|(_, known)| known == dialect) && dialect.operation().is_some(), "{dialect:?}");
        }
        assert!(PATHS.iter().all(|(_, dialect)| Dialect::ALL.contains(dialect)));
    }

    #[test]
    fn two_servers_have_a_path_in_common() {
        for (body, expect) in [
            (r#"{"inputs":"a"}"#, Dialect::TgiGenerate),
            (r#"{"text":"a"}"#, Dialect::SglangGenerate),
            (r#"{"stream":true,"input_ids":[1,2]}"#, Dialect::SglangGenerate),
            (r#"{"input_embeds":[[0.5]]}"#, Dialect::SglangGenerate),
            (r#"{"text":"a","inputs":"a"}"#, Dialect::TgiGenerate),
            (r#"{"prompt":"a"}"#, Dialect::TgiGenerate),
            (r#"{"text":"cut off in the m"#, Dialect::TgiGenerate),
            (r#"{"text":"a","image_data":"cut off in the m"#, Dialect::SglangGenerate),
            ("text", Dialect::TgiGenerate),
        ] {
            assert_eq!(Dialect::TgiGenerate.spoken(body), expect, "{body}");
            assert_eq!(Dialect::OllamaGenerate.spoken(body), Dialect::OllamaGenerate);
        }
    }

    #[test]
    fn of() {
        for (method, path, expect) in [
            ("POST", "/v1/chat/completions", Dialect::OpenAiChat),
            ("POST", "/openai/deployments/x/chat/completions?api-version=1", Dialect::OpenAiChat),
            ("POST", "//v1/chat/completions/", Dialect::OpenAiChat),
            ("POST", "/api/v0/chat/completions", Dialect::OpenAiChat),
            ("GET", "/v1/chat/completions", Dialect::Unknown),
            ("POST", "/v1/chat/completions/input_tokens", Dialect::CountTokens),
            ("POST", "/v1/completions", Dialect::OpenAiCompletions),
            ("POST", "/openai/deployments/x/completions", Dialect::OpenAiCompletions),
            ("POST", "/api/v0/completions", Dialect::OpenAiCompletions),
            ("POST", "/v1/responses", Dialect::OpenAiResponses),
            ("POST", "/responses", Dialect::OpenAiResponses),
            ("GET", "/v1/responses/resp_1", Dialect::Unknown),
            ("POST", "/v1/responses/input_tokens", Dialect::CountTokens),
            ("POST", "/v1/embeddings", Dialect::OpenAiEmbeddings),
            ("POST", "/embeddings", Dialect::OpenAiEmbeddings),
            ("POST", "/embedding", Dialect::OpenAiEmbeddings),
            ("POST", "/v1/messages", Dialect::AnthropicMessages),
            ("POST", "/v1/messages/count_tokens", Dialect::CountTokens),
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
            ("POST", "/", Dialect::TgiGenerate),
            ("GET", "/", Dialect::Unknown),
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
