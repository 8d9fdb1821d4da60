//! Whether one record is a hit, from its contents alone. Rows that no index covers are searched by this; an index gives
//! what this would.
//!
//! The score of a hit depends on the query and the record alone, not on what else is there: so it is the same before
//! and after sealing, and does not change when other records are disposed of. It is the term-frequency part of BM25
//! (Robertson and Zaragoza, 2009), with a fixed length in place of the average one, summed over the phrases found.

use std::ops::Range;

use super::query::{Phrase, Query};
use super::text::Document;
use super::words::words;

/// How soon further occurrences stop to count, and how much the length of a record does.
const K1: f32 = 1.2;
const B: f32 = 0.5;
/// Words of a record whose length counts neither for nor against it.
const USUAL_WORDS: f32 = 256.0;

/// What a phrase adds to the score of a record of `length` words that has it `count` times.
pub(super) fn score(phrase: &Phrase, count: u32, length: u32) -> f32 {
    let count = count as f32;
    let weight = phrase.words.len() as f32;
    weight * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length as f32 / USUAL_WORDS))
}

/// The score of the record if it is a hit.
pub(super) fn matches(query: &Query, document: &Document) -> Option<f32> {
    let phrases = query.phrases_everywhere();
    let mut finder = Finder::new(&phrases);
    let mut counts = vec![0; phrases.len()];
    let mut length = 0;
    for (_, text) in &document.texts {
        length += finder.find(text, |phrase, _| counts[phrase] += 1);
    }
    evaluate(query, document, &mut counts.iter(), length)
}

/// Takes the counts of the query's phrases in their order.
fn evaluate<'a>(
    query: &Query,
    document: &Document,
    counts: &mut impl Iterator<Item = &'a u32>,
    length: u32,
) -> Option<f32> {
    match query {
        Query::All(parts) => {
            // Every part takes its counts, so none may be passed over.
            let parts: Vec<_> = parts.iter().map(|part| evaluate(part, document, counts, length)).collect();
            parts.into_iter().try_fold(0.0, |sum, part| Some(sum + part?))
        }
        Query::Any(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| evaluate(part, document, counts, length)).collect();
            parts.into_iter().flatten().reduce(|sum, part| sum + part)
        }
        Query::Not(part) => evaluate(part, document, counts, length).is_none().then_some(0.0),
        Query::Phrase(phrase) => {
            let count = *counts.next()?;
            (count > 0).then(|| score(phrase, count, length))
        }
        Query::Exact { term, prefix } => {
            let is = |have: &Vec<u8>| if *prefix { have.starts_with(term) } else { have == term };
            document.exact.iter().any(is).then_some(0.0)
        }
    }
}

impl Query {
    /// Every phrase, also the negated ones.
    fn phrases_everywhere(&self) -> Vec<&Phrase> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::phrases_everywhere).collect(),
            Self::Not(part) => part.phrases_everywhere(),
            Self::Phrase(phrase) => vec![phrase],
            Self::Exact { .. } => Vec::new(),
        }
    }
}

/// Finds the occurrences of several phrases in one pass over a text.
pub(super) struct Finder<'a> {
    phrases: &'a [&'a Phrase],
    /// Of each phrase the occurrences that have begun: how many words of it were seen, and where the first one is.
    begun: Vec<Vec<(usize, usize)>>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(phrases: &'a [&'a Phrase]) -> Self {
        Self { phrases, begun: vec![Vec::new(); phrases.len()] }
    }

    /// Calls `each` with the number of a phrase and the bytes of `text` where it is. Gives the number of words.
    pub(super) fn find(&mut self, text: &str, mut each: impl FnMut(usize, Range<usize>)) -> u32 {
        self.begun.iter_mut().for_each(Vec::clear);
        let mut length = 0;
        words(text, |word, range| {
            length += 1;
            for (number, phrase) in self.phrases.iter().enumerate() {
                let begun = &mut self.begun[number];
                begun.push((0, range.start));
                begun.retain_mut(|(seen, start)| {
                    if !phrase.has(*seen, word) {
                        return false;
                    }
                    *seen += 1;
                    if *seen == phrase.words.len() {
                        each(number, *start..range.end);
                    }
                    *seen < phrase.words.len()
                });
            }
        });
        length
    }
}

impl Phrase {
    fn has(&self, at: usize, word: &str) -> bool {
        let wanted = &self.words[at];
        if self.prefix && at + 1 == self.words.len() { word.starts_with(wanted) } else { word == wanted }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::Place;
    use super::*;

    fn check(query: &str, text: &str, expected: bool) {
        let document = Document { texts: vec![(Place::Input, text.into())], exact: vec![b"model\0qwen2".to_vec()] };
        assert_eq!(matches(&Query::parse(query).unwrap(), &document).is_some(), expected, "{query} in {text}");
    }

    #[test]
    fn hits_and_misses() {
        let text = "The refund for order 17 is late; la la la land. 東京都に住む";
        for query in [
            "REFUND late",
            "refund -spam",
            "\"order 17\" OR nothing",
            "\"la la land\"",
            "ref*",
            "\"order 1\"*",
            "京都",
            "model:qwen2 -model:qwen",
            "model:qwen*",
            "-nothing",
        ] {
            check(query, text, true);
        }
        for query in ["refunds", "refund -late", "\"order is\"", "\"la la la la\"", "efund*", "都京", "model:qwen"] {
            check(query, text, false);
        }
    }

    #[test]
    fn a_phrase_does_not_span_two_texts() {
        let texts = ["first half", "second half"].map(|text| (Place::Input, text.to_owned()));
        let document = Document { texts: texts.into(), exact: Vec::new() };
        assert_eq!(matches(&Query::parse("\"half second\"").unwrap(), &document), None);
    }

    #[test]
    fn more_of_it_and_less_around_it_scores_higher() {
        let of = |text: &str| {
            let document = Document { texts: vec![(Place::Input, text.into())], exact: Vec::new() };
            matches(&Query::parse("a").unwrap(), &document).unwrap()
        };
        assert!(of("a a b") > of("a b b") && of("a b") > of(&format!("a {}", "b ".repeat(500))));
    }
}
