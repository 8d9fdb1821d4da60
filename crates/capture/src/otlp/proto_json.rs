//! JSON as protobuf has it, where the structures that we read it into ask for more.
//!
//! What is empty may be left out, `null` stands for it, and a number that is none is a text (ProtoJSON). The Collector leaves
//! out the items of a list that has none, and one such list among thousands of spans must not refuse them all.

use serde_json::{Map, Number, Value as Json};

/// Nobody reads this, and what it is made of may be left out as well.
const IGNORED: &str = "entityRefs";

/// Puts in what was left out, at any depth, and a text where a number is none.
pub(super) fn complete(json: &mut Json) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(complete),
        Json::Object(members) => complete_object(members),
        _ => {}
    }
}

fn complete_object(members: &mut Map<String, Json>) {
    members.retain(|name, value| !value.is_null() && name != IGNORED);
    if let Some(double) = members.remove("doubleValue") {
        let (name, value) = number(double);
        members.insert(name.to_owned(), value);
    }
    for (name, value) in members.iter_mut() {
        match (name.as_str(), &mut *value) {
            ("arrayValue" | "kvlistValue", Json::Object(list)) => put(list, "values", Json::Array(Vec::new())),
            ("attributes", Json::Array(entries)) => name_all(entries),
            _ => {}
        }
        if let ("kvlistValue", Some(Json::Array(entries))) = (name.as_str(), value.get_mut("values")) {
            name_all(entries);
        }
        complete(value);
    }
}

/// A double: a number, or a text that has one, or the name of one that JSON does not have, which stays a text.
fn number(double: Json) -> (&'static str, Json) {
    let Json::String(text) = double else { return ("doubleValue", double) };
    match text.parse().ok().and_then(Number::from_f64) {
        Some(number) => ("doubleValue", number.into()),
        None => ("stringValue", text.into()),
    }
}

/// The name of an attribute can be empty.
fn name_all(entries: &mut [Json]) {
    for entry in entries.iter_mut().filter_map(Json::as_object_mut) {
        put(entry, "key", "".into());
    }
}

fn put(members: &mut Map<String, Json>, name: &str, value: Json) {
    members.entry(name).or_insert(value);
}
