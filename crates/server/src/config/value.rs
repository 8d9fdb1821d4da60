//! The types a value can have, each with the check that makes it one.

use onrecord_capture::serving::Server;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use url::Url;

use super::problem::{Place, Problem};
use super::raw::closest;

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// True if the value must never be shown.
    const SECRET: bool = false;

    /// Checks a value; the error completes the sentence "`key = value` …".
    fn read(value: &toml::Value) -> Result<Self, String>;

    /// The value where the key is not set; none if it must be.
    fn absent() -> Option<Self> {
        None
    }

    /// The order that ranges are checked in; the same for all values of a type that has none.
    fn rank(&self) -> u128 {
        0
    }

    /// Resolves a path in a file against the file's folder.
    fn relative_to(self, _folder: &Path) -> Self {
        self
    }
}

/// What happens to calls while the log cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLogFailure {
    /// They are answered 503 before the model is called.
    Refuse,
    /// They pass unrecorded, and a gap record counts them.
    Forward,
}

/// When an answer may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// When its record is durable.
    AfterCommit,
    /// When the model has ended it.
    AtOnce,
}

/// How the program's own messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Which model server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ServerKind {
    /// It is to be found out.
    Auto,
    /// One that speaks the OpenAI API, and nothing else is known of.
    OpenAi,
    LlamaCpp,
    Ollama,
    Vllm,
    Tgi,
    Sglang,
    LmStudio,
}

impl ServerKind {
    /// The server, unless it is to be found out.
    pub(crate) const fn known(self) -> Option<Server> {
        match self {
            Self::Auto => None,
            Self::OpenAi => Some(Server::OpenAi),
            Self::LlamaCpp => Some(Server::LlamaCpp),
            Self::Ollama => Some(Server::Ollama),
            Self::Vllm => Some(Server::Vllm),
            Self::Tgi => Some(Server::Tgi),
            Self::Sglang => Some(Server::Sglang),
            Self::LmStudio => Some(Server::LmStudio),
        }
    }
}

/// The name of a model server: letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct UpstreamName(pub(crate) String);

/// The beginning of a path, from its `/` to the end of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PathPrefix(pub(crate) String);

/// A name for a log, fit to stand in its signed notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogName(pub(crate) String);

/// A prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl(pub(crate) Url);

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// A text that was checked already.
    pub(super) fn of(text: String) -> Self {
        Self(text)
    }

    /// Takes the key from an environment variable that the configuration names.
    pub(super) fn from_environment(name: &str, named_by: &str, value: Option<OsString>) -> Result<Self, Problem> {
        let value = value.ok_or_else(|| "is not set".to_owned());
        let text = value.and_then(|value| value.into_string().map_err(|_| "is not UTF-8".to_owned()));
        text.and_then(|text| Self::read(&text.into())).map_err(|reason| {
            let what = format!("`{name}`, which `{named_by}` names, {reason}");
            let remedy = format!("set {name} to the model server's key, or remove `{named_by}`");
            Problem::new(Some(Place::Environment(name.to_owned())), what, remedy)
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// A text that is not empty, for the types that are written as one.
pub(super) fn as_text(value: &toml::Value) -> Result<&str, String> {
    match value.as_str() {
        Some("") => Err("is empty".to_owned()),
        Some(text) => Ok(text),
        None => Err("must be a text in quotes".to_owned()),
    }
}

pub(super) fn choose<T: Copy>(value: &toml::Value, choices: &[(&str, T)]) -> Result<T, String> {
    let text = as_text(value)?;
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*choice);
    }
    let names = || choices.iter().map(|(name, _)| *name);
    let hint = closest(text, names()).map(|close| format!(" (did you mean \"{close}\"?)")).unwrap_or_default();
    Err(format!("must be one of \"{}\"{hint}", names().collect::<Vec<_>>().join("\", \"")))
}

impl Setting for ServerKind {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let kinds = [
            ("auto", Self::Auto),
            ("openai", Self::OpenAi),
            ("llama.cpp", Self::LlamaCpp),
            ("ollama", Self::Ollama),
            ("vllm", Self::Vllm),
            ("tgi", Self::Tgi),
            ("sglang", Self::Sglang),
            ("lmstudio", Self::LmStudio),
        ];
        choose(value, &kinds)
    }
}

impl Setting for UpstreamName {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let text = as_text(value)?;
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err("must consist of letters, digits, `.`, `_` and `-`".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Setting for PathPrefix {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let text = as_text(value)?.trim_end_matches('/');
        if !text.starts_with('/') || text.contains(['?', '#']) || text.contains(|c: char| !c.is_ascii_graphic()) {
            return Err("must start with `/` and have at least one segment, as in a URL".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Setting for Vec<String> {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let wrong = "must be a list of texts, none of them empty";
        let items = value.as_array().ok_or(wrong)?;
        items.iter().map(|item| as_text(item).map(str::to_owned).map_err(|_| wrong.to_owned())).collect()
    }
}

impl Setting for OnLogFailure {
    fn read(value: &toml::Value) -> Result<Self, String> {
        choose(value, &[("refuse", Self::Refuse), ("forward", Self::Forward)])
    }
}

impl Setting for Release {
    fn read(value: &toml::Value) -> Result<Self, String> {
        choose(value, &[("after-commit", Self::AfterCommit), ("at-once", Self::AtOnce)])
    }
}

impl Setting for LogFormat {
    fn read(value: &toml::Value) -> Result<Self, String> {
        choose(value, &[("text", Self::Text), ("json", Self::Json)])
    }
}

impl Setting for LevelFilter {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let levels = [
            ("off", Self::OFF),
            ("error", Self::ERROR),
            ("warn", Self::WARN),
            ("info", Self::INFO),
            ("debug", Self::DEBUG),
            ("trace", Self::TRACE),
        ];
        choose(value, &levels)
    }
}

impl<T: Setting> Setting for Option<T> {
    const SECRET: bool = T::SECRET;

    fn read(value: &toml::Value) -> Result<Self, String> {
        T::read(value).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn rank(&self) -> u128 {
        self.as_ref().map_or(0, T::rank)
    }

    fn relative_to(self, folder: &Path) -> Self {
        self.map(|value| value.relative_to(folder))
    }
}

impl Setting for bool {
    fn read(value: &toml::Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "must be true or false".to_owned())
    }
}

impl Setting for usize {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let number = value.as_integer().and_then(|number| Self::try_from(number).ok());
        number.ok_or_else(|| "must be a whole number from 0, without quotes".to_owned())
    }

    fn rank(&self) -> u128 {
        *self as u128
    }
}

impl Setting for String {
    fn read(value: &toml::Value) -> Result<Self, String> {
        as_text(value).map(str::to_owned)
    }
}

impl Setting for PathBuf {
    fn read(value: &toml::Value) -> Result<Self, String> {
        as_text(value).map(Self::from)
    }

    fn relative_to(self, folder: &Path) -> Self {
        folder.join(self)
    }
}

impl Setting for SocketAddr {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let wrong = |_| "must be an IP address and a port, an IPv6 address in brackets".to_owned();
        as_text(value)?.parse().map_err(wrong)
    }
}

impl Setting for Duration {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let wrong = "must be a number with a unit: ms, s, m or h";
        let text = value.as_str().ok_or(wrong)?;
        let span: jiff::SignedDuration = text.parse().map_err(|_| wrong)?;
        Self::try_from(span).map_err(|_| "must not be negative".to_owned())
    }

    fn rank(&self) -> u128 {
        self.as_nanos()
    }
}

impl Setting for Url {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let text = as_text(value)?;
        let url =
            Self::parse(text).map_err(|error| format!("is not a URL ({error}); it starts with http:// or https://"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must start with http:// or https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user name or password; `upstream_key`, or `key` of an [[upstream]], is the place for a key".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must end with its path, without `?` or `#`".to_owned());
        }
        Ok(url)
    }
}

impl Setting for StoreUrl {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let wrong = "must be s3://, gs:// or az:// with the name of a bucket, and a prefix in it";
        let url = Url::parse(as_text(value)?).map_err(|error| format!("{wrong} ({error})"))?;
        if !matches!(url.scheme(), "s3" | "gs" | "az") || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong.to_owned());
        }
        if url.path().trim_matches('/').is_empty() {
            return Err("must have a prefix behind the bucket: what lies below it belongs to this log alone".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("must hold neither keys nor options; these come from the environment".to_owned());
        }
        Ok(Self(url))
    }
}

impl Setting for LogName {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let text = as_text(value)?;
        // The rule of C2SP signed notes for the name of a key, and no byte that could disturb a terminal.
        let unfit = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if text.contains(unfit) {
            return Err("must not contain white space, control characters or `+`".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Setting for onrecord_proof::note::Verifier {
    fn read(value: &toml::Value) -> Result<Self, String> {
        as_text(value)?.parse().map_err(|error| format!("is not the public key of a log ({error})"))
    }
}

impl Setting for onrecord_proof::cosignature::Witness {
    fn read(value: &toml::Value) -> Result<Self, String> {
        as_text(value)?.parse().map_err(|error| format!("is not the key of a witness ({error})"))
    }
}

impl Setting for Secret {
    const SECRET: bool = true;

    fn read(value: &toml::Value) -> Result<Self, String> {
        let text = as_text(value)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("cannot be sent in a header: it must be visible ASCII without spaces".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}
