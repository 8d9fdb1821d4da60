//! The ways in which model servers say that something went wrong.
//!
//! `{"error":{"message":…,"type":…,"code":…}}` (OpenAI, Anthropic, llama.cpp, vLLM), the same without the outer object,
//! `{"error":"…"}` (Ollama), the same with `error_type` (TGI), `{"detail":…}` (FastAPI), and plain text or HTML (proxies).

use onrecord_proof::{Record, field};

use crate::json::{self, RawValue};

/// Bytes of an error's message that are kept; the body has all of it.
const MESSAGE_MAX: usize = 4 << 10;
/// Bytes of an error's type that are kept: it is a name.
const KIND_MAX: usize = 256;

/// An error, as a model server tells of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    kind: Option<String>,
    message: Option<String>,
}

impl Failure {
    /// What a body says, if it is the body of an error.
    pub(crate) fn of_body(body: &str) -> Self {
        let body = body.trim();
        match json::raw(body).filter(|raw| raw.get().len() == body.len() && raw.get().starts_with('{')) {
            Some(raw) => Self::of_object(raw),
            None => Self { kind: None, message: (!body.is_empty()).then(|| bounded(body, MESSAGE_MAX)) },
        }
    }

    /// What an object says that has the error in it or is one.
    fn of_object(raw: &RawValue) -> Self {
        let Some(error) = json::member_of(raw, "error").and_then(json::present) else { return Self::of(raw) };
        let mut failure = Self::of(error);
        if failure.kind.is_none() {
            failure.kind = json::member_of(raw, "error_type").and_then(name);
        }
        failure
    }

    /// What the value of `error` says.
    pub(crate) fn of(raw: &RawValue) -> Self {
        let member = |name| json::member_of(raw, name).and_then(json::present);
        // An event that is an error says so in its type, which is no name of it.
        let kind = member("type").and_then(name).filter(|kind| kind != "error");
        let kind = kind.or_else(|| member("code").and_then(name));
        let message = member("message").or_else(|| member("detail")).or_else(|| json::text(raw).and(Some(raw)));
        Self { kind, message: message.map(words) }
    }

    /// Records the error; one that has no name is called by the response's status.
    pub(crate) fn record(self, stage: &'static str, status: u16, record: &mut Record) {
        let kind = self.kind.unwrap_or_else(|| if status >= 400 { format!("http_{status}") } else { "error".into() });
        record.set(&field::ERROR_TYPE, kind);
        record.set(&field::ERROR_STAGE, stage);
        if let Some(message) = self.message {
            record.set(&field::ERROR_MESSAGE, message);
        }
    }
}

/// A text, or anything else as the JSON that it is.
fn words(raw: &RawValue) -> String {
    bounded(&json::text(raw).unwrap_or(raw.get().into()), MESSAGE_MAX)
}

/// A name is a text or a number.
fn name(raw: &RawValue) -> Option<String> {
    let number = || json::int(raw).map(|n| n.to_string());
    json::non_empty(raw).map(|text| bounded(&text, KIND_MAX)).or_else(number)
}

fn bounded(text: &str, max: usize) -> String {
    text[..text.floor_char_boundary(max)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for (body, kind, message) in [
            (r#"{"error":{"code":400,"message":"too long","type":"exceed"}}"#, Some("exceed"), Some("too long")),
            (r#"{"error":{"code":400,"message":"no","type":null}}"#, Some("400"), Some("no")),
            (r#"{"object":"error","message":"no","code":"bad"}"#, Some("bad"), Some("no")),
            (r#"{"error":"not found"}"#, None, Some("not found")),
            (r#"{"error":"too much","error_type":"overloaded"}"#, Some("overloaded"), Some("too much")),
            (r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#, Some("api_error"), Some("no")),
            (r#"{"type":"error","code":"oom","message":"no"}"#, Some("oom"), Some("no")),
            (r#"{"detail":"Method Not Allowed"}"#, None, Some("Method Not Allowed")),
            (r#"{"detail":[{"loc":["body"]}]}"#, None, Some(r#"[{"loc":["body"]}]"#)),
            ("Disallowed CORS origin\n", None, Some("Disallowed CORS origin")),
            (r#"{"error":{"message":"cut"#, None, Some(r#"{"error":{"message":"cut"#)),
            ("{}", None, None),
            ("", None, None),
        ] {
            let expect = Failure { kind: kind.map(Into::into), message: message.map(Into::into) };
            assert_eq!(Failure::of_body(body), expect, "{body}");
        }
        assert_eq!(Failure::of_body(&"ü".repeat(9000)).message.unwrap().len(), MESSAGE_MAX);
        let nested = r#"{"error":"#.repeat(50_000) + "1" + &"}".repeat(50_000);
        assert_eq!(Failure::of_body(&nested), Failure::default());
    }
}
