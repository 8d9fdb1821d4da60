//! An answer that is generated in this process.

use onrecord_proof::Record;
use serde_json::{Value, json, value::to_raw_value};

use crate::answer::{Answer, Kind, Usage};
use crate::{Candidate, Limits, Token};

/// An answer that a model in the same process generates, token by token. The fields are those of a streamed answer: its
/// text, every decision with what else could have been chosen, and when each came.
///
/// ```
/// use onrecord_capture::{Candidate, Generated, Limits, Token};
/// use onrecord_proof::{Kind, Record, field};
///
/// let yes = Candidate { id: Some(7), text: "Yes".into(), logprob: Some(-0.25), ..Candidate::default() };
/// let no = Candidate { id: Some(8), text: "No".into(), logprob: Some(-1.5), ..Candidate::default() };
/// let token = Token { chosen: yes.clone(), alternatives: vec![yes, no], ..Token::default() };
///
/// let mut answer = Generated::new(Limits::default());
/// answer.push(&token, "Yes", 1200);
///
/// let mut record = Record::new(uuid::Uuid::now_v7(), Kind::Interaction, 0, [0; 32]);
/// answer.finish("eos", 12, &mut record);
/// assert_eq!(record.text(&field::OUTPUT_TEXT), Some("Yes"));
/// assert_eq!(record.int(&field::DECISION_COUNT), Some(1));
/// ```
pub struct Generated {
    answer: Answer,
    tokens: i64,
}

impl Generated {
    /// An empty answer, of which [`Limits::body`] bytes are kept at most.
    pub fn new(limits: Limits) -> Self {
        Self { answer: Answer::new(limits.body), tokens: 0 }
    }

    /// Takes the next token, which was chosen `at_us` microseconds after the call began, and what it adds to the text:
    /// nothing of one that ends the answer, or whose bytes are no whole character yet. Of several answers
    /// [`Token::choice`] tells which one; position and time are not looked at.
    pub fn push(&mut self, token: &Token, text: &str, at_us: i64) {
        self.tokens += 1;
        self.answer.at(at_us);
        let index = i64::try_from(token.choice).unwrap_or(i64::MAX);
        let Some((message, budget)) = self.answer.message(index) else { return };
        message.decisions.push(&decision(token).to_string(), budget);
        if message.say(Kind::Text, text, budget) {
            self.answer.spoke(at_us);
        }
    }

    /// Appends text to the answer of that number that belongs to no new token, such as what was held back.
    pub fn push_text(&mut self, choice: usize, text: &str) {
        let index = i64::try_from(choice).unwrap_or(i64::MAX);
        if let Some((message, budget)) = self.answer.message(index) {
            message.say(Kind::Text, text, budget);
        }
    }

    /// Records the answer to `input_tokens` tokens. `reason` says why it ended, in a word that model servers use: `eos`,
    /// `stop_sequence`, `length`, `tool_calls`, `cancelled`.
    pub fn finish(mut self, reason: &str, input_tokens: i64, record: &mut Record) {
        // Whatever was said has been said: the last token has come.
        self.answer.at(0);
        let choices: Vec<_> = self.answer.indexes().collect();
        for index in choices {
            if let (Some((message, budget)), Ok(reason)) = (self.answer.message(index), to_raw_value(reason)) {
                message.finish(&reason, budget);
            }
        }
        self.answer.usage.set(&Usage { input: Some(input_tokens), output: Some(self.tokens), ..Usage::default() });
        self.answer.record_stream(record);
        self.answer.record_facts("client", record);
    }
}

/// A decision in the form that is read again: OpenAI's, with the ids that llama.cpp adds.
fn decision(token: &Token) -> Value {
    let mut decision = candidate(&token.chosen);
    decision["top_logprobs"] = token.alternatives.iter().map(candidate).collect();
    decision
}

fn candidate(one: &Candidate) -> Value {
    json!({ "id": one.id, "token": one.text, "bytes": one.bytes, "logprob": one.logprob })
}

#[cfg(test)]
mod tests {
    use onrecord_proof::{Kind as RecordKind, field};
    use uuid::Uuid;

    use super::*;
    use crate::StoredDecisions;

    fn record() -> Record {
        Record::new(Uuid::nil(), RecordKind::Interaction, 0, [0; 32])
    }

    fn token(id: i64, bytes: &[u8], logprob: f64) -> Token {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let chosen = Candidate { id: Some(id), text, bytes: Some(bytes.into()), logprob: Some(logprob) };
        let other = Candidate { id: Some(99), text: "\"".into(), bytes: None, logprob: Some(-3.0) };
        Token { alternatives: vec![chosen.clone(), other], chosen, ..Token::default() }
    }

    #[test]
    fn what_was_decided_is_read_again() {
        let (mut answer, mut record) = (Generated::new(Limits::default()), record());
        let tokens = [token(1, b"A", -0.5), token(2, &[0xc3], -0.25), token(3, &[0xbc], -0.25), token(0, b"", -0.125)];
        for (at, (token, text)) in (1_i64..).zip(tokens.iter().zip(["A", "", "ü", ""])) {
            answer.push(token, text, 100 * at);
        }
        answer.push_text(0, "!");
        answer.finish("eos", 5, &mut record);
        assert_eq!(record.text(&field::OUTPUT_TEXT), Some("Aü!"));
        for (field, value) in [
            (&field::DECISION_COUNT, 4),
            (&field::OUTPUT_TOKENS, 4),
            (&field::INPUT_TOKENS, 5),
            (&field::FIRST_TOKEN, 100),
        ] {
            assert_eq!(record.int(field), Some(value), "{}", field.name);
        }
        assert_eq!(record.get(&field::STOP_REASONS).unwrap().as_array().unwrap()[0].as_text(), Some("eos"));
        let bytes = |field| record.get(field).and_then(onrecord_proof::Value::as_bytes);
        let stored = StoredDecisions {
            logprobs: bytes(&field::LOGPROBS),
            times: bytes(&field::TOKEN_TIMES),
            messages: bytes(&field::OUTPUT_MESSAGES),
            ..StoredDecisions::default()
        };
        let expect: Vec<_> = (0..)
            .zip(tokens)
            .map(|(position, token)| Token { position, time_us: Some(100 * (position as i64 + 1)), ..token })
            .collect();
        assert_eq!(stored.tokens(), expect);
    }

    #[test]
    fn an_answer_without_a_token_is_one_that_was_cut() {
        let mut record = record();
        Generated::new(Limits::default()).finish("cancelled", 3, &mut record);
        assert_eq!((record.int(&field::OUTPUT_TOKENS), record.text(&field::OUTPUT_TEXT)), (Some(0), None));
        let mut cut = Generated::new(Limits { body: 700, ..Limits::default() });
        (0..100).for_each(|at| cut.push(&token(at, b"word ", -0.5), "word ", at));
        cut.finish("length", 3, &mut record);
        assert_eq!(record.get(&field::OUTPUT_TRUNCATED).and_then(onrecord_proof::Value::as_bool), Some(true));
    }
}
