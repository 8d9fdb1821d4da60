//! The language of searches: `refund AND (damaged OR late) -spam "exact phrase" model:qwen session:abc err*`.
//!
//! ```text
//! any    = all { "OR" all }
//! all    = one { ["AND"] one }
//! one    = ["-" | "NOT"] ( "(" any ")" | phrase | name ":" value | word ) , each of the last three optionally with "*"
//! ```
//! `AND`, `OR` and `NOT` are capitals. A value is a word without spaces, or in quotes.

use super::text::{EXACT, EXACT_BYTES, exact_term};
use super::words::words;
use crate::error::{Error, Result};

/// Bytes of a query, and words and names in it, at most; parentheses at most nested so deep. More is a mistake or an attack.
const BYTES_MAX: usize = 16 << 10;
const LEAVES_MAX: usize = 256;
const DEPTH_MAX: usize = 64;

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Query {
    All(Vec<Query>),
    Any(Vec<Query>),
    Not(Box<Query>),
    Phrase(Phrase),
    /// A term of [`exact_term`], or what it begins with.
    Exact {
        term: Vec<u8>,
        prefix: bool,
    },
}

/// Words that follow on each other in one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phrase {
    /// As they are compared; at least one.
    pub(super) words: Vec<String>,
    /// The last one is the beginning of a word.
    pub(super) prefix: bool,
}

impl Query {
    /// Reads a query. An error names the character that it is about, counted from 1.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let parsed = if text.len() > BYTES_MAX {
            Err(Problem { at: BYTES_MAX, what: format!("a search has at most {BYTES_MAX} bytes") })
        } else {
            Parser { text, at: 0, depth: 0, leaves: 0 }.whole()
        };
        parsed.map_err(|Problem { at, what }| {
            let character = text.char_indices().take_while(|(start, _)| *start < at).count() + 1;
            Error::Query(format!("the search, at character {character}: {what}"))
        })
    }

    /// The phrases that a hit may have, in order: those that are not negated.
    pub(super) fn phrases(&self) -> Vec<&Phrase> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::phrases).collect(),
            Self::Phrase(phrase) => vec![phrase],
            Self::Not(_) | Self::Exact { .. } => Vec::new(),
        }
    }
}

struct Problem {
    at: usize,
    what: String,
}

type Parsed<T> = Result<T, Problem>;

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    leaves: usize,
}

impl<'a> Parser<'a> {
    fn whole(mut self) -> Parsed<Query> {
        let query = self.any()?;
        match self.peek() {
            None => Ok(query),
            Some(_) => Err(self.problem("`)` without a `(` before it")),
        }
    }

    fn any(&mut self) -> Parsed<Query> {
        let mut parts = vec![self.all()?];
        while self.keyword("OR") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Query::Any))
    }

    fn all(&mut self) -> Parsed<Query> {
        let mut parts = vec![self.one()?];
        loop {
            let and = self.keyword("AND");
            match self.peek() {
                None | Some(')') if !and => break,
                _ if !and && self.sees("OR") => break,
                _ => parts.push(self.one()?),
            }
        }
        Ok(one_or(parts, Query::All))
    }

    fn one(&mut self) -> Parsed<Query> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.problem(format!("nested more than {DEPTH_MAX} deep")));
        }
        let query = if self.keyword("NOT") || self.minus() {
            Query::Not(Box::new(self.one()?))
        } else if self.takes('(') {
            let open = self.at - 1;
            let inner = self.any()?;
            if !self.takes(')') {
                return Err(Problem { at: open, what: "`(` without a `)` after it".into() });
            }
            inner
        } else {
            self.leaf()?
        };
        self.depth -= 1;
        Ok(query)
    }

    fn leaf(&mut self) -> Parsed<Query> {
        self.leaves += 1;
        if self.leaves > LEAVES_MAX {
            return Err(self.problem(format!("more than {LEAVES_MAX} words")));
        }
        match self.peek() {
            None => Err(self.problem("a word is missing here")),
            Some(')') => Err(self.problem("a word is missing before `)`")),
            Some('"') => {
                let start = self.at;
                let words = self.quoted()?;
                let prefix = self.takes_now('*');
                phrase(words, prefix, start)
            }
            Some(_) if ["AND", "OR"].iter().any(|word| self.sees(word)) => {
                Err(self.problem("a word is missing before this; to search for the word itself, put it in quotes"))
            }
            Some(_) => self.word_or_value(),
        }
    }

    fn word_or_value(&mut self) -> Parsed<Query> {
        let start = self.at;
        let word = self.bare();
        let Some((name, rest)) = word.split_once(':') else {
            let (word, prefix) = star(word);
            return phrase(word, prefix, start);
        };
        if !EXACT.iter().any(|(known, _)| *known == name) {
            let names: Vec<_> = EXACT.iter().map(|(name, _)| *name).collect();
            let what = format!(
                "there is no `{name}:`; there are {}; to search for the text itself, put it in quotes",
                names.join(", ")
            );
            return Err(Problem { at: start, what });
        }
        let (value, prefix) = if rest.is_empty() && self.text[self.at..].starts_with('"') {
            (self.quoted()?, self.takes_now('*'))
        } else {
            star(rest)
        };
        exact(name, value, prefix, start + name.len() + 1)
    }

    /// What stands between here and the next space or parenthesis, and before a quote that follows on a colon.
    fn bare(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let mut last = '\0';
        let ends = |c: char| {
            let ends = c.is_whitespace() || matches!(c, '(' | ')') || (c == '"' && last == ':');
            last = c;
            ends
        };
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    fn quoted(&mut self) -> Parsed<&'a str> {
        let open = self.at;
        let rest = &self.text[open + 1..];
        let Some(end) = rest.find('"') else {
            return Err(Problem { at: open, what: "`\"` without another that ends the phrase".into() });
        };
        self.at = open + 1 + end + 1;
        Ok(&rest[..end])
    }

    /// The next character that is not a space.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn sees(&mut self, keyword: &str) -> bool {
        self.peek();
        let rest = self.text[self.at..].strip_prefix(keyword);
        rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with(|c: char| c.is_whitespace() || matches!(c, '(' | ')'))
        })
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let sees = self.sees(keyword);
        if sees {
            self.at += keyword.len();
        }
        sees
    }

    fn takes(&mut self, wanted: char) -> bool {
        self.peek();
        self.takes_now(wanted)
    }

    fn takes_now(&mut self, wanted: char) -> bool {
        let takes = self.text[self.at..].starts_with(wanted);
        if takes {
            self.at += wanted.len_utf8();
        }
        takes
    }

    /// A minus that something follows on.
    fn minus(&mut self) -> bool {
        self.peek();
        let after = self.text[self.at..].strip_prefix('-');
        after.is_some_and(|after| after.starts_with(|c: char| !c.is_whitespace())) && self.takes_now('-')
    }

    fn problem(&self, what: impl Into<String>) -> Problem {
        Problem { at: self.at, what: what.into() }
    }
}

fn exact(name: &str, value: &str, prefix: bool, at: usize) -> Parsed<Query> {
    if value.is_empty() {
        return Err(Problem { at, what: format!("a value is missing after `{name}:`") });
    }
    if prefix && value.len() > EXACT_BYTES {
        return Err(Problem { at, what: format!("more than {EXACT_BYTES} bytes before `*`") });
    }
    Ok(Query::Exact { term: exact_term(name, value), prefix })
}

fn phrase(text: &str, prefix: bool, at: usize) -> Parsed<Query> {
    let mut found = Vec::new();
    words(text, |word, _| found.push(word.to_owned()));
    if found.is_empty() {
        return Err(Problem { at, what: format!("{text:?} has no letter or digit to search for") });
    }
    if found.len() > LEAVES_MAX {
        return Err(Problem { at, what: format!("more than {LEAVES_MAX} words") });
    }
    Ok(Query::Phrase(Phrase { words: found, prefix }))
}

fn one_or(mut parts: Vec<Query>, many: fn(Vec<Query>) -> Query) -> Query {
    if parts.len() == 1 { parts.swap_remove(0) } else { many(parts) }
}

fn star(word: &str) -> (&str, bool) {
    word.strip_suffix('*').map_or((word, false), |word| (word, true))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn show(query: &Query) -> String {
        let list = |parts: &[Query], with: &str| format!("({})", parts.iter().map(show).collect::<Vec<_>>().join(with));
        match query {
            Query::All(parts) => list(parts, " & "),
            Query::Any(parts) => list(parts, " | "),
            Query::Not(part) => format!("!{}", show(part)),
            Query::Phrase(Phrase { words, prefix }) => {
                let mut text = words.join("_");
                let _ = write!(text, "{}", if *prefix { "*" } else { "" });
                text
            }
            Query::Exact { term, prefix } => {
                format!("{}{}", String::from_utf8_lossy(term).replace('\0', "="), if *prefix { "*" } else { "" })
            }
        }
    }

    #[test]
    fn queries_are_read() {
        for (text, expected) in [
            ("refund", "refund"),
            ("a b OR c d", "((a & b) | (c & d))"),
            ("a AND (b OR c) -d", "(a & (b | c) & !d)"),
            ("NOT NOT a -(b c)", "(!!a & !(b & c))"),
            (r#""The exact, phrase" "begin of it"*"#, "(the_exact_phrase & begin_of_it*)"),
            ("refun* example.com", "(refun* & example_com)"),
            (
                r#"model:qwen* session:"a b" tag:team=red status:500"#,
                "(model=qwen* & session=a b & tag=team=red & status=500)",
            ),
            ("退款 and or not", "(退_款 & and & or & not)"),
            ("well-known", "well_known"),
            ("session:a:b", "session=a:b"),
            ("(a)(b)", "(a & b)"),
        ] {
            assert_eq!(show(&Query::parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        for (text, expected) in [
            ("", "1: a word is missing here"),
            ("a AND", "6: a word is missing here"),
            ("a OR OR b", "6: a word is missing before this"),
            ("é (b", "3: `(` without a `)` after it"),
            ("é b)", "4: `)` without a `(` before it"),
            ("a \"b", "3: `\"` without another"),
            ("a ()", "4: a word is missing before `)`"),
            ("a !!! b", "3: \"!!!\" has no letter or digit"),
            ("*", "1: \"\" has no letter or digit"),
            ("a http://x", "3: there is no `http:`; there are id, kind, session"),
            ("model: x", "7: a value is missing after `model:`"),
            ("- a", "1: \"-\" has no letter"),
        ] {
            let error = Query::parse(text).unwrap_err().to_string();
            let expected = format!("the search, at character {expected}");
            assert!(error.starts_with(&expected), "{text}: {error}");
        }
        for text in ["(".repeat(10_000), "a ".repeat(5000), "-".repeat(9000) + "a", "x".repeat(20_000)] {
            assert!(Query::parse(&text).is_err());
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in r#"([a-cé退"*:() -]|AND |OR |NOT |model:){0,30}"#) {
            let _ = Query::parse(&text);
        }
    }
}
