//! What of a record can be searched: its texts, and what is compared as a whole.
//!
//! Texts are the strings in what went into a model call, came out of it and went wrong: of JSON bodies every string
//! value, but for technical ones such as roles and ids, and for media. A string that a record has several times counts
//! once. Calls carry the history of their conversation, so a word is found in every call that it was sent with.

use std::collections::HashSet;

use memchr::memchr2;
use onrecord_ledger::Committed;
use onrecord_proof::{Field, Group, Map, Record, Value, field};
use sha2::{Digest, Sha256};

use crate::table::sidecar::hex;

/// A record, taken apart.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Each once, with what it is of: `input`, `output`, `error`, `judgement`.
    pub(super) texts: Vec<(Place, String)>,
    /// Terms of [`exact_term`], each once.
    pub(super) exact: Vec<Vec<u8>>,
}

/// What a text is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// What the model, or a step, was given.
    Input,
    /// What came out.
    Output,
    /// What went wrong.
    Error,
    /// What somebody, or a guardrail, said of it.
    Judgement,
}

impl Place {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Error => "error",
            Self::Judgement => "judgement",
        }
    }
}

/// The names that a value can be asked for by, `name:value`, and the fields it is compared with.
pub(super) const EXACT: [(&str, &[&Field]); 13] = [
    ("id", &[]),
    ("kind", &[]),
    ("session", &[&field::SESSION]),
    ("request", &[&field::REQUEST_ID]),
    ("trace", &[&field::TRACE_ID]),
    ("model", &[&field::REQUEST_MODEL, &field::RESPONSE_MODEL]),
    ("user", &[&field::USER_ID]),
    ("principal", &[&field::PRINCIPAL]),
    ("operation", &[&field::OPERATION]),
    ("outcome", &[&field::OUTCOME]),
    ("status", &[&field::STATUS]),
    ("error", &[&field::ERROR_TYPE]),
    // `tag:key` and `tag:key=value`.
    ("tag", &[]),
];

/// The groups whose fields are searched.
pub(super) const SEARCHED: [(Group, Place); 3] =
    [(Group::Input, Place::Input), (Group::Output, Place::Output), (Group::Outcome, Place::Error)];

/// Of these groups, what judges.
pub(super) const JUDGEMENTS: [&Field; 4] = [&field::VERDICT, &field::EVALUATION, &field::LABEL, &field::EXPLANATION];

/// Fields of these groups that say nothing in words.
pub(super) const NOT_SEARCHED: [&Field; 14] = [
    &field::PROMPT_SOURCE,
    &field::PROMPT_TOKEN_IDS,
    &field::INPUT_MEDIA,
    &field::INPUT_CONTENT_TYPE,
    &field::INPUT_ENCODING,
    &field::OUTPUT_CONTENT_TYPE,
    &field::OUTPUT_ENCODING,
    &field::OUTCOME,
    &field::FINISH_REASONS,
    &field::STOPPED_BY,
    &field::STOP_REASONS,
    &field::RESPONSE_ID,
    &field::ERROR_STAGE,
    &field::CAPTURE,
];

/// Members of JSON objects whose strings are technical, or media.
const NOT_SEARCHED_MEMBERS: [&str; 20] = [
    "role",
    "type",
    "object",
    "id",
    "model",
    "finish_reason",
    "stop_reason",
    "done_reason",
    "tool_call_id",
    "tool_use_id",
    "call_id",
    "encoding_format",
    "system_fingerprint",
    "created_at",
    "data",
    "b64_json",
    "images",
    "embedding",
    "signature",
    "encrypted_content",
];

/// Members of JSON objects below which an answer is once more, token by token.
const TOKENS: [&str; 6] = ["logprobs", "top_logprobs", "completion_probabilities", "tokens", "top_tokens", "prefill"];

/// A value that is longer is compared by its beginning and its SHA-256.
pub(super) const EXACT_BYTES: usize = 256;
/// JSON that is nested deeper is searched as if it were nested so deep.
const DEPTH_MAX: usize = 256;

impl Document {
    pub(super) fn of(committed: &Committed) -> Self {
        let mut document = Self::default();
        document.add_exact(&committed.record);
        let mut seen = HashSet::new();
        for (group, place) in SEARCHED {
            if let Some(map) = committed.record.group(group) {
                document.add_group(place, map, &mut seen);
            }
        }
        document
    }

    fn add_group(&mut self, place: Place, map: &Map, seen: &mut HashSet<String>) {
        let put_together = map.get(field::OUTPUT_MESSAGES.name).is_some();
        for (name, value) in map.iter() {
            // The events of a stream have the words in pieces; the messages that they add up to have them whole.
            let in_pieces = put_together && name == field::OUTPUT_BODY.name;
            let judges = JUDGEMENTS.iter().any(|field| field.name == name);
            let place = if judges { Place::Judgement } else { place };
            if !in_pieces && NOT_SEARCHED.iter().all(|field| field.name != name) {
                strings(value, &mut |text| self.add(place, text, seen));
            }
        }
    }

    fn add(&mut self, place: Place, text: String, seen: &mut HashSet<String>) {
        if !text.is_empty() && !is_media(&text) && !seen.contains(&text) {
            seen.insert(text.clone());
            self.texts.push((place, text));
        }
    }

    fn add_exact(&mut self, record: &Record) {
        let mut add = |name: &str, value: &str| {
            let term = exact_term(name, value);
            if !self.exact.contains(&term) {
                self.exact.push(term);
            }
        };
        add("id", &record.id.to_string());
        add("kind", record.kind.name());
        for (name, fields) in EXACT {
            for field in fields {
                match record.get(field) {
                    Some(Value::Text(text)) => add(name, text),
                    Some(Value::Int(number)) => add(name, &number.to_string()),
                    _ => {}
                }
            }
        }
        let tags = record.get(&field::TAGS).and_then(Value::as_map);
        for (key, value) in tags.iter().flat_map(|tags| tags.iter()) {
            add("tag", key);
            add("tag", &format!("{key}={}", value.as_text().unwrap_or_default()));
        }
    }
}

/// The term of a value that is compared as a whole. It begins with that of every prefix of a short value.
pub(super) fn exact_term(name: &str, value: &str) -> Vec<u8> {
    let mut term = [name.as_bytes(), b"\0"].concat();
    if value.len() <= EXACT_BYTES {
        term.extend_from_slice(value.as_bytes());
    } else {
        term.extend_from_slice(&value.as_bytes()[..EXACT_BYTES]);
        term.extend_from_slice(hex(&Sha256::digest(value)).as_bytes());
    }
    term
}

/// A data URL. Where media stands bare, its member is not searched.
fn is_media(text: &str) -> bool {
    text.starts_with("data:") && text.get(..100.min(text.len())).is_some_and(|head| head.contains(";base64,"))
}

fn strings(value: &Value, each: &mut impl FnMut(String)) {
    match value {
        Value::Text(text) => each(text.clone()),
        Value::Bytes(bytes) => strings_of_body(bytes, each),
        Value::Array(items) => items.iter().for_each(|item| strings(item, each)),
        Value::Map(map) => map.iter().for_each(|(_, value)| strings(value, each)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
    }
}

/// The string values of JSON, also where it is cut off; other text whole. What is neither, such as a compressed body,
/// has none.
fn strings_of_body(body: &[u8], each: &mut impl FnMut(String)) {
    if matches!(body.trim_ascii_start().first(), Some(b'{' | b'[' | b'"')) {
        strings_of_json(body, each);
    } else if let Ok(text) = std::str::from_utf8(body) {
        each(text.to_owned());
    }
}

fn strings_of_json(body: &[u8], each: &mut impl FnMut(String)) {
    let mut member: &[u8] = b"";
    let mut outer = Vec::new();
    let is = |names: &[&str], member: &[u8]| names.iter().any(|name| name.as_bytes() == member);
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' if outer.len() < DEPTH_MAX => outer.push(member),
            b'}' | b']' => member = outer.pop().unwrap_or_default(),
            b'"' => {
                let end = end_of_string(body, at);
                let raw = &body[at..end.min(body.len())];
                at = end + 1;
                if body.get(at..).is_some_and(|rest| rest.trim_ascii_start().first() == Some(&b':')) {
                    member = raw;
                } else if !is(&NOT_SEARCHED_MEMBERS, member) && !outer.iter().any(|outer| is(&TOKENS, outer)) {
                    each(unescape(raw));
                }
            }
            _ => {}
        }
    }
}

/// The position of the quote that ends the string whose text begins at `at`, or the end of the body.
fn end_of_string(body: &[u8], mut at: usize) -> usize {
    while let Some(found) = body.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if body[at] == b'"' {
            return at;
        }
        at += 2;
    }
    body.len()
}

fn unescape(raw: &[u8]) -> String {
    let quoted = [b"\"", raw, b"\""].concat();
    // What is not valid JSON, such as half a surrogate pair, is searched as it stands there.
    serde_json::from_slice(&quoted).unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(body: &str) -> Vec<String> {
        let mut found = Vec::new();
        strings_of_body(body.as_bytes(), &mut |text| found.push(text));
        found
    }

    #[test]
    fn strings_of_bodies() {
        let chat = r#"{"model":"m","messages":[{"role":"user","content":"a \"b\"\n\u00e9"},
            {"role":"user","content":[{"type":"text","text":"c"},{"type":"image","data":"iVBOR"}]}],"stop":["x","y"]}"#;
        assert_eq!(of(chat), ["a \"b\"\né", "c", "x", "y"]);
        assert_eq!(of(r#"{"documents":[{"id":"7"},"plain"],"id":"8"}"#), ["plain"]);
        let tokens =
            r#"{"text":"a b","logprobs":{"content":[{"token":"a","top_logprobs":[{"token":"c"}]}]},"stop":"d"}"#;
        assert_eq!(of(tokens), ["a b", "d"]);
        assert_eq!(of(r#"{"data":[{"embedding":"AACA"}],"details":{"tokens":[{"text":"a"}],"seen":"b"}}"#), ["b"]);
        assert_eq!(of("plain text"), ["plain text"]);
        assert_eq!(of(r#"{"prompt":"cut off in the mid"#), ["cut off in the mid"]);
        assert_eq!(of(r#"{"prompt":"half \ud83d","a":"b"}"#), [r"half \ud83d", "b"]);
        assert_eq!(of(r#"{"prompt":"ends in a \"#), [r"ends in a \"]);
        assert!(of("\u{1f}").len() == 1 && of("").len() == 1);
    }

    #[test]
    fn long_values_are_compared_whole() {
        let (a, b) = ("x".repeat(300), "x".repeat(301));
        assert_ne!(exact_term("id", &a), exact_term("id", &b));
        assert!(exact_term("id", &a).starts_with(&exact_term("id", "xx")));
    }

    proptest! {
        #[test]
        fn any_bytes_have_strings(body in r#"[{}\[\]":,\\ua ]{0,60}"#) {
            strings_of_body(body.as_bytes(), &mut |_| ());
        }
    }
}
