//! Which wire dialect a call speaks, and what each of them brings.
//!
//! A dialect is one module with three things: the fields of a request, of a whole answer, and a
//! [`StreamParser`]. This is the one place that lists them.

use onrecord_proof::Record;

use crate::openai::chat;
use crate::problem::Problem;
use crate::stream::StreamParser;
use crate::{Limits, RequestFacts};

/// The language that a client and a model server speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI chat completions, as OpenAI, llama.cpp, vLLM, Ollama, LM Studio and others serve them.
    OpenAiChat,
    /// Anything else: kept as it came, with sizes and digests.
    Unknown,
}

impl Dialect {
    /// The dialect of a request. `path` may have any prefix, as servers and proxies mount their APIs differently.
    pub fn of(method: &str, path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        if method == "POST" && path.ends_with("/chat/completions") { Self::OpenAiChat } else { Self::Unknown }
    }

    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai.chat",
            Self::Unknown => "unknown",
        }
    }

    /// What is asked for in it, in the words of the OpenTelemetry GenAI semantic conventions.
    pub fn operation(self) -> Option<&'static str> {
        match self {
            Self::OpenAiChat => Some("chat"),
            Self::Unknown => None,
        }
    }

    /// Records what a request says.
    pub(crate) fn request(self, json: &str, record: &mut Record) -> RequestFacts {
        match self {
            Self::OpenAiChat => chat::request(json, record),
            Self::Unknown => RequestFacts::of(json),
        }
    }

    /// Records what a whole answer says; `None` if the dialect is not known.
    pub(crate) fn whole(self, json: &str, record: &mut Record) -> Option<Result<(), Problem>> {
        match self {
            Self::OpenAiChat => Some(chat::whole(json, record)),
            Self::Unknown => None,
        }
    }

    /// The parser of an event stream; `None` if the dialect is not known.
    pub(crate) fn stream(self, limits: Limits) -> Option<Box<dyn StreamParser>> {
        match self {
            Self::OpenAiChat => Some(Box::new(chat::Stream::new(limits))),
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
            ("GET", "/v1/chat/completions", Dialect::Unknown),
            ("POST", "/v1/chat/completions/input_tokens", Dialect::Unknown),
            ("POST", "/v1/completions", Dialect::Unknown),
            ("POST", "/x?/chat/completions", Dialect::Unknown),
        ] {
            assert_eq!(Dialect::of(method, path), expect, "{method} {path}");
        }
    }
}
