//! What a model server says of itself: which server it is, what to ask it, and the configuration that its answers add up
//! to. Sans-I/O as well: a caller sends each [`Ask`] and hands the bodies back as they came.
//!
//! The way: [`Server::detect`] on the answers to [`Server::detection`], then [`Server::asks`] once, [`Server::more`] for
//! what depends on the first answers, [`Server::setups`] at the end. Each server is one module.

pub mod gguf;
mod llamacpp;
mod lmstudio;
mod load;
mod ollama;
mod openai;
mod prompt;
mod sampling;
mod secrets;
mod setup;
mod sglang;
#[cfg(test)]
mod tests;
mod tgi;
mod vllm;

pub use load::Load;
pub use prompt::Prompt;
pub use sampling::{Sampling, record_effective, tidy};
pub use setup::{FACTS, Setup};

use crate::json::{self, RawValue};

/// Models of one server that are looked at; the rest is looked at once somebody calls them.
pub const MODELS_MAX: usize = 32;

/// A kind of model server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// llama.cpp's `llama-server`, alone or as a router.
    LlamaCpp,
    /// Ollama.
    Ollama,
    /// LM Studio.
    LmStudio,
    /// Text Generation Inference.
    Tgi,
    /// SGLang.
    Sglang,
    /// vLLM.
    Vllm,
    /// Anything else that lists its models as OpenAI does.
    OpenAi,
}

/// A request of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Path and query.
    pub path: String,
    /// The JSON to post; without one it is a GET.
    pub body: Option<String>,
}

/// The body of a successful answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What was asked.
    pub ask: Ask,
    /// The answer.
    pub body: Vec<u8>,
}

/// What tells a server from others: the answer to a GET of this path has one of these members.
struct Sign {
    server: Server,
    path: &'static str,
    is_it: fn(&RawValue) -> bool,
}

/// In this order: the first three are answered by nobody else, and any server may answer the last.
const SIGNS: [Sign; 7] = [
    Sign { server: Server::LlamaCpp, path: "/props", is_it: |props| has(props, "default_generation_settings") },
    Sign { server: Server::Ollama, path: "/api/version", is_it: |version| has(version, "version") },
    Sign { server: Server::LmStudio, path: "/api/v0/models", is_it: |models| has(models, "data") },
    Sign { server: Server::Tgi, path: "/info", is_it: |info| has(info, "model_id") },
    Sign { server: Server::Sglang, path: "/get_model_info", is_it: |info| has(info, "model_path") },
    Sign { server: Server::Vllm, path: "/version", is_it: |version| has(version, "version") },
    Sign { server: Server::OpenAi, path: "/v1/models", is_it: |models| has(models, "data") },
];

impl Server {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::LlamaCpp, Self::Ollama, Self::LmStudio, Self::Tgi, Self::Sglang, Self::Vllm, Self::OpenAi];

    /// Its name in records and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "ollama",
            Self::LmStudio => "lmstudio",
            Self::Tgi => "tgi",
            Self::Sglang => "sglang",
            Self::Vllm => "vllm",
            Self::OpenAi => "openai",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|server| server.name() == name)
    }

    /// What to ask a server that is not known, one after the other, until [`detect`](Self::detect) recognizes it.
    pub fn detection() -> impl Iterator<Item = Ask> {
        SIGNS.iter().map(|sign| Ask::get(sign.path))
    }

    /// The server that gave this answer; `None` if anybody might have.
    pub fn detect(told: &Told) -> Option<Self> {
        let body = json::utf8(&told.body);
        let answer = json::parse(&body).ok()?;
        SIGNS.iter().find(|sign| told.ask == Ask::get(sign.path) && (sign.is_it)(answer)).map(|sign| sign.server)
    }

    /// What to ask first. Without an answer to the first of them it is another server, or none.
    pub fn asks(self) -> Vec<Ask> {
        let paths: &[&str] = match self {
            Self::LlamaCpp => &["/props", "/v1/models", "/lora-adapters"],
            Self::Ollama => &["/api/version", "/api/ps", "/api/tags"],
            Self::LmStudio => &["/api/v0/models"],
            Self::Tgi => &["/info"],
            Self::Sglang => &["/get_model_info", "/get_server_info", "/v1/models"],
            Self::Vllm => &["/version", "/v1/models"],
            Self::OpenAi => &["/v1/models"],
        };
        paths.iter().map(|path| Ask::get(*path)).collect()
    }

    /// What to ask once these answers are there. `called` are models that somebody has called.
    pub fn more(self, told: &[Told], called: &[String]) -> Vec<Ask> {
        match self {
            Self::LlamaCpp => llamacpp::more(told),
            Self::Ollama => ollama::more(told, called),
            _ => Vec::new(),
        }
    }

    /// The configurations that the answers add up to, one for each model that is loaded or was called. Keys of the server
    /// that stand in its answers are in none of them.
    pub fn setups(self, told: &[Told], called: &[String]) -> Vec<Setup> {
        let told: Vec<_> = told.iter().filter_map(secrets::without).collect();
        let mut setups = match self {
            Self::LlamaCpp => llamacpp::setups(&told),
            Self::Ollama => ollama::setups(&told, called),
            Self::LmStudio => lmstudio::setups(&told, called),
            Self::Tgi => tgi::setups(&told),
            Self::Sglang => sglang::setups(&told),
            Self::Vllm => vllm::setups(&told),
            Self::OpenAi => openai::setups(&told, called),
        };
        setups.truncate(MODELS_MAX);
        setups
    }
}

impl Ask {
    /// A GET of a path.
    pub fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), body: None }
    }

    /// A POST of an object with one member.
    fn post(path: &str, member: &str, value: &str) -> Self {
        Self { path: path.into(), body: Some(serde_json::json!({ member: value }).to_string()) }
    }

    /// How it is called on record: `GET /props`.
    pub fn name(&self) -> String {
        match &self.body {
            None => format!("GET {}", self.path),
            Some(body) => format!("POST {} {body}", self.path),
        }
    }
}

/// The answer to a request, if there was one.
fn answer<'t>(told: &'t [Told], ask: &Ask) -> Option<&'t Told> {
    told.iter().find(|told| told.ask == *ask)
}

/// The same as JSON.
fn read<'t>(told: &'t [Told], path: &str) -> Option<&'t RawValue> {
    json_of(answer(told, &Ask::get(path))?)
}

fn json_of(told: &Told) -> Option<&RawValue> {
    serde_json::from_slice(&told.body).ok()
}

fn has(object: &RawValue, name: &str) -> bool {
    json::member_of(object, name).is_some()
}

/// The member at the end of a path of names, unless it is null.
fn at<'a>(object: &'a RawValue, path: &[&str]) -> Option<&'a RawValue> {
    path.iter().try_fold(object, |object, name| json::member_of(object, name)).and_then(json::present)
}

/// The text there, unless it is empty.
fn text_at(object: &RawValue, path: &[&str]) -> Option<String> {
    at(object, path).and_then(json::non_empty).map(Into::into)
}

/// The number there, unless it is negative or no integer.
fn number_at(object: &RawValue, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(json::int).filter(|number| *number > 0)
}

fn items_at<'a>(object: &'a RawValue, path: &[&str]) -> Vec<&'a RawValue> {
    let mut all = Vec::new();
    if let Some(list) = at(object, path) {
        json::items(list, |item| all.push(item));
    }
    all
}
