//! What leaves the log of one record, the same for every kind of destination.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_ledger::Committed;
use onrecord_proof::{Field, Group, GroupState, Kind, Record, Shape, Value, field};
use uuid::Uuid;

use crate::engine::PAYLOAD;
use crate::render::hex;

/// How much of a record leaves the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Who, when, with which model, how long and how it ended: nothing of what was said.
    Metadata,
    /// Inputs, outputs and token decisions too.
    All,
}

/// How much a record matters, in the words of syslog (RFC 5424 §6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
}

/// A record on its way out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outgoing {
    pub leaf_index: u64,
    pub id: Uuid,
    pub kind: Kind,
    /// When it began, in microseconds since 1970-01-01 UTC.
    pub captured_at: i64,
    pub committed_at: i64,
    pub severity: Severity,
    /// Hexadecimal digits.
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    /// One line for people.
    pub summary: String,
    /// Names and values of fields; of each group in the record's order.
    pub attributes: Vec<(Cow<'static, str>, Value)>,
    /// Groups that were disposed of.
    pub erased: Vec<Group>,
    /// Something of what was said is in it.
    pub has_payload: bool,
}

/// Texts that are neither asked nor answered, but go into an input.
const INPUT_TEXTS: [&Field; 2] = [&field::TEMPLATE_TEXT, &field::PROMPT_TEXT];
/// The trace and the span have places of their own.
const ELSEWHERE: [&Field; 2] = [&field::TRACE_ID, &field::SPAN_ID];

static FIELDS: LazyLock<HashMap<&'static str, &'static Field>> =
    LazyLock::new(|| field::ALL.iter().map(|field| (field.name, *field)).collect());

impl Severity {
    fn of(record: &Record) -> Self {
        match record.kind {
            Kind::Heartbeat => Self::Debug,
            Kind::Gap => Self::Error,
            Kind::Alert => Self::Warning,
            Kind::Disposal | Kind::System => Self::Notice,
            Kind::Config if record.get(&field::DRIFT) == Some(&Value::Bool(true)) => Self::Warning,
            _ => match record.text(&field::OUTCOME) {
                Some("upstream_error" | "interrupted" | "failed") => Self::Error,
                Some("client_disconnected" | "rejected") => Self::Warning,
                _ => Self::Info,
            },
        }
    }
}

impl Outgoing {
    pub(crate) fn of(committed: &Committed, content: Content) -> Self {
        let Committed { index, committed_at, record } = committed;
        let text = |field: &Field| record.text(field).map(str::to_owned);
        let mut outgoing = Self {
            leaf_index: *index,
            id: record.id,
            kind: record.kind,
            captured_at: record.captured_at,
            committed_at: *committed_at,
            severity: Severity::of(record),
            trace_id: text(&field::TRACE_ID),
            span_id: text(&field::SPAN_ID),
            summary: summary(record),
            attributes: Vec::new(),
            erased: Vec::new(),
            has_payload: false,
        };
        for reference in &record.refs {
            let name = format!("onrecord.refs.{}", reference.rel.name());
            outgoing.attributes.push((name.into(), reference.id.to_string().into()));
        }
        for (group, state) in record.groups() {
            match state {
                GroupState::Erased { .. } => outgoing.erased.push(group),
                GroupState::Open(fields) => {
                    fields.iter().for_each(|(name, value)| outgoing.add(group, name, value, content));
                }
            }
        }
        outgoing
    }

    fn add(&mut self, group: Group, name: &str, value: &Value, content: Content) {
        let known = FIELDS.get(name).copied();
        if known.is_some_and(|field| ELSEWHERE.contains(&field)) {
            return;
        }
        let is_payload = !is_metadata(group, known);
        if is_payload && content == Content::Metadata {
            return;
        }
        self.has_payload |= is_payload;
        let name = known.map_or_else(|| Cow::Owned(name.to_owned()), |field| Cow::Borrowed(field.name));
        self.attributes.push(match (value, known.map(|field| field.shape)) {
            (Value::Bytes(bytes), Some(Shape::Bytes)) => (name, hex(bytes).into()),
            (Value::Bytes(bytes), _) => match std::str::from_utf8(bytes) {
                Ok(text) => (name, text.into()),
                Err(_) => (format!("{name}.base64").into(), BASE64.encode(bytes).into()),
            },
            _ => (name, value.clone()),
        });
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        self.attributes.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>() + self.summary.len() + 128
    }
}

/// True for what says nothing of what was said. Of input, output and decisions that is nothing but numbers; fields that this
/// program does not know, an application's own attributes say, can hold anything.
fn is_metadata(group: Group, known: Option<&Field>) -> bool {
    let Some(field) = known else { return false };
    match field.shape {
        Shape::Int | Shape::Float | Shape::Bool => true,
        Shape::Body => false,
        _ => !PAYLOAD.contains(&group) && !INPUT_TEXTS.contains(&field),
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Map(fields) => fields.iter().map(|(name, value)| name.len() + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 8,
    }
}

/// Kind, what was done, with which model, how it ended: `interaction chat tiny-model completed`.
fn summary(record: &Record) -> String {
    let first = |fields: &[&Field]| fields.iter().find_map(|field| record.text(field));
    let words = [
        first(&[&field::OPERATION, &field::STEP, &field::EVENT, &field::EVALUATION, &field::PATH]),
        first(&[&field::RESPONSE_MODEL, &field::REQUEST_MODEL, &field::MODEL]),
        first(&[&field::OUTCOME, &field::LABEL]),
    ];
    let words = std::iter::once(record.kind.name()).chain(words.into_iter().flatten());
    words.map(|word| word.replace(char::is_control, " ")).collect::<Vec<_>>().join(" ")
}

/// How long values may be at most for all of them to take no more than `room`: the longest ones are cut first.
pub(crate) fn longest(lengths: impl Iterator<Item = usize>, room: usize) -> usize {
    let mut lengths: Vec<_> = lengths.collect();
    lengths.sort_unstable();
    let (mut left, mut count) = (room, lengths.len());
    for length in lengths {
        if length * count > left {
            return left / count;
        }
        left -= length;
        count -= 1;
    }
    usize::MAX
}

/// The beginning of a text, at most so many bytes.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn call() -> Committed {
        let mut record = Record::new(Uuid::from_u128(7), Kind::Interaction, 1_767_323_045_678_901, [7; 32]);
        record.set(&field::TRACE_ID, "0af7651916cd43dd8448eb211c80319c");
        record.set(&field::SPAN_ID, "b7ad6b7169203331");
        record.set(&field::OPERATION, "chat");
        record.set(&field::REQUEST_MODEL, "tiny");
        record.set(&field::PRINCIPAL, "team");
        record.set(&field::OUTCOME, "upstream_error");
        record.set(&field::INPUT_TEXT, "my \"secret\" [x]\nline");
        record.set(&field::INPUT_BODY, b"{\"a\":1}".to_vec());
        record.set(&field::INPUT_SIZE, 7_i64);
        record.set(&field::INPUT_SHA256, vec![0xab; 32]);
        record.set(&field::PROMPT_VARIABLES, b"{\"name\":\"Ada\"}".to_vec());
        record.set(&field::PROMPT_TEXT, "Dear {name}");
        record.set(&field::FINISH_REASONS, vec![Value::from("stop"), Value::from("length")]);
        record.set(&field::LOGPROBS, vec![0xff, 0xfe]);
        record.set(&field::MEAN_ENTROPY, 0.5);
        record.set_named(Group::Context, "resource.owner", "Ada");
        Committed { index: 12, committed_at: 1_767_323_046_000_000, record }
    }

    fn names(outgoing: &Outgoing) -> Vec<&str> {
        outgoing.attributes.iter().map(|(name, _)| name.as_ref()).collect()
    }

    #[test]
    fn metadata_says_nothing_of_what_was_said() {
        let outgoing = Outgoing::of(&call(), Content::Metadata);
        let mut left = names(&outgoing);
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "gen_ai.operation.name",
                "gen_ai.request.model",
                "gen_ai.response.finish_reasons",
                "http.request.body.size",
                "onrecord.decisions.entropy.mean",
                "onrecord.outcome",
                "onrecord.principal"
            ]
        );
        assert!(!outgoing.has_payload);
        assert_eq!(
            (outgoing.severity, outgoing.summary.as_str()),
            (Severity::Error, "interaction chat tiny upstream_error")
        );
    }

    #[test]
    fn all_is_all() {
        let outgoing = Outgoing::of(&call(), Content::All);
        let of = |name: &str| &outgoing.attributes.iter().find(|(have, _)| have == name).unwrap().1;
        assert_eq!(outgoing.attributes.len(), 14);
        assert_eq!(of("onrecord.input.body"), &Value::from("{\"a\":1}"));
        assert_eq!(of("onrecord.decisions.logprobs.base64"), &Value::from("//4="));
        assert_eq!(of("onrecord.input.sha256"), &Value::from("ab".repeat(32)));
        assert_eq!(of("resource.owner"), &Value::from("Ada"));
        assert!(outgoing.has_payload);
    }

    #[test]
    fn what_is_gone_is_named() {
        let mut committed = call();
        committed.record.erase(Group::Input, Uuid::nil());
        committed.record.erase(Group::Outcome, Uuid::nil());
        let outgoing = Outgoing::of(&committed, Content::All);
        assert_eq!(outgoing.erased, [Group::Input, Group::Outcome]);
        assert!(names(&outgoing).iter().all(|name| !name.contains("input")), "{outgoing:?}");
        assert_eq!(outgoing.severity, Severity::Info);
    }

    #[test]
    fn the_longest_is_cut_first() {
        let most = |lengths: &[usize], room| longest(lengths.iter().copied(), room);
        assert_eq!(most(&[3, 4], 7), usize::MAX);
        assert_eq!(most(&[3, 100, 50], 43), 20);
        assert_eq!(most(&[10, 10], 5), 2);
        assert_eq!(cut("añb", 2), "a");
    }
}
