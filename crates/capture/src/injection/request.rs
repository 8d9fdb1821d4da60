//! The request: what a client asks for itself, and what is put in.

use super::{Family, Undo};
use crate::Dialect;
use crate::coding::Coding;
use crate::scan::Cursor;

/// How a request asks for token decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// It is not changed: it asks for as many itself, or it cannot be asked for.
    Unchanged,
    /// This body asks for them, and the answer has to be changed back.
    Injected(Vec<u8>, Undo),
}

/// What a request says that matters here: values with where they stand.
#[derive(Debug, Default)]
struct Asked<'a> {
    switch: Option<(&'a str, usize)>,
    count: Option<(&'a str, usize)>,
    twice: bool,
    has_tools: bool,
    stream: bool,
    /// Where a member can be added, and if another one stands before.
    end: usize,
    is_empty: bool,
}

impl Ask {
    /// Asks for `alternatives` per token in the body of a request that is not encoded.
    pub fn for_decisions(dialect: Dialect, body: &[u8], alternatives: usize) -> Self {
        let injected = Family::of(dialect).zip(std::str::from_utf8(body).ok());
        let injected =
            injected.and_then(|(family, json)| Asked::read(family, json)?.inject(family, json, alternatives));
        injected.map_or(Self::Unchanged, |(body, undo)| Self::Injected(body.into_bytes(), undo))
    }
}

impl<'a> Asked<'a> {
    fn read(family: Family, json: &'a str) -> Option<Self> {
        let (switch, count) = match family {
            Family::Chat | Family::Ollama => ("logprobs", "top_logprobs"),
            Family::Completions => ("", "logprobs"),
            Family::Native => ("", "n_probs"),
        };
        let mut asked = Asked { is_empty: true, ..Asked::default() };
        let mut cursor = Cursor::new(json);
        let mut last = 0;
        cursor.object(|cursor, name| {
            cursor.peek()?;
            let at = cursor.at();
            let value = cursor.skip()?;
            (last, asked.is_empty) = (cursor.at(), false);
            let slot = match name {
                _ if name == switch => &mut asked.switch,
                _ if name == count => &mut asked.count,
                "tools" | "functions" => {
                    asked.has_tools = !matches!(value, "null" | "[]");
                    return Some(());
                }
                "stream" => {
                    asked.stream = value == "true";
                    return Some(());
                }
                // A name that is written with escapes may be one of ours.
                _ if name.contains('\\') => {
                    asked.twice = true;
                    return Some(());
                }
                _ => return Some(()),
            };
            asked.twice |= slot.replace((value, at)).is_some();
            Some(())
        })?;
        // Past the brace; a member goes behind the last one, or into an empty object.
        asked.end = if asked.is_empty { cursor.at() - 1 } else { last };
        (cursor.peek().is_none() && !asked.twice).then_some(asked)
    }

    fn inject(&self, family: Family, json: &str, alternatives: usize) -> Option<(String, Undo)> {
        // llama.cpp refuses the three together.
        if self.has_tools && self.stream && family == Family::Chat {
            return None;
        }
        let unset =
            |value: Option<(&str, usize)>| value.is_none_or(|(value, _)| matches!(value, "null" | "false" | "0"));
        let (off, n) = (unset(self.switch), self.count.and_then(|(count, _)| count.parse::<usize>().ok()));
        let keep = match family {
            Family::Chat | Family::Ollama if off && unset(self.count) => None,
            // Without a number servers differ in how many they give.
            Family::Chat | Family::Ollama if !off => Some(n.filter(|n| (1..alternatives).contains(n))?),
            // Here 0 asks for the chosen tokens alone.
            Family::Completions if self.count.is_none_or(|(count, _)| count == "null") => None,
            Family::Native if unset(self.count) => None,
            Family::Native => Some(n.filter(|n| (1..alternatives).contains(n))?),
            _ => return None,
        };
        let number = alternatives.to_string();
        let mut edits = Vec::new();
        if matches!(family, Family::Chat | Family::Ollama) && keep.is_none() {
            edits.push(self.put(self.switch, "logprobs", "true"));
        }
        let name = match family {
            Family::Chat | Family::Ollama => "top_logprobs",
            Family::Completions => "logprobs",
            Family::Native => "n_probs",
        };
        edits.push(self.put(self.count, name, &number));
        let n_probs = self.count.map_or("0", |(count, _)| if count == "null" { "0" } else { count }).to_owned();
        Some((self.apply(json, edits), Undo { family, keep, n_probs, coding: Coding::Identity }))
    }

    /// Replaces a value, or adds a member.
    fn put(&self, at: Option<(&str, usize)>, name: &str, value: &str) -> (usize, usize, String) {
        match at {
            Some((old, at)) => (at, at + old.len(), value.to_owned()),
            None => (self.end, self.end, format!("\"{name}\":{value}")),
        }
    }

    fn apply(&self, json: &str, mut edits: Vec<(usize, usize, String)>) -> String {
        edits.sort_by_key(|(start, ..)| *start);
        let (mut out, mut at, mut comma) = (String::with_capacity(json.len() + 40), 0, !self.is_empty);
        for (start, end, text) in edits {
            out.push_str(&json[at..start]);
            if start == end {
                out.push_str(if std::mem::replace(&mut comma, true) { "," } else { "" });
            }
            out.push_str(&text);
            at = end;
        }
        out.push_str(&json[at..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dialect: Dialect, body: &str, expect: Option<&str>) {
        match Ask::for_decisions(dialect, body.as_bytes(), 5) {
            Ask::Unchanged => assert_eq!(None, expect, "{body}"),
            Ask::Injected(changed, _) => assert_eq!(Some(std::str::from_utf8(&changed).unwrap()), expect, "{body}"),
        }
    }

    #[test]
    fn only_what_must_be_is_changed() {
        let chat = Dialect::OpenAiChat;
        check(chat, "{}", Some(r#"{"logprobs":true,"top_logprobs":5}"#));
        check(chat, " { \"a\" : [1] }\n", Some(" { \"a\" : [1],\"logprobs\":true,\"top_logprobs\":5 }\n"));
        check(chat, r#"{"logprobs":false,"a":1}"#, Some(r#"{"logprobs":true,"a":1,"top_logprobs":5}"#));
        check(chat, r#"{"top_logprobs":null,"a":1}"#, Some(r#"{"top_logprobs":5,"a":1,"logprobs":true}"#));
        check(chat, r#"{"logprobs":true,"top_logprobs":2}"#, Some(r#"{"logprobs":true,"top_logprobs":5}"#));
        for body in [
            r#"{"logprobs":true,"top_logprobs":5}"#,
            r#"{"logprobs":true,"top_logprobs":0}"#,
            r#"{"logprobs":true}"#,
            r#"{"top_logprobs":3}"#,
            r#"{"tools":[{}],"stream":true}"#,
            r#"{"logprobs":false,"logprobs":false}"#,
            r#"{"a\u0062":1}"#,
            "[]",
            "{} x",
            "{\"a\":",
        ] {
            check(chat, body, None);
        }
        check(chat, r#"{"tools":[{}]}"#, Some(r#"{"tools":[{}],"logprobs":true,"top_logprobs":5}"#));
        check(Dialect::OpenAiCompletions, r#"{"a":1}"#, Some(r#"{"a":1,"logprobs":5}"#));
        check(Dialect::OpenAiCompletions, r#"{"logprobs":1}"#, None);
        check(Dialect::LlamaCompletion, r#"{"n_probs":0}"#, Some(r#"{"n_probs":5}"#));
        check(Dialect::LlamaCompletion, r#"{"n_probs":9}"#, None);
        check(Dialect::OllamaChat, r#"{"model":"m"}"#, Some(r#"{"model":"m","logprobs":true,"top_logprobs":5}"#));
        check(Dialect::AnthropicMessages, "{}", None);
    }
}
