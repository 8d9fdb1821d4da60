//! What a request asks for. Each dialect says in a table which of its members mean what.

use std::borrow::Cow;

use onrecord_proof::{Field, Record, Shape, Value, field};

use super::{model, plugins};
use crate::RequestFacts;
use crate::json::{self, RawValue};

/// Members and the fields that they are recorded in. Of two members for one field the later in the table goes first.
pub(crate) type Names = &'static [(&'static str, &'static Field)];

/// How the text of the last input is found in a member.
type Reader = fn(&RawValue) -> Option<String>;

/// What nearly all dialects call alike.
pub(crate) const SAMPLING: Names = &[
    ("model", &field::REQUEST_MODEL),
    ("stream", &field::STREAM),
    ("temperature", &field::TEMPERATURE),
    ("top_p", &field::TOP_P),
    ("top_k", &field::TOP_K),
    ("n", &field::CHOICE_COUNT),
    ("seed", &field::SEED),
    ("stop", &field::STOP_SEQUENCES),
    ("frequency_penalty", &field::FREQUENCY_PENALTY),
    ("presence_penalty", &field::PRESENCE_PENALTY),
];

/// The members of `metadata`, or of the request itself, by which applications name a conversation.
const SESSIONS: [&str; 2] = ["session_id", "conversation_id"];
/// The members by which they name the end user.
const USERS: [&str; 2] = ["user", "safety_identifier"];

/// The requests of one dialect.
pub(crate) struct Asked {
    /// Members that it has for itself.
    pub(crate) parameters: Names,
    /// Members that it has in common with others.
    pub(crate) shared: Names,
    /// A member that is an object of parameters.
    pub(crate) within: Option<(&'static str, Names)>,
    /// Where the text of the last input is: in the first of these members that has one.
    pub(crate) input: &'static [(&'static str, Reader)],
    /// True if an answer is streamed unless it is asked for whole.
    pub(crate) streams: bool,
}

impl Asked {
    /// A request without a member that means anything.
    pub(crate) const NOTHING: Self = Self { parameters: &[], shared: &[], within: None, input: &[], streams: false };

    /// Records what a request asks for, as far as it can be read.
    pub(crate) fn read(&self, json: &str, record: &mut Record) -> RequestFacts {
        let mut known = Known::default();
        // A request that is no JSON, or cut, is kept as it came; what stands before the error is worth having.
        let _ = json::members(json, |name, value| {
            if self.wants(&name) {
                known.put(name, value);
            }
        });
        self.record(&known, record)
    }

    fn wants(&self, name: &str) -> bool {
        let listed = |names: Names| names.iter().any(|(have, _)| *have == name);
        listed(self.shared)
            || listed(self.parameters)
            || self.within.is_some_and(|(have, _)| have == name)
            || self.input.iter().any(|(have, _)| *have == name)
            || SESSIONS.contains(&name)
            || USERS.contains(&name)
            || ["metadata", "conversation"].contains(&name)
            || plugins::MEMBERS.contains(&name)
    }

    fn record(&self, known: &Known<'_>, record: &mut Record) -> RequestFacts {
        set_all(self.shared, known, record);
        set_all(self.parameters, known, record);
        if let Some((name, names)) = self.within {
            set_all(names, &Known::within(known.get(name), names), record);
        }
        if self.streams && record.get(&field::STREAM).is_none() {
            record.set(&field::STREAM, true);
        }
        let text = self.input.iter().find_map(|(name, read)| known.get(name).and_then(read));
        set(record, &field::INPUT_TEXT, text);
        known.record_people(record);
        plugins::record(known, record);
        RequestFacts {
            stream: record.get(&field::STREAM) == Some(&Value::Bool(true)),
            model: record.text(&field::REQUEST_MODEL).map(Into::into),
            ..RequestFacts::default()
        }
    }
}

/// The members that mean something; the last of equal names, and of models the first, which decides where a call goes.
#[derive(Default)]
pub(super) struct Known<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Known<'a> {
    fn put(&mut self, name: Cow<'a, str>, value: &'a RawValue) {
        match self.0.iter_mut().find(|(have, _)| *have == name) {
            Some((_, old)) if name == "model" && model::is_name(old) => {}
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// The members of an object that have these names.
    fn within(object: Option<&'a RawValue>, names: Names) -> Self {
        let mut known = Self::default();
        if let Some(object) = object {
            let _ = json::members(object.get(), |name, value| {
                if names.iter().any(|(have, _)| *have == name) {
                    known.put(name, value);
                }
            });
        }
        known
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(json::non_empty)
    }

    /// Records who asks, and in which conversation.
    fn record_people(&self, record: &mut Record) {
        let metadata = |name| self.get("metadata").and_then(|object| json::member_of(object, name));
        let metadata = |name| metadata(name).and_then(json::non_empty);
        let user = USERS.iter().find_map(|name| self.text(name)).or_else(|| metadata("user_id"));
        let session = SESSIONS.iter().find_map(|name| metadata(name));
        let session = session.or_else(|| SESSIONS.iter().find_map(|name| self.text(name)));
        let session = session.or_else(|| self.get("conversation").and_then(conversation));
        for (field, value) in [(&field::USER_ID, user), (&field::SESSION, session)] {
            // What came with the call, in a header say, was meant for the record and goes first.
            if record.get(field).is_none() {
                set(record, field, value.as_deref());
            }
        }
    }
}

/// OpenAI's conversation: its id, or an object that has it.
fn conversation(value: &RawValue) -> Option<Cow<'_, str>> {
    json::non_empty(value).or_else(|| json::member_of(value, "id").and_then(json::non_empty))
}

fn set_all(names: Names, known: &Known<'_>, record: &mut Record) {
    for (name, field) in names {
        if let Some(value) = known.get(name) {
            set_shaped(record, field, value);
        }
    }
}

/// Sets a field to a value of its shape; one of another shape is no value.
fn set_shaped(record: &mut Record, field: &Field, value: &RawValue) {
    match field.shape {
        Shape::Int => set(record, field, json::int(value)),
        Shape::Float => set(record, field, json::float(value)),
        Shape::Bool => set(record, field, json::boolean(value)),
        Shape::Text => set(record, field, json::text(value).as_deref()),
        Shape::TextList => {
            let texts =
                |texts: Vec<Cow<'_, str>>| texts.iter().map(|text| Value::from(text.as_ref())).collect::<Vec<_>>();
            set(record, field, json::texts(value).map(texts));
        }
        Shape::Bytes | Shape::Body | Shape::TextMap => {}
    }
}

fn set(record: &mut Record, field: &Field, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        record.set(field, value);
    }
}

/// The text of the last of some messages.
pub(crate) fn last_message(messages: &RawValue) -> Option<String> {
    let content = json::member_of(last_of(messages)?, "content")?;
    json::content_text(content, "\n").map(Into::into)
}

/// The text of a prompt: itself, several of them a line each, or an object with a `prompt_string`. Tokens have none.
pub(crate) fn prompt(prompt: &RawValue) -> Option<String> {
    if prompt.get().starts_with('{') {
        return json::member_of(prompt, "prompt_string").and_then(json::text).map(Into::into);
    }
    json::texts(prompt).map(|texts| texts.join("\n")).filter(|text| !text.is_empty())
}

/// The text of a response's input: itself, or of its last item, which is a message, or what a tool gave back.
pub(crate) fn last_item(input: &RawValue) -> Option<String> {
    if let Some(text) = json::text(input) {
        return Some(text.into());
    }
    let last = last_of(input)?;
    let content = ["content", "output"].into_iter().find_map(|name| json::member_of(last, name))?;
    json::content_text(content, "\n").map(Into::into)
}

fn last_of(items: &RawValue) -> Option<&RawValue> {
    let mut last = None;
    json::items(items, |item| last = Some(item));
    last
}
