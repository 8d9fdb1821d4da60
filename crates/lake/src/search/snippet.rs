//! What of a record to show of a hit.

use std::ops::Range;

use super::brief::Brief;
use super::matcher::Finder;
use super::query::{Phrase, Query};
use super::text::{Document, Place};

/// Bytes to show, about, and how many of them before what was found.
const BYTES: usize = 180;
const BEFORE: usize = 50;
/// So many occurrences are looked at to find the best place.
const OCCURRENCES_MAX: usize = 200;

/// A piece of a record's text around what was searched for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snippet {
    /// What the text is of: `input`, `output`, `error` or `judgement`; empty if the record has no text.
    pub place: &'static str,
    /// The text in pieces, in order; true for what was searched for.
    pub pieces: Vec<(String, bool)>,
}

impl Snippet {
    /// As one text, with what was searched for between `«` and `»`.
    pub fn marked(&self) -> String {
        let mark = |(text, found): &(String, bool)| if *found { format!("«{text}»") } else { text.clone() };
        self.pieces.iter().map(mark).collect()
    }

    /// Where most of what was searched for stands together; if it is not about words, where the newest input begins.
    ///
    /// What a record adds to its conversation comes first: if that alone is a hit, the snippet is of it, else of any text of
    /// the record. `None` if it takes these.
    pub(super) fn of_brief(query: &Query, brief: &Brief) -> Option<Self> {
        let phrases = query.phrases();
        if phrases.is_empty() {
            return Self::newest_input(&brief.texts);
        }
        let mut found = vec![false; phrases.len()];
        let mut finder = Finder::new(&phrases);
        for (_, text) in &brief.texts {
            finder.find(text, |phrase, _| found[phrase] = true);
        }
        if covers(query, &mut found.into_iter()) { Self::best(&phrases, &brief.texts) } else { None }
    }

    /// The same of any text of a record.
    pub(super) fn of(query: &Query, document: &Document) -> Self {
        let best = Self::best(&query.phrases(), &document.texts).or_else(|| Self::newest_input(&document.texts));
        let last = || document.texts.last().map(|(place, text)| Self { place: place.name(), pieces: cut(text, &[]) });
        best.or_else(last).unwrap_or_default()
    }

    fn newest_input(texts: &[(Place, String)]) -> Option<Self> {
        let newest = texts.iter().rfind(|(place, _)| *place == Place::Input);
        newest.map(|(place, text)| Self { place: place.name(), pieces: cut(text, &[]) })
    }

    fn best(phrases: &[&Phrase], texts: &[(Place, String)]) -> Option<Self> {
        let mut best: Option<(usize, Place, &str, Vec<Range<usize>>)> = None;
        for (place, text) in texts {
            let found = occurrences(phrases, text);
            for (at, (_, first)) in found.iter().enumerate() {
                let near = found[at..].iter().take_while(|(_, range)| range.end <= first.start + BYTES - BEFORE);
                let mut kinds: Vec<_> = near.clone().map(|(phrase, _)| *phrase).collect();
                kinds.sort_unstable();
                kinds.dedup();
                // Of texts that are as good, the newest: it is what a call adds to its conversation.
                let is_better = |(most, _, in_text, _): &(usize, Place, &str, Vec<_>)| {
                    kinds.len() > *most || (kinds.len() == *most && !std::ptr::eq(*in_text, text.as_str()))
                };
                if best.as_ref().is_none_or(is_better) {
                    let ranges = near.map(|(_, range)| range.clone()).collect();
                    best = Some((kinds.len(), *place, text, ranges));
                }
            }
        }
        best.map(|(_, place, text, ranges)| Self { place: place.name(), pieces: cut(text, &ranges) })
    }
}

/// Whether what was found of the query's phrases, in their order, makes a hit of a record that is one for all else.
fn covers(query: &Query, found: &mut impl Iterator<Item = bool>) -> bool {
    match query {
        // Every part takes its phrases, so none may be passed over.
        Query::All(parts) => parts.iter().map(|part| covers(part, found)).fold(true, |all, part| all & part),
        Query::Any(parts) => parts.iter().map(|part| covers(part, found)).fold(false, |any, part| any | part),
        Query::Phrase(_) => found.next().unwrap_or(false),
        Query::Not(_) | Query::Exact { .. } => true,
    }
}

/// The first occurrences of the phrases, in order. The longer of two that begin at one place comes first.
fn occurrences(phrases: &[&Phrase], text: &str) -> Vec<(usize, Range<usize>)> {
    let mut found = Vec::new();
    Finder::new(phrases).find(text, |phrase, range| {
        if found.len() < OCCURRENCES_MAX {
            found.push((phrase, range));
        }
    });
    found.sort_by_key(|(_, range)| (range.start, std::cmp::Reverse(range.end)));
    found
}

/// The text around `ranges`, which are in order; they may overlap.
fn cut(text: &str, ranges: &[Range<usize>]) -> Vec<(String, bool)> {
    let begin = match ranges.first() {
        Some(range) => text.floor_char_boundary(range.start.saturating_sub(BEFORE)),
        None => text.len() - text.trim_start().len(),
    };
    let last = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    let end = text.ceil_char_boundary((begin + BYTES).max(last).min(text.len()));
    let mut pieces = Vec::new();
    let mut push = |text: &str, found| {
        if !text.is_empty() {
            pieces.push((one_line(text), found));
        }
    };
    push(if text[..begin].trim_start().is_empty() { "" } else { "…" }, false);
    let mut at = begin;
    for range in ranges {
        if range.end > at {
            push(&text[at..range.start.max(at)], false);
            push(&text[range.start.max(at)..range.end], true);
            at = range.end;
        }
    }
    push(&text[at..end], false);
    push(if end < text.len() { "…" } else { "" }, false);
    pieces
}

/// Each run of white space as one space.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if !c.is_whitespace() {
            line.push(c);
        } else if !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snippet(query: &str, texts: &[&str]) -> String {
        let texts = texts.iter().map(|text| (Place::Input, (*text).to_owned())).collect();
        Snippet::of(&Query::parse(query).unwrap(), &Document { texts, exact: Vec::new() }).marked()
    }

    #[test]
    fn snippets_show_what_was_found() {
        let far = format!("{} a Refund\n\n of what was late. {}", "x ".repeat(100), "y ".repeat(200));
        let shown = snippet("refund late", &["a refund", &far]);
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.len() < 220, "{shown}");
        assert!(shown.contains("a «Refund» of what was «late». y"), "{shown}");
        assert_eq!(snippet("\"a b\" OR b", &["é a b é"]), "é «a b» é");
        assert_eq!(snippet("京都", &["東京都"]), "東«京都»");
        assert_eq!(snippet("a", &["a b", "of a, and a", "c"]), "of «a», and «a»");
        assert_eq!(snippet("-x", &["old", "\n new"]), "new");
        assert_eq!(snippet("-x", &[]), "");
    }

    proptest! {
        #[test]
        fn any_text_can_be_cut(text in "[aé退 ]{0,400}") {
            let shown = snippet("a OR \"é 退\" OR 退*", &[&text]);
            prop_assert!(shown.len() < 1200);
        }
    }
}
