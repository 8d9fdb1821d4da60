//! What differs between two configurations or two calls, in words.

use std::fmt;

use onrecord_capture::serving::FACTS;
use onrecord_proof::{Field, Group, Kind, Record, Value, field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::render;

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Change {
    /// The field, or a parameter within it.
    pub what: String,
    pub before: Json,
    pub after: Json,
    /// What changed, for people.
    pub words: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// What of a call belongs to its configuration but says nothing about how it was computed.
const BESIDES: [&Field; 5] =
    [&field::STREAM, &field::FINGERPRINT, &field::SAMPLING, &field::PROMPT_VARIABLES, &field::ENCODING_FORMATS];

/// What differs from one record of a configuration to another.
pub(crate) fn changes(before: &Record, after: &Record) -> Vec<Change> {
    let told = FACTS.iter().filter(|fact| **fact != &field::TEMPLATE_SHA256);
    told.flat_map(|fact| differences(fact, before.get(fact), after.get(fact))).collect()
}

/// What differs from one call to another in what was asked for and in force.
pub(crate) fn changes_of_calls(before: &Record, after: &Record) -> Vec<Change> {
    let parameters = field::ALL.iter().filter(|field| field.group == Group::Config && !BESIDES.contains(field));
    parameters.flat_map(|field| differences(field, before.get(field), after.get(field))).collect()
}

fn differences(field: &Field, before: Option<&Value>, after: Option<&Value>) -> Vec<Change> {
    if before == after {
        return Vec::new();
    }
    let (was, is) = (render::field(field, before), render::field(field, after));
    if *field == field::DEFAULT_SAMPLING
        && let Some(changes) = sampling(&was, &is)
    {
        return changes;
    }
    let name = name(field);
    let words = match (&was, &is) {
        (Json::String(was), Json::String(is)) if *field == field::TEMPLATE_TEXT => template(was, is),
        (Json::Array(was), Json::Array(is)) => format!("{name}: {}", list(was, is)),
        _ => words(&name, &was, &is),
    };
    vec![Change { what: field.name.to_owned(), before: was, after: is, words }]
}

/// The name of a field as people say it: `onrecord.model.context_length` is the `model context length`.
fn name(field: &Field) -> String {
    let known: [(&Field, &str); 6] = [
        (&field::PROVIDER, "server"),
        (&field::MODEL_SHA256, "model file sha256"),
        (&field::MODEL_SIZE, "model file size"),
        (&field::TEMPLATE_TEXT, "chat template"),
        (&field::DEFAULT_SAMPLING, "default sampling"),
        (&field::SERVER_COMMAND, "command line"),
    ];
    let said = known.iter().find(|(have, _)| *have == field).map(|(_, name)| (*name).to_owned());
    said.unwrap_or_else(|| {
        let name = field.name.trim_start_matches("onrecord.").trim_start_matches("gen_ai.");
        name.replace(['.', '_'], " ")
    })
}

fn words(name: &str, was: &Json, is: &Json) -> String {
    match (was, is) {
        (Json::Null, is) => format!("{name}: now {}", short(is)),
        (was, Json::Null) => format!("{name}: no longer {}", short(was)),
        (was, is) => format!("{name} {} → {}", short(was), short(is)),
    }
}

fn short(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.as_f64().map_or_else(|| number.to_string(), plain),
        other => other.to_string(),
    }
}

/// A number that went through 32 bits is shown as it was meant.
fn plain(number: f64) -> String {
    onrecord_capture::serving::tidy(number).to_string()
}

/// Each parameter by itself; `None` if one of the two is no object.
fn sampling(was: &Json, is: &Json) -> Option<Vec<Change>> {
    let parse = |value: &Json| serde_json::from_str::<Json>(value.as_str()?).ok();
    let (was, is) = (parse(was)?, parse(is)?);
    let (was, is) = (was.as_object()?, is.as_object()?);
    let new = is.keys().filter(|name| !was.contains_key(*name));
    let changed = was.keys().chain(new).filter(|name| was.get(*name) != is.get(*name));
    let change = |name: &String| {
        let of = |object: &serde_json::Map<String, Json>| object.get(name).cloned().unwrap_or_default();
        let (before, after) = (of(was), of(is));
        let words = words(&format!("{name} default"), &before, &after);
        Change { what: format!("{}.{name}", field::DEFAULT_SAMPLING.name), before, after, words }
    };
    Some(changed.map(change).collect())
}

/// How many lines were added and removed.
fn template(was: &str, is: &str) -> String {
    let count = |of: &str, without: &str| {
        let mut rest: Vec<_> = without.lines().collect();
        let is_gone = |line: &&str| match rest.iter().position(|have| have == line) {
            Some(at) => {
                rest.swap_remove(at);
                false
            }
            None => true,
        };
        of.lines().filter(is_gone).count()
    };
    let lines = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 line {what}")),
        count => Some(format!("{count} lines {what}")),
    };
    let parts: Vec<_> =
        [lines(count(is, was), "added"), lines(count(was, is), "removed")].into_iter().flatten().collect();
    let parts = if parts.is_empty() { "its lines stand in another order".to_owned() } else { parts.join(", ") };
    format!("chat template changed: {parts}")
}

fn list(was: &[Json], is: &[Json]) -> String {
    let only = |of: &[Json], without: &[Json]| {
        let words: Vec<_> = of.iter().filter(|item| !without.contains(item)).map(short).collect();
        words.join(" ")
    };
    let (added, removed) = (only(is, was), only(was, is));
    match (added.is_empty(), removed.is_empty()) {
        (true, true) => "another order".into(),
        (false, true) => format!("added {added}"),
        (true, false) => format!("removed {removed}"),
        (false, false) => format!("{removed} → {added}"),
    }
}

/// What two records that may be compared have in common; an error otherwise.
pub(crate) fn between(before: &Record, after: &Record) -> Result<Vec<Change>, String> {
    match (before.kind, after.kind) {
        (Kind::Config, Kind::Config) => Ok(changes(before, after)),
        (Kind::Interaction, Kind::Interaction) => Ok(changes_of_calls(before, after)),
        (a, b) => Err(format!("a record of kind {a} cannot be compared with one of kind {b}")),
    }
}

#[cfg(test)]
mod tests {
    use onrecord_capture::serving::{Server, Setup};

    use super::*;
    use crate::engine::new_record;

    fn record(change: impl FnOnce(&mut Setup)) -> Record {
        let mut setup = Setup {
            context_length: Some(2048),
            chat_template: Some("one\ntwo\n".into()),
            sampling: Some(r#"{"temperature":0.800000011920929,"top_k":40}"#.into()),
            command: ["llama-server", "--port", "80"].map(Into::into).to_vec(),
            sha256: Some([0xab; 32]),
            ..Setup::new(Server::LlamaCpp, "m")
        };
        change(&mut setup);
        let mut record = new_record(Kind::Config);
        setup.record(&mut record);
        record
    }

    fn words(change: impl FnOnce(&mut Setup)) -> Vec<String> {
        changes(&record(|_| {}), &record(change)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn changes_in_words() {
        assert_eq!(words(|_| {}), Vec::<String>::new());
        assert_eq!(words(|s| s.context_length = Some(4096)), ["model context length 2048 → 4096"]);
        assert_eq!(words(|s| s.build = Some("b2".into())), ["server build: now b2"]);
        assert_eq!(
            words(|s| s.chat_template = Some("one\n2\ntwo\n3\n".into())),
            ["chat template changed: 2 lines added"]
        );
        assert_eq!(
            words(|s| s.sampling = Some(r#"{"temperature":0.2,"top_k":40,"min_p":0.1}"#.into())),
            ["temperature default 0.8 → 0.2", "min_p default: now 0.1"]
        );
        assert_eq!(words(|s| s.command.push("--jinja".into())), ["command line: added --jinja"]);
        let digests = words(|s| s.sha256 = Some([1; 32]));
        assert!(digests[0].starts_with("model file sha256 abab") && digests[0].contains(" → 0101"), "{digests:?}");
    }
}
