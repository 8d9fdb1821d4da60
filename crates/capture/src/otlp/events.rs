//! The events and links of a span.

use onrecord_proof::{Group, Record, field};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use serde_json::{Value as Json, json};

use super::attributes::{self, Attributes, json_object, says_content};
use super::evaluation;
use super::names::is_content;

const EXCEPTION: &str = "exception";
/// What was asked and answered, whole, as attributes of the event.
const DETAILS: &str = "gen_ai.client.inference.operation.details";

/// A part of a streamed answer has come: the first of them in OpenInference, each of them in OpenLLMetry.
const FIRST_TOKEN: [&str; 3] =
    ["First Token Stream Event", "gen_ai.content.completion.chunk", "llm.content.completion.chunk"];

/// True if an event says what was asked or answered.
pub(super) fn have_content(events: &[Event]) -> bool {
    events.iter().any(|event| {
        field_of(event).is_some_and(|(group, _)| attributes::CONTENT.contains(&group))
            || event.attributes.iter().any(says_content)
    })
}

/// Records events: what they say of the call as its fields, all others as JSON lists.
pub(super) fn record(events: &[Event], record: &mut Record) {
    let mut lists: Vec<((Group, &'static str), Vec<Json>)> = Vec::new();
    for event in events {
        if event.name == DETAILS {
            Attributes::of_list(&event.attributes).record(record);
            continue;
        }
        if event.name == EXCEPTION {
            record_exception(event, record);
        }
        if FIRST_TOKEN.contains(&event.name.as_str()) && record.get(&field::FIRST_TOKEN).is_none() {
            let after = super::micros(event.time_unix_nano).saturating_sub(record.captured_at);
            if after >= 0 {
                record.set(&field::FIRST_TOKEN, after);
            }
        }
        let Some(field) = field_of(event) else { continue };
        let json = json!({ "name": event.name, "time_us": super::micros(event.time_unix_nano), "attributes": json_object(&event.attributes) });
        match lists.iter_mut().find(|(have, _)| *have == field) {
            Some((_, list)) => list.push(json),
            None => lists.push((field, vec![json])),
        }
    }
    for ((group, name), list) in lists {
        record.set_named(group, name, Json::Array(list).to_string().into_bytes());
    }
}

/// Where an event is kept: with what was asked, what was answered, what went wrong, or the rest. `None` if it is a record
/// of its own.
fn field_of(event: &Event) -> Option<(Group, &'static str)> {
    Some(match event.name.as_str() {
        evaluation::NAME => return None,
        "gen_ai.system.message" | "gen_ai.user.message" | "gen_ai.tool.message" | "gen_ai.content.prompt" => {
            (Group::Input, "onrecord.span.input_events")
        }
        "gen_ai.assistant.message" | "gen_ai.choice" | "gen_ai.content.completion" => {
            (Group::Output, "onrecord.span.output_events")
        }
        EXCEPTION => (Group::Outcome, "onrecord.span.exceptions"),
        _ if event.attributes.iter().any(|attribute| is_content(&attribute.key)) => {
            (Group::Input, "onrecord.span.input_events")
        }
        _ => (Group::Context, "onrecord.span.events"),
    })
}

fn record_exception(event: &Event, record: &mut Record) {
    let attributes = Attributes::of_list(&event.attributes);
    for (field, name) in [(&field::ERROR_TYPE, "exception.type"), (&field::ERROR_MESSAGE, "exception.message")] {
        if let Some(text) = attributes.text(name).filter(|_| record.get(field).is_none()) {
            record.set(field, text);
        }
    }
}

/// Records links to spans of this or other traces.
pub(super) fn record_links(links: &[Link], record: &mut Record) {
    let link = |link: &Link| json!({ "trace_id": super::hex(&link.trace_id), "span_id": super::hex(&link.span_id), "attributes": json_object(&link.attributes) });
    if !links.is_empty() {
        let links = Json::Array(links.iter().map(link).collect());
        record.set_named(Group::Context, "onrecord.span.links", links.to_string().into_bytes());
    }
}
