//! Token decisions in one JSON text of an answer: found, taken out, and everything else left as it stands.

use super::{Family, Undo};
use crate::scan::Cursor;

/// A text without the decisions that were asked for on the client's behalf.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) json: String,
    /// The number of each answer and the decisions of it, as they came.
    pub(super) taken: Vec<(i64, String)>,
    /// There is only because of the decisions.
    pub(super) vanishes: bool,
}

/// What is to be done, with places in the text.
#[derive(Default)]
struct Edits {
    /// Spans with what goes there instead, in ascending order.
    spans: Vec<(usize, usize, String)>,
    taken: Vec<(i64, String)>,
    /// Answers in this text, and those of them that say nothing besides their decisions.
    answers: usize,
    silent: usize,
}

/// One member where it stands: from the comma before it, or its name, to the end of its value.
struct Member {
    start: usize,
    value: usize,
    end: usize,
    is_first: bool,
    is_last: bool,
}

/// Takes the decisions out of a text; `None` if there are none or it is no JSON.
pub(super) fn edit(json: &str, undo: &Undo) -> Option<Edited> {
    let mut edits = Edits::default();
    let mut cursor = Cursor::new(json);
    match (undo.family, cursor.peek()?) {
        (Family::Native, b'[') => cursor.list(|cursor| edits.native(json, cursor, undo))?,
        (Family::Native, _) => edits.native(json, &mut cursor, undo)?,
        (Family::Ollama, _) => edits.ollama(json, &mut cursor, undo)?,
        (Family::Chat | Family::Completions, _) => edits.choices(json, &mut cursor, undo)?,
    }
    if edits.spans.is_empty() {
        return None;
    }
    let (mut out, mut at) = (String::with_capacity(json.len()), 0);
    for (start, end, text) in &edits.spans {
        out.push_str(json.get(at..*start)?);
        out.push_str(text);
        at = *end;
    }
    out.push_str(json.get(at..)?);
    let vanishes = edits.answers > 0 && edits.silent == edits.answers;
    Some(Edited { json: out, taken: edits.taken, vanishes })
}

/// Passes an object and calls `each` with the name and place of every member.
fn members<'a>(cursor: &mut Cursor<'a>, mut each: impl FnMut(&'a str, Member) -> Option<()>) -> Option<()> {
    cursor.peek()?;
    let mut before = cursor.at() + 1;
    let mut is_first = true;
    cursor.object(|cursor, name| {
        cursor.peek()?;
        let value = cursor.at();
        cursor.skip()?;
        let end = cursor.at();
        let is_last = cursor.peek()? == b'}';
        each(name, Member { start: before, value, end, is_first, is_last })?;
        (before, is_first) = (end, false);
        Some(())
    })
}

impl Edits {
    /// `choices[].logprobs`, and what llama.cpp adds if it is asked to be verbose.
    fn choices<'a>(&mut self, json: &'a str, cursor: &mut Cursor<'a>, undo: &Undo) -> Option<()> {
        members(cursor, |name, place| match name {
            "choices" => Cursor::from(json, place.value).list(|cursor| self.choice(json, cursor, undo)),
            "__verbose" if json.as_bytes()[place.value] == b'{' => {
                let (taken, answers, silent) = (self.taken.len(), self.answers, self.silent);
                let native = Undo { family: Family::Native, ..undo.clone() };
                let done = self.native(json, &mut Cursor::from(json, place.value), &native);
                // The same decisions once more, and no answer of its own.
                self.taken.truncate(taken);
                (self.answers, self.silent) = (answers, silent);
                done
            }
            _ => Some(()),
        })
    }

    fn choice<'a>(&mut self, json: &'a str, cursor: &mut Cursor<'a>, undo: &Undo) -> Option<()> {
        let (mut index, mut logprobs, mut delta, mut finished) = (0, None, None, false);
        members(cursor, |name, place| {
            let value = &json[place.value..place.end];
            match name {
                "index" => index = value.parse().unwrap_or(0),
                "logprobs" => logprobs = Some(place),
                "delta" => delta = Some(value),
                "finish_reason" => finished = value != "null",
                _ => {}
            }
            Some(())
        })?;
        self.answers += 1;
        let Some(place) = logprobs else { return Some(()) };
        let value = &json[place.value..place.end];
        // Null, or what nobody would take for decisions.
        if !value.starts_with(['{', '[']) {
            return Some(());
        }
        let is_last = place.is_last;
        self.taken.push((index, content(value).unwrap_or(value).to_owned()));
        match undo.keep {
            Some(keep) => self.trim(json, place.value, keep)?,
            // Who writes the member only where there is something writes it last; the others have null in its place.
            None if is_last => self.remove(&place),
            None => self.spans.push((place.value, place.end, "null".into())),
        }
        let is_silent = undo.keep.is_none() && !finished && delta.is_some_and(|delta| says_nothing(delta, is_last));
        self.silent += usize::from(is_silent);
        Some(())
    }

    fn native<'a>(&mut self, json: &'a str, cursor: &mut Cursor<'a>, undo: &Undo) -> Option<()> {
        let (mut index, mut found) = (0, Vec::new());
        members(cursor, |name, place| {
            match name {
                "index" => index = json[place.value..place.end].parse().unwrap_or(0),
                "completion_probabilities" | "probs" => found.push((true, place)),
                "generation_settings" => found.push((false, place)),
                _ => {}
            }
            Some(())
        })?;
        self.answers += 1;
        for (is_decisions, place) in found {
            if !is_decisions {
                members(&mut Cursor::from(json, place.value), |name, place| {
                    if name == "n_probs" {
                        self.spans.push((place.value, place.end, undo.n_probs.clone()));
                    }
                    Some(())
                })?;
                continue;
            }
            self.taken.push((index, json[place.value..place.end].to_owned()));
            match undo.keep {
                Some(keep) => self.trim(json, place.value, keep)?,
                None => self.remove(&place),
            }
        }
        Some(())
    }

    fn ollama<'a>(&mut self, json: &'a str, cursor: &mut Cursor<'a>, undo: &Undo) -> Option<()> {
        let (mut found, mut speaks, mut done) = (None, false, false);
        members(cursor, |name, place| {
            let value = &json[place.value..place.end];
            match name {
                "logprobs" => found = Some(place),
                "message" => speaks |= !says_nothing(value, true),
                "response" | "thinking" => speaks |= value != "\"\"",
                "done" => done = value == "true",
                _ => {}
            }
            Some(())
        })?;
        self.answers += 1;
        let Some(place) = found else { return Some(()) };
        self.taken.push((0, json[place.value..place.end].to_owned()));
        match undo.keep {
            Some(keep) => self.trim(json, place.value, keep)?,
            None => self.remove(&place),
        }
        self.silent += usize::from(undo.keep.is_none() && !speaks && !done);
        Some(())
    }

    fn remove(&mut self, place: &Member) {
        // The first one has its comma behind it, unless it is the only one.
        let comma = usize::from(place.is_first && !place.is_last);
        self.spans.push((place.start, place.end + comma, String::new()));
    }

    /// Leaves so many of the alternatives of each decision, which are sorted.
    fn trim(&mut self, json: &str, at: usize, keep: usize) -> Option<()> {
        let mut cursor = Cursor::from(json, at);
        if cursor.peek()? == b'[' {
            return cursor.list(|cursor| self.trim_one(json, cursor, keep));
        }
        members(&mut cursor, |name, place| match name {
            "content" | "refusal" if json.as_bytes()[place.value] == b'[' => {
                Cursor::from(json, place.value).list(|cursor| self.trim_one(json, cursor, keep))
            }
            _ => Some(()),
        })
    }

    fn trim_one<'a>(&mut self, json: &'a str, cursor: &mut Cursor<'a>, keep: usize) -> Option<()> {
        members(cursor, |name, place| {
            if !matches!(name, "top_logprobs" | "top_probs" | "probs") {
                return Some(());
            }
            let (mut list, mut seen, mut end) = (Cursor::from(json, place.value), 0, place.value + 1);
            list.list(|cursor| {
                cursor.skip()?;
                seen += 1;
                if seen == keep {
                    end = cursor.at();
                }
                Some(())
            })?;
            if seen > keep {
                self.spans.push((end, place.end - 1, String::new()));
            }
            Some(())
        })
    }
}

/// The list in an object of decisions that has one.
fn content(value: &str) -> Option<&str> {
    let mut list = None;
    Cursor::new(value).object(|cursor, name| {
        let value = cursor.skip()?;
        if name == "content" && value.starts_with('[') {
            list = Some(value);
        }
        Some(())
    })?;
    list
}

/// True if a message, or what is new of one, has nothing in it but a role, or also empty texts if these do not count.
fn says_nothing(message: &str, empty_is_nothing: bool) -> bool {
    let mut is_empty = true;
    let read = Cursor::new(message).object(|cursor, name| {
        let value = cursor.skip()?;
        is_empty &= empty_is_nothing && (name == "role" || matches!(value, "\"\"" | "null" | "[]"));
        Some(())
    });
    read.is_some() && is_empty
}
