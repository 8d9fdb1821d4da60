//! Records in plain JSON, for whatever has no instrumentation.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use onrecord_capture::otlp;
use onrecord_ledger::{Ledger, Receipt};
use onrecord_proof::{Group, Kind, Map, Record, Ref, Rel, Value, field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{NotTaken, commit};
use crate::engine::{Engine, Moment, new_record};

/// Names, ids and the like are at most so long, in bytes.
pub(super) const TEXT_MAX: usize = 4096;
const TAGS_MAX: usize = 64;
/// Items of one request.
const ITEMS_MAX: usize = 10_000;

/// From 0001-01-01 to 9999-12-31 UTC, in microseconds since 1970: what SQL and its clients can print.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
/// In microseconds.
const DURATION_MAX: i64 = 10 * 366 * 24 * 3600 * 1_000_000;

/// The digest of an item, by which it is known again when it is sent a second time.
const DIGEST: &str = "onrecord.item.sha256";

/// A step of a pipeline, or the call of a model, as its application tells it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    /// A UUID; an item that is sent again under its id is there once. Made up without one.
    id: Option<Uuid>,
    /// `step`, which is assumed, or `interaction`.
    kind: Option<String>,
    /// When it began: RFC 3339, or microseconds since 1970-01-01 UTC. Now, without it.
    time: Option<Moment>,
    duration_us: Option<i64>,
    /// What kind of step, e.g. `retrieval`, `rerank`, `guardrail`, `tool`, `template`, `tokenization`.
    step: Option<String>,
    name: Option<String>,
    service: Option<String>,
    session: Option<String>,
    request_id: Option<String>,
    user: Option<String>,
    trace_id: Option<String>,
    span_id: Option<String>,
    parent_span_id: Option<String>,
    /// The id of a record that it is a part of, e.g. that of a call (header `x-onrecord-id`).
    parent: Option<Uuid>,
    model: Option<String>,
    #[serde(default)]
    tags: std::collections::BTreeMap<String, String>,
    /// Any JSON; kept byte for byte.
    input: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    /// Documents with scores, of a retrieval.
    documents: Option<Box<RawValue>>,
    /// The order before and after reranking.
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
    verdict: Option<String>,
    /// `completed`, which is assumed unless there is an `error`.
    outcome: Option<String>,
    error: Option<ItemError>,
    /// Whatever else there is to say.
    #[serde(default)]
    attributes: std::collections::BTreeMap<String, Box<RawValue>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ItemError {
    #[serde(rename = "type")]
    kind: Option<String>,
    message: Option<String>,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Taken {
    pub id: Uuid,
    /// It was on record before.
    pub known: bool,
}

/// The items of a body: a JSON array, one object, or an object a line.
pub(crate) fn items(body: &[u8]) -> Result<Vec<(Item, [u8; 32])>, String> {
    let raw: Vec<&RawValue> = match body.trim_ascii_start().first() {
        Some(b'[') => serde_json::from_slice(body).map_err(|error| format!("the body is no JSON array: {error}"))?,
        _ => serde_json::Deserializer::from_slice(body)
            .into_iter()
            .collect::<Result<_, _>>()
            .map_err(|error| format!("the body is no JSON, nor JSON lines: {error}"))?,
    };
    if raw.len() > ITEMS_MAX {
        return Err(format!("{} items in one request; send at most {ITEMS_MAX}", raw.len()));
    }
    let read = |(at, raw): (usize, &&RawValue)| {
        let item: Item = serde_json::from_str(raw.get()).map_err(|error| format!("item {at}: {error}"))?;
        item.check().map_err(|problem| format!("item {at}: {problem}"))?;
        Ok((item, Sha256::digest(raw.get()).into()))
    };
    raw.iter().enumerate().map(read).collect()
}

/// An error if a text is too long.
pub(super) fn check_text(name: &str, text: Option<&str>, max: usize) -> Result<(), String> {
    let len = text.map_or(0, str::len);
    if len > max { Err(format!("`{name}` has {len} bytes; the limit is {max}")) } else { Ok(()) }
}

fn check_hex(name: &str, text: Option<&str>, len: usize) -> Result<(), String> {
    let is_good =
        |text: &str| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    match text {
        Some(text) if !is_good(text) => Err(format!("`{name}` is {text:?}, not {len} lower-case hexadecimal digits")),
        _ => Ok(()),
    }
}

impl Item {
    fn check(&self) -> Result<(), String> {
        if let Some(kind) = self.kind.as_deref().filter(|kind| !["step", "interaction"].contains(kind)) {
            return Err(format!(
                "`kind` is {kind:?}; it can be \"step\" or \"interaction\", and feedback goes to /api/v1/feedback"
            ));
        }
        for (name, text) in self.texts() {
            check_text(name, text, TEXT_MAX)?;
        }
        check_hex("trace_id", self.trace_id.as_deref(), 32)?;
        check_hex("span_id", self.span_id.as_deref(), 16)?;
        check_hex("parent_span_id", self.parent_span_id.as_deref(), 16)?;
        if self.tags.len() > TAGS_MAX {
            return Err(format!("{} tags; the limit is {TAGS_MAX}", self.tags.len()));
        }
        if self.duration_us.is_some_and(|duration| !(0..=DURATION_MAX).contains(&duration)) {
            return Err(format!("`duration_us` is negative, or more than {DURATION_MAX} (ten years)"));
        }
        if self.time.as_ref().is_some_and(|time| !TIMES.contains(&time.micros())) {
            return Err("`time` is not in the years 1 to 9999".to_owned());
        }
        Ok(())
    }

    fn texts(&self) -> [(&'static str, Option<&str>); 9] {
        [
            ("step", self.step.as_deref()),
            ("name", self.name.as_deref()),
            ("service", self.service.as_deref()),
            ("session", self.session.as_deref()),
            ("request_id", self.request_id.as_deref()),
            ("user", self.user.as_deref()),
            ("model", self.model.as_deref()),
            ("verdict", self.verdict.as_deref()),
            ("outcome", self.outcome.as_deref()),
        ]
    }

    fn record(&self, digest: &[u8; 32], principal: &str) -> Record {
        let kind = if self.kind.as_deref() == Some("interaction") { Kind::Interaction } else { Kind::Step };
        let mut record = new_record(kind);
        if let Some(id) = self.id {
            record.id = id;
        }
        if let Some(time) = &self.time {
            record.captured_at = time.micros();
        }
        record.set(&field::PRINCIPAL, principal);
        record.set(&field::SOURCE, "api");
        record.set_named(Group::Context, DIGEST, *digest);
        self.record_context(&mut record);
        self.record_content(&mut record);
        record
    }

    fn record_context(&self, record: &mut Record) {
        let fields = [
            (&field::STEP, &self.step),
            (&field::SPAN_NAME, &self.name),
            (&field::SERVICE_NAME, &self.service),
            (&field::SESSION, &self.session),
            (&field::REQUEST_ID, &self.request_id),
            (&field::USER_ID, &self.user),
            (&field::TRACE_ID, &self.trace_id),
            (&field::SPAN_ID, &self.span_id),
            (&field::PARENT_SPAN_ID, &self.parent_span_id),
            (&field::REQUEST_MODEL, &self.model),
            (&field::VERDICT, &self.verdict),
        ];
        for (field, text) in fields {
            if let Some(text) = text {
                record.set(field, text.as_str());
            }
        }
        if let Some(parent) = self.parent {
            record.refs.push(Ref { rel: Rel::Parent, id: parent });
            record.set(&field::SUBJECT, parent.to_string());
        }
        if !self.tags.is_empty() {
            let tags: Map = self.tags.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
            record.set(&field::TAGS, tags);
        }
        for (name, value) in &self.attributes {
            record.set_named(Group::Context, otlp::kept_as(name), of_json(value));
        }
    }

    fn record_content(&self, record: &mut Record) {
        let bodies = [
            (&field::INPUT_BODY, &self.input),
            (&field::OUTPUT_BODY, &self.output),
            (&field::DOCUMENTS, &self.documents),
            (&field::RERANK_BEFORE, &self.before),
            (&field::RERANK_AFTER, &self.after),
        ];
        for (field, json) in bodies {
            if let Some(json) = json {
                record.set(field, json.get().as_bytes());
            }
        }
        for (field, json) in [(&field::INPUT_TEXT, &self.input), (&field::OUTPUT_TEXT, &self.output)] {
            if let Some(text) = json.as_ref().and_then(|json| serde_json::from_str::<String>(json.get()).ok()) {
                record.set(field, text);
            }
        }
        if let Some(duration) = self.duration_us {
            record.set(&field::DURATION, duration);
        }
        if let Some(ItemError { kind, message }) = &self.error {
            record.set(&field::ERROR_TYPE, kind.as_deref().unwrap_or("error"));
            if let Some(message) = message {
                record.set(&field::ERROR_MESSAGE, message.as_str());
            }
        }
        let assumed = if self.error.is_some() { "failed" } else { "completed" };
        record.set(&field::OUTCOME, self.outcome.as_deref().unwrap_or(assumed));
    }
}

/// A value of JSON as a field's; objects and lists, which nest without a limit here, as their text.
fn of_json(value: &RawValue) -> Value {
    if value.get().starts_with(['{', '[']) {
        return value.get().as_bytes().into();
    }
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::Bool(flag)) => flag.into(),
        Ok(serde_json::Value::String(text)) => text.into(),
        Ok(serde_json::Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.to_string().into(),
        },
        _ => Value::Null,
    }
}

impl Engine {
    /// Puts items on record, in the name of `principal`; all are durable when this returns. One that is on record already
    /// is left as it is; if another one has its id, nothing of the request is taken. After any other error it can be sent
    /// again: no item with an id is doubled by that, and the error says which ones without an id were taken.
    pub(crate) async fn take_items(
        self: &Arc<Self>,
        items: Vec<(Item, [u8; 32])>,
        principal: &str,
    ) -> Result<Vec<Taken>, NotTaken> {
        // Two requests with one id at the same time would both find it unknown.
        let one_at_a_time = Arc::clone(&self.taking).lock_owned().await;
        let on_record = self.on_record(&items).await?;
        let mut taken = Vec::with_capacity(items.len());
        let mut named: HashMap<Uuid, [u8; 32]> = HashMap::new();
        let (mut with_id, mut without, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (item, digest)) in items.into_iter().enumerate() {
            let known = match item.id {
                None => None,
                Some(id) => match named.get(&id) {
                    Some(other) => Some((id, *other == digest)),
                    None => on_record.get(&id).map(|known| (id, *known == Some(digest))),
                },
            };
            match known {
                Some((id, true)) => taken.push(Taken { id, known: true }),
                Some((id, false)) => {
                    let why = format!("{id} is on record, and is not this item; send it under an id of its own");
                    return Err(NotTaken::Other(why));
                }
                None => {
                    let record = item.record(&digest, principal);
                    taken.push(Taken { id: record.id, known: false });
                    if item.id.is_some() {
                        named.insert(record.id, digest);
                        with_id.push(record);
                    } else {
                        without.push(record);
                        places.push(place);
                    }
                }
            }
        }
        let engine = Arc::clone(self);
        // It goes on when its sender goes away: what was begun must be ended.
        let committing = tokio::spawn(async move {
            let _one_at_a_time = one_at_a_time;
            engine.commit_once(with_id).await?;
            all_or_which(&commit(&engine.ledger, without, Ledger::add).await, &places)
        });
        committing.await.map_err(|_| onrecord_ledger::Error::Closed)??;
        Ok(taken)
    }

    /// Which of the items' ids are on record, each with the digest of the item that it was made of, if it was.
    async fn on_record(&self, items: &[(Item, [u8; 32])]) -> Result<HashMap<Uuid, Option<[u8; 32]>>, NotTaken> {
        let ids: HashSet<_> = items.iter().filter_map(|(item, _)| item.id).collect();
        let (mut known, mut found) = (HashMap::new(), self.lake.find_all(ids).await?);
        while let Some(found) = found.try_next().await? {
            known.insert(found.record.id, digest_of(&found.record));
        }
        Ok(known)
    }

    /// Commits records whose ids were chosen elsewhere. The log refuses to begin one whose call is under way, and which
    /// a record of that id would end; those that it began are committed in any case.
    async fn commit_once(&self, records: Vec<Record>) -> Result<(), onrecord_ledger::Error> {
        let mut waiting = Vec::with_capacity(records.len());
        let mut refused = None;
        for mut record in records {
            match self.ledger.begin(&mut record) {
                Ok(pending) => waiting.push((pending, record)),
                Err(error) => refused = Some(error),
            }
        }
        let mut begun = Vec::with_capacity(waiting.len());
        for (pending, record) in waiting {
            match pending.await {
                Ok(()) => begun.push(record),
                Err(error) => refused = Some(error),
            }
        }
        all(commit(&self.ledger, begun, Ledger::append).await)?;
        refused.map_or(Ok(()), Err)
    }
}

/// An error if one of the items at these places was not taken. It says which ones were: sent again, these would be there
/// twice.
fn all_or_which(done: &[Result<Receipt, onrecord_ledger::Error>], places: &[usize]) -> Result<(), NotTaken> {
    let Some(error) = done.iter().find_map(|done| done.as_ref().err()) else { return Ok(()) };
    let taken = ranges(places.iter().zip(done).filter(|(_, done)| done.is_ok()).map(|(place, _)| *place));
    if taken.is_empty() {
        return Err(error.clone().into());
    }
    let message = format!(
        "{error}. On record all the same, and without an `id` by which they would be known again, are the items {taken} \
         (the first is 0); leave them out when you send the others again"
    );
    Err(NotTaken::Log(message))
}

/// Rising numbers, those in a row as `3-7`.
fn ranges(numbers: impl Iterator<Item = usize>) -> String {
    let mut rows: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match rows.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => rows.push((number, number)),
        }
    }
    let row = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

fn all(done: Vec<Result<Receipt, onrecord_ledger::Error>>) -> Result<(), onrecord_ledger::Error> {
    done.into_iter().try_for_each(|done| done.map(drop))
}

/// The digest of the item that a record was made of.
fn digest_of(record: &Record) -> Option<[u8; 32]> {
    record.group(Group::Context)?.get(DIGEST)?.as_bytes()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use onrecord_ledger::Error;

    use super::*;

    #[test]
    fn an_error_says_which_items_must_not_be_sent_again() {
        let (taken, refused) = (Ok(Receipt { index: 0, committed_at: 0 }), Err(Error::Busy));
        let said = |done: &[&Result<Receipt, Error>], places: &[usize]| {
            let done: Vec<_> = done.iter().copied().cloned().collect();
            all_or_which(&done, places).map_err(|error| error.to_string())
        };
        assert_eq!(said(&[&taken, &taken], &[0, 1]), Ok(()));
        let none = said(&[&refused, &refused], &[0, 1]).unwrap_err();
        assert_eq!(none, "it cannot be put on record: too many calls are waiting for the log");
        let some = said(&[&taken, &taken, &refused, &taken, &refused], &[1, 2, 3, 7, 8]).unwrap_err();
        assert!(some.contains("are the items 1-2, 7 (the first is 0)"), "{some}");
    }
}
