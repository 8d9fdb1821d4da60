//! The fields of a chat request.

use std::borrow::Cow;

use onrecord_proof::{Field, Record, Value, field};

use crate::RequestFacts;
use crate::json::{self, RawValue};

/// The members of `metadata`, or of the request itself, by which applications name a conversation.
const SESSIONS: [&str; 2] = ["session_id", "conversation_id"];

#[derive(Default)]
struct Members<'a> {
    facts: RequestFacts,
    limit: Option<i64>,
    older_limit: Option<i64>,
    messages: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    user: Option<Cow<'a, str>>,
    session: Option<Cow<'a, str>>,
}

/// Records what a request asks for, as far as it can be read.
pub(crate) fn request(json: &str, record: &mut Record) -> RequestFacts {
    let mut members = Members::default();
    // A request that is no JSON, or cut, is kept as it came; what stands before the error is worth having.
    let _ = json::members(json, |name, value| members.take(&name, value, record));
    members.record(record)
}

impl<'a> Members<'a> {
    fn take(&mut self, name: &str, value: &'a RawValue, record: &mut Record) {
        match name {
            "model" => self.facts.model = json::text(value).map(Into::into),
            "stream" => {
                self.facts.stream = json::boolean(value).unwrap_or(false);
                set(record, &field::STREAM, json::boolean(value));
            }
            "messages" => self.messages = Some(value),
            "metadata" => self.metadata = Some(value),
            "user" => self.user = json::non_empty(value),
            "max_completion_tokens" => self.limit = json::int(value),
            "max_tokens" => self.older_limit = json::int(value),
            "temperature" => set(record, &field::TEMPERATURE, json::float(value)),
            "top_p" => set(record, &field::TOP_P, json::float(value)),
            "top_k" => set(record, &field::TOP_K, json::float(value)),
            "n" => set(record, &field::CHOICE_COUNT, json::int(value)),
            "seed" => set(record, &field::SEED, json::int(value)),
            "stop" => set(record, &field::STOP_SEQUENCES, texts(value)),
            "frequency_penalty" => set(record, &field::FREQUENCY_PENALTY, json::float(value)),
            "presence_penalty" => set(record, &field::PRESENCE_PENALTY, json::float(value)),
            name if SESSIONS.contains(&name) => self.session = json::non_empty(value),
            _ => {}
        }
    }

    fn record(self, record: &mut Record) -> RequestFacts {
        set(record, &field::REQUEST_MODEL, self.facts.model.clone());
        set(record, &field::MAX_TOKENS, self.limit.or(self.older_limit));
        set(record, &field::INPUT_TEXT, self.messages.and_then(last_text));
        let session = self.metadata.and_then(session).or(self.session);
        for (field, value) in [(&field::USER_ID, self.user), (&field::SESSION, session)] {
            // What came with the call, in a header say, was meant for the record and goes first.
            if record.get(field).is_none() {
                set(record, field, value.as_deref());
            }
        }
        self.facts
    }
}

fn set(record: &mut Record, field: &Field, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        record.set(field, value);
    }
}

fn session(metadata: &RawValue) -> Option<Cow<'_, str>> {
    SESSIONS.iter().find_map(|name| json::member_of(metadata, name).and_then(json::non_empty))
}

fn last_text(messages: &RawValue) -> Option<String> {
    let mut last = None;
    json::items(messages, |message| last = Some(message));
    let content = json::member_of(last?, "content")?;
    json::content_text(content, "\n").map(Into::into)
}

/// A text, or a list of nothing but texts.
fn texts(value: &RawValue) -> Option<Vec<Value>> {
    if let Some(text) = json::text(value) {
        return Some(vec![text.as_ref().into()]);
    }
    let mut texts = Some(Vec::new());
    json::items(value, |item| match (&mut texts, json::text(item)) {
        (Some(texts), Some(text)) => texts.push(text.as_ref().into()),
        _ => texts = None,
    });
    texts.filter(|_| value.get().starts_with('['))
}
