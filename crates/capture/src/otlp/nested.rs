//! Lists that are flattened into attributes, such as `retrieval.documents.0.document.score`, put together again.

use std::collections::BTreeMap;

use onrecord_proof::{Field, Record, field};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use serde_json::Value as Json;

use super::attributes;

/// Items of one list that are put together; what is beyond is kept as it came.
const ITEMS_MAX: usize = 10_000;
/// Parts of a member's name that are taken apart; what follows them stays together.
const PARTS_MAX: usize = 8;

/// How such attributes begin, what precedes the members of an item, and the field for the list.
const LISTS: [(&str, &str, &Field); 7] = [
    ("llm.input_messages.", "message.", &field::INPUT_MESSAGES),
    ("gen_ai.prompt.", "", &field::INPUT_MESSAGES),
    ("llm.output_messages.", "message.", &field::OUTPUT_MESSAGES),
    ("gen_ai.completion.", "", &field::OUTPUT_MESSAGES),
    ("retrieval.documents.", "document.", &field::DOCUMENTS),
    ("reranker.input_documents.", "document.", &field::RERANK_BEFORE),
    ("reranker.output_documents.", "document.", &field::RERANK_AFTER),
];

/// What precedes the members of an item of the lists within them: `tool_calls.0.tool_call.id`.
const WITHIN: [&str; 2] = ["tool_call", "message_content"];

/// What the members of an item have become so far.
enum Node {
    Value(Json),
    Members(BTreeMap<String, Node>),
}

impl Node {
    /// Puts a value where its name says; a place that is taken by another value is not, and its name then stays together.
    fn insert(members: &mut BTreeMap<String, Self>, name: &[&str], value: Json) {
        let (first, rest) = match name {
            [] => return,
            [first] => (*first, &[][..]),
            [first, rest @ ..] => match members.get(*first) {
                Some(Self::Value(_)) => {
                    members.insert(name.join("."), Self::Value(value));
                    return;
                }
                _ => (*first, rest),
            },
        };
        if rest.is_empty() {
            let taken = matches!(members.get(first), Some(Self::Members(_)));
            let name = if taken { format!("{first}.") } else { first.to_owned() };
            members.insert(name, Self::Value(value));
        } else if let Self::Members(within) =
            members.entry(first.to_owned()).or_insert_with(|| Self::Members(BTreeMap::new()))
        {
            Self::insert(within, rest, value);
        }
    }

    /// As JSON; members that are numbered are a list.
    fn json(self) -> Json {
        match self {
            Self::Value(value) => value,
            Self::Members(members) => {
                let numbers: Option<Vec<usize>> = members.keys().map(|name| number(name)).collect();
                match numbers {
                    Some(numbers) => {
                        let items: BTreeMap<_, _> = numbers.into_iter().zip(members.into_values()).collect();
                        items.into_values().map(Self::json).collect()
                    }
                    None => Json::Object(members.into_iter().map(|(name, node)| (name, node.json())).collect()),
                }
            }
        }
    }
}

/// A number as it is written.
fn number(name: &str) -> Option<usize> {
    name.parse().ok().filter(|number: &usize| number.to_string() == name)
}

/// The list that an attribute is a part of, the number of its item, and the name of its member.
fn part(name: &str) -> Option<(usize, usize, &str)> {
    LISTS.iter().enumerate().find_map(|(list, (begin, within, _))| {
        let (item, member) = name.strip_prefix(begin)?.split_once('.')?;
        let item = item.parse().ok().filter(|item| *item < ITEMS_MAX)?;
        Some((list, item, member.strip_prefix(within).unwrap_or(member)))
    })
}

/// A member's name, taken apart.
fn parts(member: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::with_capacity(PARTS_MAX);
    for part in member.splitn(PARTS_MAX, '.') {
        let numbered = parts.last().is_some_and(|last| number(last).is_some());
        if !(numbered && WITHIN.contains(&part)) {
            parts.push(part);
        }
    }
    parts
}

/// True if an attribute is a part of a list.
pub(super) fn is_part(name: &str) -> bool {
    part(name).is_some()
}

/// Records the lists as JSON, their items in the order of their numbers.
pub(super) fn record(attributes: &[KeyValue], record: &mut Record) {
    let mut lists: [BTreeMap<usize, BTreeMap<String, Node>>; LISTS.len()] = Default::default();
    for attribute in attributes {
        let Some((list, item, member)) = part(&attribute.key) else { continue };
        let value = attribute.value.as_ref().map_or(Json::Null, attributes::json);
        Node::insert(lists[list].entry(item).or_default(), &parts(member), value);
    }
    for (items, (_, _, field)) in lists.into_iter().zip(LISTS) {
        if !items.is_empty() {
            let items: Json = items.into_values().map(|members| Node::Members(members).json()).collect();
            record.set(field, items.to_string().into_bytes());
        }
    }
}
