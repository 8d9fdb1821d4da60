//! What an answer adds up to, in whatever dialect and however many pieces it came.

mod extra;
mod message;
mod output;
mod pace;
mod part;
pub(crate) mod stop;
mod usage;

use std::collections::BTreeMap;

use onrecord_proof::{Field, Record, Value, field};

pub(crate) use self::extra::Extra;
pub(crate) use self::message::Message;
pub(crate) use self::part::{Key, Kind};
pub(crate) use self::usage::{Counts, Usage};
use crate::budget::Budget;
use crate::error::Failure;
use crate::json::{self, RawValue};
use crate::timings;

/// What one message costs beside its texts.
const MESSAGE_COST: usize = 512;

/// An answer that is being received.
pub(crate) struct Answer {
    budget: Budget,
    messages: BTreeMap<i64, Message>,
    id: Option<String>,
    model: Option<String>,
    fingerprint: Option<String>,
    pub(crate) usage: Usage,
    timings: Option<String>,
    settings: Option<String>,
    failure: Option<Failure>,
    pace: pace::Pace,
    /// When the event came that is being read, and the message that it is about.
    now_us: i64,
    current: Option<i64>,
    /// Fields that only some dialects have.
    facts: Vec<(&'static Field, Value)>,
    /// It is what was asked for, though it has no message.
    is_understood: bool,
    /// Unknown members that came before any message.
    extra: Extra,
}

impl Answer {
    /// An empty answer, of which no more than `limit` bytes will be kept.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            budget: Budget::new(limit),
            messages: BTreeMap::new(),
            id: None,
            model: None,
            fingerprint: None,
            usage: Usage::default(),
            timings: None,
            settings: None,
            failure: None,
            pace: pace::Pace::default(),
            now_us: 0,
            current: None,
            facts: Vec::new(),
            is_understood: false,
            extra: Extra::default(),
        }
    }

    /// True if it says anything that an answer is asked for.
    pub(crate) fn is_answer(&self) -> bool {
        !self.messages.is_empty() || self.is_understood
    }

    /// Says that it is what was asked for, of calls whose answer is no message.
    pub(crate) const fn understand(&mut self) {
        self.is_understood = true;
    }

    pub(crate) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// True if a message says why it ended.
    pub(crate) fn has_finished(&self) -> bool {
        self.messages.values().any(|message| message.finish_reason.is_some())
    }

    /// Sets what the answer is called, if it has no id yet.
    pub(crate) fn set_id(&mut self, id: Option<&RawValue>) {
        keep_first(&mut self.id, id, &mut self.budget);
    }

    /// What the answer is called, once that is known.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Sets the model that answers, if it is not known yet.
    pub(crate) fn set_model(&mut self, model: Option<&RawValue>) {
        keep_first(&mut self.model, model, &mut self.budget);
    }

    /// Sets the server's fingerprint, if it is not known yet.
    pub(crate) fn set_fingerprint(&mut self, fingerprint: Option<&RawValue>) {
        keep_first(&mut self.fingerprint, fingerprint, &mut self.budget);
    }

    /// Takes the server's timings, of which the last ones count.
    pub(crate) fn set_timings(&mut self, timings: &str) {
        self.budget.set(&mut self.timings, timings);
    }

    /// Takes the sampling parameters that the server says are in force.
    pub(crate) fn set_settings(&mut self, settings: &str) {
        self.budget.set(&mut self.settings, settings);
    }

    /// Takes what the model read, where the server tells it: the text, and the numbers of its tokens.
    pub(crate) fn set_prompt(&mut self, text: Option<&RawValue>, ids: Option<&RawValue>) {
        let text = text.and_then(json::non_empty).map(|text| text.as_bytes().to_vec());
        let ids = ids.filter(|ids| ids.get().starts_with('[')).map(|ids| ids.get().as_bytes().to_vec());
        for (field, value) in [(&field::RENDERED_PROMPT, text), (&field::PROMPT_TOKEN_IDS, ids)] {
            let is_new = !self.facts.iter().any(|(have, _)| have.name == field.name);
            if let Some(value) = value.filter(|value| is_new && self.budget.take(value.len())) {
                self.set(field, value);
                self.set(&field::PROMPT_SOURCE, "reported");
            }
        }
    }

    /// Records a field that only some dialects have; the last value counts.
    pub(crate) fn set(&mut self, field: &'static Field, value: impl Into<Value>) {
        self.facts.retain(|(have, _)| have.name != field.name);
        self.facts.push((field, value.into()));
    }

    /// Takes an error.
    pub(crate) fn fail(&mut self, error: &RawValue) {
        self.failure = Some(Failure::of(error));
    }

    /// Takes an error that is all of an event.
    pub(crate) fn fail_with(&mut self, json: &str) {
        self.failure = Some(Failure::of_body(json));
    }

    /// Says that the model spoke, in the message that was asked for last.
    pub(crate) fn spoke(&mut self, at_us: i64) {
        self.pace.spoke(at_us);
        if let Some(message) = self.current.and_then(|index| self.messages.get_mut(&index)) {
            message.decisions.mark(at_us);
        }
    }

    /// Takes the decisions of a message that came at that time beside the answer, as they came.
    pub(crate) fn decided(&mut self, index: i64, decisions: &str, at_us: i64) {
        self.at(at_us);
        if let Some((message, budget)) = self.message(index) {
            message.decisions.push_beside(decisions, budget);
        }
    }

    /// An event begins, or has come, that came at that time.
    pub(crate) fn at(&mut self, at_us: i64) {
        self.mark_new();
        self.now_us = at_us;
    }

    /// Tokens that say nothing, such as the one that ends an answer, have come as well.
    fn mark_new(&mut self) {
        let message = self.current.and_then(|index| self.messages.get_mut(&index));
        if let Some(message) = message.filter(|message| message.decisions.has_new()) {
            message.decisions.mark(self.now_us);
        }
    }

    /// Every message, in the order of their numbers.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values()
    }

    /// The numbers of the messages.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = i64> {
        self.messages.keys().copied()
    }

    /// The message of that number, and what may still be kept; `None` if that does not allow another message.
    pub(crate) fn message(&mut self, index: i64) -> Option<(&mut Message, &mut Budget)> {
        if !self.messages.contains_key(&index) && !self.budget.take(MESSAGE_COST) {
            return None;
        }
        if self.current != Some(index) {
            self.mark_new();
            self.current = Some(index);
        }
        Some((self.messages.entry(index).or_default(), &mut self.budget))
    }

    /// Where unknown members go that came with the message of that number, or with none: to it, or to the first one.
    pub(crate) fn extra(&mut self, index: Option<i64>) -> (&mut Extra, &mut Budget) {
        let index = index.or_else(|| self.messages.keys().next().copied());
        let message = index.and_then(|index| self.messages.get_mut(&index));
        (message.map_or(&mut self.extra, |message| &mut message.extra), &mut self.budget)
    }

    /// Records what a stream adds up to, beside [its facts](Self::record_facts).
    pub(crate) fn record_stream(&mut self, record: &mut Record) {
        if let Some(messages) = output::to_json(self.messages.values(), &self.extra) {
            record.set(&field::OUTPUT_MESSAGES, messages);
        }
        self.record_decisions(record);
        self.record_times(record);
        self.pace.record(self.usage.output, record);
        if self.budget.is_cut() {
            record.set(&field::OUTPUT_TRUNCATED, true);
        }
    }

    /// Records token decisions as they came, which a body does not have that is not kept.
    pub(crate) fn record_decisions(&self, record: &mut Record) {
        let lists: Vec<_> = self.messages.values().map(|message| message.decisions.items()).collect();
        if lists.iter().any(|items| !items.is_empty()) {
            let lists = if lists.len() == 1 { lists.concat() } else { format!("[{}]", lists.join("],[")) };
            record.set(&field::LOGPROBS, format!("[{lists}]").into_bytes());
        }
    }

    /// Records when the tokens came.
    fn record_times(&mut self, record: &mut Record) {
        let mut times = Vec::new();
        self.messages.values_mut().for_each(|message| message.decisions.write_times(&mut times));
        if times.iter().any(|byte| *byte != 0) {
            record.set(&field::TOKEN_TIMES, times);
        }
    }

    /// Records what any answer says.
    pub(crate) fn record_facts(self, stage: &'static str, record: &mut Record) {
        self.record_texts(record);
        self.record_ends(record);
        let summaries = self.messages.values().map(|message| *message.decisions.summary());
        if let Some(summary) = summaries.reduce(|all, one| all.and(&one)) {
            summary.record(record);
        }
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
        self.usage.record(record);
        if let Some(json) = &self.timings {
            timings::record(json, record);
        }
        for (field, json) in [(&field::TIMINGS, self.timings), (&field::SAMPLING, self.settings)] {
            if let Some(json) = json.filter(|json| !json.is_empty()) {
                record.set(field, json.into_bytes());
            }
        }
        for (field, value) in self.facts {
            record.set(field, value);
        }
        if let Some(failure) = self.failure {
            // An error within an answer comes with a status that says all is well.
            failure.record(stage, 200, record);
        }
    }

    fn record_texts(&self, record: &mut Record) {
        let kinds: [(_, &[Kind]); 2] =
            [(&field::OUTPUT_TEXT, &[Kind::Text, Kind::Transcript]), (&field::OUTPUT_REASONING, &[Kind::Reasoning])];
        for (field, kinds) in kinds {
            let texts = self.messages.values().map(|message| message.texts(kinds));
            let texts: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
            if !texts.is_empty() {
                record.set(field, texts.join("\n"));
            }
        }
    }

    /// Records why each message ended, one for each, so that the place tells the message: one that was cut off, or not
    /// ended by a stop string, has an empty one.
    fn record_ends(&self, record: &mut Record) {
        type End = fn(&Message) -> Option<&str>;
        let may_stop = record.get(&field::STOP_SEQUENCES).is_some();
        if self.has_finished() {
            let reasons = self.messages.values().map(|message| Value::from(stop::reason(message, may_stop)));
            record.set(&field::STOP_REASONS, reasons.collect::<Vec<_>>());
        }
        let reason: End = |message| message.finish_reason.as_deref();
        let word: End = |message| message.stopped_by.as_deref().filter(|word| !word.is_empty());
        for (field, end) in [(&field::FINISH_REASONS, reason), (&field::STOPPED_BY, word)] {
            if self.messages.values().any(|message| end(message).is_some()) {
                let texts = self.messages.values().map(|message| Value::from(end(message).unwrap_or_default()));
                record.set(field, texts.collect::<Vec<_>>());
            }
        }
    }
}

fn keep_first(known: &mut Option<String>, new: Option<&RawValue>, budget: &mut Budget) {
    if known.is_none()
        && let Some(new) = new.and_then(json::non_empty)
    {
        budget.set(known, &new);
    }
}
