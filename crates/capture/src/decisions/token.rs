//! One token decision, in whatever shape a server tells of it.
//!
//! OpenAI and all who speak like it: `{token, logprob, bytes, top_logprobs}`, llama.cpp with `id`, or with `prob` and
//! `top_probs` after sampling, and in older versions `{content, probs: [{tok_str, prob}]}`. Text Generation Inference:
//! `{id, text, logprob, top_tokens}`. SGLang: lists of logprob, id and text. Legacy completions: lists side by side, the alternatives as `{text: logprob}`.

use std::borrow::Cow;

use crate::json;
use crate::scan::Cursor;

/// What vLLM sends for a log-probability that it does not have (it stands for minus infinity).
const MISSING: f64 = -9999.0;
/// No logarithm of a probability is above zero, but for what rounding makes of certainty. What is far above is none.
const ROUNDING: f64 = 1e-3;
/// What stands before an id where vLLM gives ids for texts (`return_tokens_as_token_ids`).
const ID_PREFIX: &str = "token_id:";

/// A token that was or could have been chosen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidate {
    /// Its number in the model's vocabulary.
    pub id: Option<i64>,
    /// Its text, as the server tells it.
    pub text: String,
    /// Its bytes, which need not be whole characters.
    pub bytes: Option<Vec<u8>>,
    /// Natural logarithm of its probability; `None` if the server does not have it.
    pub logprob: Option<f64>,
}

/// One decision: the token that was chosen, and what else could have been.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Token {
    /// Which answer it belongs to, counted from 0 in the order of their numbers.
    pub choice: usize,
    /// Which of the answer's tokens it is, counted from 0.
    pub position: usize,
    /// What was chosen.
    pub chosen: Candidate,
    /// The likeliest tokens, the chosen one among them or not.
    pub alternatives: Vec<Candidate>,
    /// When it came, in microseconds after the request's head; only of streams.
    pub time_us: Option<i64>,
}

impl Token {
    /// The probabilities of all that are known, the chosen one once.
    fn probabilities(&self) -> impl Iterator<Item = f64> {
        let is_chosen = |other: &Candidate| match (self.chosen.id, other.id) {
            (Some(chosen), Some(other)) => chosen == other,
            _ => self.chosen.text == other.text && self.chosen.bytes == other.bytes,
        };
        let chosen = (!self.alternatives.iter().any(is_chosen)).then_some(&self.chosen);
        chosen.into_iter().chain(&self.alternatives).filter_map(|token| token.logprob).map(f64::exp)
    }

    /// Entropy in nats, over the tokens that are known and the rest of the vocabulary as if it were one token: a lower
    /// bound of the model's. `None` without alternatives.
    pub fn entropy(&self) -> Option<f64> {
        if self.alternatives.is_empty() {
            return None;
        }
        let sum: f64 = self.probabilities().sum();
        let scale = sum.max(1.0);
        let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
        let known: f64 = self.probabilities().map(|p| term(p / scale)).sum();
        Some(known + term((1.0 - sum / scale).max(0.0)))
    }

    /// How much more probable the likeliest token is than the second one, from 0 to 1.
    pub fn margin(&self) -> Option<f64> {
        let (mut first, mut second) = (None, None);
        for p in self.probabilities() {
            if first.is_none_or(|first| p > first) {
                second = first.replace(p);
            } else if second.is_none_or(|second| p > second) {
                second = Some(p);
            }
        }
        Some((first? - second?).clamp(0.0, 1.0))
    }
}

/// Reads the items of a list, with commas between them; what is no decision is passed over.
pub(crate) fn read_items(items: &str, mut each: impl FnMut(Token)) {
    let list = format!("[{items}]");
    let _ = Cursor::new(&list).list(|cursor| {
        let item = cursor.skip()?;
        if item.contains("\"token_logprobs\"") {
            legacy(item, &mut each);
        } else if item.starts_with('{') {
            decision(item).into_iter().for_each(&mut each);
        }
        Some(())
    });
}

fn decision(item: &str) -> Option<Token> {
    let mut token = Token::default();
    Cursor::new(item).object(|cursor, name| match name {
        "top_logprobs" | "top_probs" | "probs" | "top_tokens" => {
            token.alternatives = candidates(cursor.skip()?);
            Some(())
        }
        "output_token_logprobs" => {
            token.chosen = triple(cursor.skip()?);
            Some(())
        }
        "output_top_logprobs" => cursor.list(|cursor| {
            token.alternatives.push(triple(cursor.skip()?));
            Some(())
        }),
        _ => member(&mut token.chosen, name, cursor),
    })?;
    let chosen = &mut token.chosen;
    // Older versions of llama.cpp tell the probability of the chosen token only among the others.
    if chosen.logprob.is_none() {
        chosen.logprob =
            token.alternatives.iter().find(|other| other.text == chosen.text).and_then(|same| same.logprob);
    }
    Some(token)
}

fn candidates(list: &str) -> Vec<Candidate> {
    let mut all = Vec::new();
    let _ = Cursor::new(list).list(|cursor| {
        let mut one = Candidate::default();
        cursor.object(|cursor, name| member(&mut one, name, cursor))?;
        all.push(one);
        Some(())
    });
    all
}

/// Logprob, id and text, in this order; the text is null unless it was asked for.
fn triple(list: &str) -> Candidate {
    let mut token = Candidate::default();
    let mut place = 0;
    let _ = Cursor::new(list).list(|cursor| {
        let value = cursor.skip()?;
        match place {
            0 => token.logprob = logprob(value),
            1 => token.id = value.parse().ok(),
            2 => token.text = text(value).into(),
            _ => {}
        }
        place += 1;
        Some(())
    });
    token
}

fn member(token: &mut Candidate, name: &str, cursor: &mut Cursor<'_>) -> Option<()> {
    let value = cursor.skip()?;
    match name {
        "id" => token.id = value.parse().ok(),
        "token" | "text" | "content" | "tok_str" => set_text(token, text(value)),
        "bytes" => token.bytes = serde_json::from_str(value).ok(),
        "logprob" => token.logprob = logprob(value),
        "prob" => token.logprob = value.parse().ok().map(f64::ln).filter(|value| is_logprob(*value)),
        _ => {}
    }
    Some(())
}

fn set_text(token: &mut Candidate, text: Cow<'_, str>) {
    match text.strip_prefix(ID_PREFIX).and_then(|id| id.parse().ok()) {
        Some(id) => token.id = Some(id),
        None => token.text = text.into(),
    }
}

fn text(value: &str) -> Cow<'_, str> {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => inner.into(),
        Some(_) => json::raw(value).and_then(json::text).unwrap_or_default(),
        None => Cow::default(),
    }
}

fn logprob(value: &str) -> Option<f64> {
    value.parse().ok().filter(|value| is_logprob(*value))
}

fn is_logprob(value: f64) -> bool {
    value > MISSING && value <= ROUNDING
}

/// Lists side by side.
fn legacy(item: &str, each: &mut impl FnMut(Token)) {
    let (mut texts, mut logprobs, mut tops) = (Vec::new(), Vec::new(), Vec::new());
    let _ = Cursor::new(item).object(|cursor, name| {
        let value = cursor.skip()?;
        let mut list = Cursor::new(value);
        let _ = match name {
            "tokens" => list.list(|item| {
                texts.push(text(item.skip()?));
                Some(())
            }),
            "token_logprobs" => list.list(|item| {
                logprobs.push(logprob(item.skip()?));
                Some(())
            }),
            "top_logprobs" => list.list(|item| {
                tops.push(item.skip()?);
                Some(())
            }),
            _ => None,
        };
        Some(())
    });
    let mut tops = tops.into_iter();
    for (at, text) in texts.into_iter().enumerate() {
        let mut token = Token::default();
        set_text(&mut token.chosen, text);
        token.chosen.logprob = logprobs.get(at).copied().flatten();
        let _ = Cursor::new(tops.next().unwrap_or_default()).object(|cursor, name| {
            let mut other = Candidate { logprob: logprob(cursor.skip()?), ..Candidate::default() };
            set_text(&mut other, self::text(&format!("\"{name}\"")));
            token.alternatives.push(other);
            Some(())
        });
        each(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(items: &str) -> Vec<Token> {
        let mut all = Vec::new();
        read_items(items, |token| all.push(token));
        all
    }

    #[test]
    fn every_shape_says_the_same() {
        for items in [
            r#"{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.5},{"token":"b","logprob":-1.5}]}"#,
            r#"{"id":7,"token":"a","bytes":[97],"prob":0.6065306597126334,"top_probs":[{"id":7,"token":"a","prob":0.6065306597126334},{"id":8,"token":"b","prob":0.22313016014842982}]}"#,
            r#"{"content":"a","probs":[{"tok_str":"a","prob":0.6065306597126334},{"tok_str":"b","prob":0.22313016014842982}]}"#,
            r#"{"id":7,"text":"a","logprob":-0.5,"special":false,"top_tokens":[{"id":7,"text":"a","logprob":-0.5},{"id":8,"text":"b","logprob":-1.5}]}"#,
            r#"{"output_token_logprobs":[-0.5,7,"a"],"output_top_logprobs":[[-0.5,7,"a"],[-1.5,8,"b"]]}"#,
            r#"{"text_offset":[0],"token_logprobs":[-0.5],"tokens":["a"],"top_logprobs":[{"a":-0.5,"b":-1.5}]}"#,
        ] {
            let [token] = &read(items)[..] else { panic!("{items}") };
            assert_eq!((token.chosen.text.as_str(), token.alternatives.len()), ("a", 2), "{items}");
            assert!((token.chosen.logprob.unwrap() + 0.5).abs() < 1e-9, "{items}");
            assert!((token.alternatives[1].logprob.unwrap() + 1.5).abs() < 1e-9, "{items}");
        }
    }

    #[test]
    fn what_is_missing_is_missing() {
        let tokens = read(
            r#"{"token":"token_id:42","logprob":-9999.0,"bytes":null,"top_logprobs":[]},3,{"token":"\u00fc\"","logprob":"x"},{"tokens":["a","b"],"token_logprobs":[null,-1]},{"output_token_logprobs":[null,9,null]},{"output_token_logprobs":7}"#,
        );
        assert_eq!((tokens.len(), tokens[0].chosen.id, tokens[0].chosen.logprob), (6, Some(42), None));
        assert_eq!(tokens[4].chosen, Candidate { id: Some(9), ..Candidate::default() });
        assert_eq!(tokens[5].chosen, Candidate::default());
        assert_eq!((tokens[1].chosen.text.as_str(), tokens[1].entropy(), tokens[1].margin()), ("ü\"", None, None));
        assert_eq!((tokens[2].chosen.logprob, tokens[3].chosen.logprob), (None, Some(-1.0)));
    }

    #[test]
    fn entropy_and_margin() {
        let of = |chosen: f64, others: &[f64]| Token {
            chosen: Candidate { text: "c".into(), logprob: Some(chosen.ln()), ..Candidate::default() },
            alternatives: others
                .iter()
                .enumerate()
                .map(|(n, p)| Candidate { text: n.to_string(), logprob: Some(p.ln()), ..Candidate::default() })
                .collect(),
            ..Token::default()
        };
        let near =
            |value: Option<f64>, expect: f64| assert!((value.unwrap() - expect).abs() < 1e-9, "{value:?} {expect}");
        near(of(0.5, &[0.25]).entropy(), 0.5 * 2_f64.ln() + 0.5 * 4_f64.ln());
        near(of(0.25, &[0.5, 0.125]).margin(), 0.25);
        near(of(0.8, &[0.4]).entropy(), -(2_f64 / 3.0).ln() * 2.0 / 3.0 - (1_f64 / 3.0).ln() / 3.0);
        assert_eq!(of(0.5, &[]).entropy(), None);
    }
}
