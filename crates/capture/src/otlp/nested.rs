//! Lists that are flattened into attributes, such as `retrieval.documents.0.document.score`, put together again.

use std::collections::BTreeMap;

use onrecord_proof::{Field, Record, field};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use serde_json::{Map, Value as Json};

use super::attributes;

/// Items of one list that are put together; what is beyond is kept as it came.
const ITEMS_MAX: usize = 10_000;

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

/// The list that an attribute is a part of, the number of its item, and the name of its member.
fn part(name: &str) -> Option<(usize, usize, &str)> {
    LISTS.iter().enumerate().find_map(|(list, (begin, within, _))| {
        let (item, member) = name.strip_prefix(begin)?.split_once('.')?;
        let item = item.parse().ok().filter(|item| *item < ITEMS_MAX)?;
        Some((list, item, member.strip_prefix(within).unwrap_or(member)))
    })
}

/// True if an attribute is a part of a list.
pub(super) fn is_part(name: &str) -> bool {
    part(name).is_some()
}

/// Records the lists as JSON, their items in the order of their numbers.
pub(super) fn record(attributes: &[KeyValue], record: &mut Record) {
    let mut lists: [BTreeMap<usize, Map<String, Json>>; LISTS.len()] = Default::default();
    for attribute in attributes {
        let Some((list, item, member)) = part(&attribute.key) else { continue };
        let value = attribute.value.as_ref().map_or(Json::Null, attributes::json);
        lists[list].entry(item).or_default().insert(member.to_owned(), value);
    }
    for (items, (_, _, field)) in lists.into_iter().zip(LISTS) {
        if !items.is_empty() {
            let items = Json::Array(items.into_values().map(Json::Object).collect());
            record.set(field, items.to_string().into_bytes());
        }
    }
}
