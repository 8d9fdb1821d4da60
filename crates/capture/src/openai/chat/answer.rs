//! An answer, put together from its chunks, or from the one that a whole answer is.

use std::collections::BTreeMap;

use onrecord_proof::{Record, Value, field};

use super::choice::{Choice, Extra};
use super::message;
use super::wire::{self, Chunk};
use crate::budget::Budget;
use crate::error::Failure;
use crate::json::{self, RawValue};

/// What one choice costs beside its texts.
const CHOICE_COST: usize = 512;

/// What the chunks of one answer add up to.
pub(super) struct Answer {
    budget: Budget,
    choices: BTreeMap<i64, Choice>,
    id: Option<String>,
    model: Option<String>,
    fingerprint: Option<String>,
    usage: Option<Usage>,
    timings: Option<String>,
    failure: Option<Failure>,
    first_token_us: Option<i64>,
    /// Unknown members of chunks that came before any choice.
    extra: Extra,
}

impl Answer {
    /// An empty answer, of which no more than `limit` bytes will be kept.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            budget: Budget::new(limit),
            choices: BTreeMap::new(),
            id: None,
            model: None,
            fingerprint: None,
            usage: None,
            timings: None,
            failure: None,
            first_token_us: None,
            extra: Extra::default(),
        }
    }

    pub(super) fn has_choices(&self) -> bool {
        !self.choices.is_empty()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// True if a choice says why it ended.
    pub(super) fn has_finished(&self) -> bool {
        self.choices.values().any(|choice| choice.finish_reason.is_some())
    }

    /// Takes one chunk, or a whole answer, that came `at_us` microseconds after the request's head.
    pub(super) fn take(&mut self, json: &str, at_us: i64) -> serde_json::Result<()> {
        let chunk = Chunk::read(json)?;
        self.take_head(&chunk);
        if let Some(error) = chunk.error {
            self.failure = Some(Failure::of(error));
        }
        let mut first = None;
        if let Some(choices) = chunk.choices {
            json::items(choices, |choice| first = first.or(self.take_choice(choice, at_us)));
        }
        // A member of a chunk goes with the choice that the chunk is about, or else with the first one.
        let first = first.or_else(|| self.choices.keys().next().copied());
        let extra = match first.and_then(|index| self.choices.get_mut(&index)) {
            Some(choice) => &mut choice.extra,
            None => &mut self.extra,
        };
        extra.set_all(&chunk.rest, &mut self.budget);
        if let Some(usage) = chunk.usage {
            extra.set("usage", usage, &mut self.budget);
        }
        Ok(())
    }

    /// Takes an error that is an event of its own.
    pub(super) fn fail(&mut self, json: &str) {
        self.failure = Some(Failure::of_body(json));
    }

    fn take_head(&mut self, chunk: &Chunk<'_>) {
        let heads = [
            (&mut self.id, chunk.id),
            (&mut self.model, chunk.model),
            (&mut self.fingerprint, chunk.system_fingerprint),
        ];
        for (known, new) in heads {
            if known.is_none() {
                *known = new.and_then(json::non_empty).filter(|text| self.budget.take(text.len())).map(Into::into);
            }
        }
        if let Some(usage) = chunk.usage.and_then(Usage::read) {
            self.usage = Some(usage);
        }
        if let Some(timings) = chunk.timings {
            self.take_timings(timings.get());
        }
    }

    fn take_timings(&mut self, new: &str) {
        let timings = self.timings.get_or_insert_default();
        if self.budget.exchange(timings.len(), new.len()) {
            timings.clear();
            timings.push_str(new);
        }
    }

    fn take_choice(&mut self, json: &RawValue, at_us: i64) -> Option<i64> {
        let new = wire::Choice::read(json.get()).ok()?;
        let index = new.index.and_then(json::int).unwrap_or(0);
        if !self.choices.contains_key(&index) && !self.budget.take(CHOICE_COST) {
            return None;
        }
        if self.choices.entry(index).or_default().take(&new, &mut self.budget) {
            self.first_token_us.get_or_insert(at_us);
        }
        Some(index)
    }

    /// Records what a stream adds up to, beside [its facts](Self::record_facts).
    pub(super) fn record_stream(&self, record: &mut Record) {
        if let Some(messages) = message::to_json(self.choices.values(), &self.extra) {
            record.set(&field::OUTPUT_MESSAGES, messages);
        }
        let decisions: Vec<_> = self.texts(|choice| &choice.logprobs).collect();
        if !decisions.is_empty() {
            record.set(&field::LOGPROBS, format!("[{}]", decisions.join(",")).into_bytes());
        }
        if let Some(at) = self.first_token_us {
            record.set(&field::FIRST_TOKEN, at);
        }
        if self.budget.is_cut() {
            record.set(&field::OUTPUT_TRUNCATED, true);
        }
    }

    /// Records what any answer says.
    pub(super) fn record_facts(self, stage: &'static str, record: &mut Record) {
        self.record_texts(record);
        let named = [
            (&field::RESPONSE_ID, self.id),
            (&field::RESPONSE_MODEL, self.model),
            (&field::FINGERPRINT, self.fingerprint),
        ];
        for (field, value) in named {
            if let Some(value) = value {
                record.set(field, value);
            }
        }
        if let Some(usage) = self.usage {
            usage.record(record);
        }
        if let Some(timings) = self.timings.filter(|timings| !timings.is_empty()) {
            record.set(&field::TIMINGS, timings.into_bytes());
        }
        if let Some(failure) = self.failure {
            // An error within an answer comes with a status that says all is well.
            failure.record(stage, 200, record);
        }
    }

    fn record_texts(&self, record: &mut Record) {
        let text: Vec<_> = self.texts(|choice| &choice.text).collect();
        let reasoning: Vec<_> = self.texts(|choice| &choice.reasoning).collect();
        for (field, texts) in [(&field::OUTPUT_TEXT, text), (&field::OUTPUT_REASONING, reasoning)] {
            if !texts.is_empty() {
                record.set(field, texts.join("\n"));
            }
        }
        if self.has_finished() {
            // One for each choice, so that the place tells the choice: one that was cut off has an empty one.
            let reason = |choice: &Choice| Value::from(choice.finish_reason.as_deref().unwrap_or_default());
            record.set(&field::FINISH_REASONS, self.choices.values().map(reason).collect::<Vec<_>>());
        }
    }

    fn texts(&self, of: impl Fn(&Choice) -> &str) -> impl Iterator<Item = &str> {
        self.choices.values().map(of).filter(|text| !text.is_empty())
    }
}

/// Tokens, as the server counts them.
struct Usage {
    input: Option<i64>,
    output: Option<i64>,
    cached: Option<i64>,
    reasoning: Option<i64>,
}

impl Usage {
    fn read(raw: &RawValue) -> Option<Self> {
        let member = |name| json::member_of(raw, name);
        let detail = |of, name| member(of).and_then(|details| json::member_of(details, name)).and_then(json::int);
        raw.get().starts_with('{').then(|| Self {
            input: member("prompt_tokens").and_then(json::int),
            output: member("completion_tokens").and_then(json::int),
            cached: detail("prompt_tokens_details", "cached_tokens"),
            reasoning: detail("completion_tokens_details", "reasoning_tokens"),
        })
    }

    fn record(&self, record: &mut Record) {
        let counts = [
            (&field::INPUT_TOKENS, self.input),
            (&field::OUTPUT_TOKENS, self.output),
            (&field::CACHED_TOKENS, self.cached),
            (&field::REASONING_TOKENS, self.reasoning),
        ];
        for (field, count) in counts {
            if let Some(count) = count {
                record.set(field, count);
            }
        }
    }
}
