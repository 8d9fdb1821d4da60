//! The decisions of a call that is on record.

use super::collected::take_varint;
use super::{Candidate, Token, read_items};
use crate::answer::Answer;
use crate::scan::Cursor;
use crate::{Dialect, coding, json};

/// Decoded bytes of one body at most.
const BODY_MAX: usize = 256 << 20;

/// What of a record its token decisions are read from.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoredDecisions<'a> {
    /// `onrecord.dialect`.
    pub dialect: &'a str,
    /// `onrecord.decisions.logprobs`.
    pub logprobs: Option<&'a [u8]>,
    /// `onrecord.decisions.times`.
    pub times: Option<&'a [u8]>,
    /// `onrecord.output.body`, which has the decisions of an answer that is no stream.
    pub body: Option<&'a [u8]>,
    /// `onrecord.output.content_encoding`.
    pub encoding: Option<&'a str>,
    /// `gen_ai.output.messages`, which has the token ids of a stream.
    pub messages: Option<&'a [u8]>,
}

/// The items of each answer, and the ids of its tokens.
type Lists = Vec<(String, Vec<i64>)>;

impl StoredDecisions<'_> {
    /// Every token of the output whose id or decision is known, answer by answer.
    pub fn tokens(&self) -> Vec<Token> {
        let lists = match self.logprobs {
            Some(logprobs) => self.of_stream(&json::utf8(logprobs)),
            None if self.messages.is_some() => self.of_stream("[]"),
            None => self.of_body().unwrap_or_default(),
        };
        let mut times = self.times.unwrap_or_default();
        let mut all = Vec::new();
        for (choice, (items, ids)) in lists.iter().enumerate() {
            let start = all.len();
            read_items(items, |token| all.push(token));
            let known = all.len() > start;
            if !known {
                let of = |id: &i64| Candidate { id: Some(*id), ..Candidate::default() };
                all.extend(ids.iter().map(|id| Token { chosen: of(id), ..Token::default() }));
            }
            finish(choice, &mut all[start..], ids, &times_of(&mut times, known));
        }
        all
    }

    fn of_stream(&self, logprobs: &str) -> Lists {
        let mut lists = answers(logprobs);
        let messages = self.messages.map(json::utf8).unwrap_or_default();
        let mut ids = Vec::new();
        let _ = Cursor::new(&messages).list(|cursor| {
            ids.push(message_ids(cursor.skip()?));
            Some(())
        });
        let len = lists.len().max(ids.len());
        lists.resize(len, String::new());
        ids.resize(len, Vec::new());
        lists.into_iter().zip(ids).collect()
    }

    fn of_body(&self) -> Option<Lists> {
        let dialect = Dialect::ALL.iter().find(|dialect| dialect.name() == self.dialect)?;
        let body = coding::decode(self.encoding, self.body?, BODY_MAX).ok()?;
        let mut answer = Answer::new(usize::MAX);
        dialect.wire()?.whole(&json::utf8(&body), &mut answer).ok()?;
        Some(answer.messages().map(|message| (message.decisions.items().into(), message.token_ids.numbers())).collect())
    }
}

/// The items of each answer: a list of lists, or of one answer its list.
fn answers(logprobs: &str) -> Vec<String> {
    let inside = |list: &str| list.trim().strip_prefix('[')?.strip_suffix(']').map(str::to_owned);
    let mut lists = Vec::new();
    let mut is_nested = false;
    let _ = Cursor::new(logprobs).list(|cursor| {
        let item = cursor.skip()?;
        is_nested |= item.starts_with('[');
        lists.extend(inside(item));
        Some(())
    });
    if is_nested { lists } else { inside(logprobs).into_iter().collect() }
}

fn message_ids(message: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    let _ = Cursor::new(message).object(|cursor, name| match name {
        "extra" => cursor.object(|cursor, name| {
            let value = cursor.skip()?;
            if name == "token_ids" {
                ids = serde_json::from_str(value).unwrap_or_default();
            }
            Some(())
        }),
        _ => cursor.skip().map(drop),
    });
    ids
}

/// When each token of the next answer came. Where no decision is known an event stands for one token.
fn times_of(times: &mut &[u8], known: bool) -> Vec<i64> {
    let mut all = Vec::new();
    let len = take_varint(times).and_then(|len| usize::try_from(len).ok()).unwrap_or(0).min(times.len());
    let (mut own, rest) = times.split_at(len);
    *times = rest;
    let mut at = 0_i64;
    while let (Some(later), Some(count)) = (take_varint(&mut own), take_varint(&mut own)) {
        at = at.saturating_add(i64::try_from(later).unwrap_or(i64::MAX));
        // A token takes some bytes of an answer that has a limit, so a larger count is none.
        let count = if known { count.min(1 << 20) } else { count.clamp(1, 1 << 20) };
        all.extend(std::iter::repeat_n(at, count as usize));
    }
    all
}

/// Adds what stands elsewhere, where it is of as many tokens.
fn finish(choice: usize, tokens: &mut [Token], ids: &[i64], times: &[i64]) {
    let has_ids = ids.len() == tokens.len();
    let has_times = times.len() == tokens.len();
    for (position, token) in tokens.iter_mut().enumerate() {
        (token.choice, token.position) = (choice, position);
        token.time_us = times.get(position).copied().filter(|_| has_times);
        token.chosen.id = token.chosen.id.or(ids.get(position).copied().filter(|_| has_ids));
    }
}
