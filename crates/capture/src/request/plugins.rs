//! What a call brings along besides the conversation: the application's prompt template, tools, MCP servers, adapters, and
//! plugins that the application declares.

use onrecord_proof::{Field, Map, Record, Value, field};
use sha2::{Digest as _, Sha256};

use super::asked::Known;
use crate::json::{self, RawValue};

/// The members of requests that say so: tools of all dialects, MCP servers of Anthropic's, adapters of llama.cpp's.
pub(super) const MEMBERS: [&str; 4] = ["tools", "functions", "mcp_servers", "lora"];
/// Tools, servers or adapters that are recorded by name; the body has them all.
const COUNT_MAX: usize = 256;
/// Bytes of a name.
const NAME_MAX: usize = 256;

/// What an application declares, in a header or a member of `metadata` of this name.
pub const DECLARED: [&str; 4] =
    ["x-onrecord-template", "x-onrecord-template-vars", "x-onrecord-template-sha256", "x-onrecord-plugins"];

/// Records what an application declares under one of the names in [`DECLARED`], unless that is on record already.
pub fn declare(name: &str, value: &str, record: &mut Record) {
    let value = value.trim();
    if value.is_empty() {
        return;
    }
    match name {
        "x-onrecord-template" if record.get(&field::PROMPT_NAME).is_none() => {
            let (name, version) = value.rsplit_once('@').map_or((value, None), |(name, version)| (name, Some(version)));
            record.set(&field::PROMPT_NAME, short(name));
            if let Some(version) = version {
                record.set(&field::PROMPT_VERSION, short(version));
            }
        }
        "x-onrecord-template-vars" => set_new(record, &field::PROMPT_VARIABLES, || value.as_bytes().to_vec()),
        "x-onrecord-template-sha256" => {
            if let Some(digest) = digest(value) {
                set_new(record, &field::PROMPT_SHA256, || digest);
            }
        }
        "x-onrecord-plugins" => set_new(record, &field::PLUGINS, || {
            let names = value.split(',').map(str::trim).filter(|name| !name.is_empty()).take(COUNT_MAX);
            names.map(|name| Value::from(short(name))).collect::<Vec<_>>()
        }),
        _ => {}
    }
}

fn set_new<V: Into<Value>>(record: &mut Record, field: &Field, value: impl FnOnce() -> V) {
    if record.get(field).is_none() {
        record.set(field, value());
    }
}

/// Records what the members of a request say; nothing if there are none.
pub(super) fn record(known: &Known<'_>, record: &mut Record) {
    if let Some(metadata) = known.get("metadata") {
        let _ = json::members(metadata.get(), |name, value| {
            if DECLARED.contains(&&*name) {
                declare(&name, &json::text(value).unwrap_or_else(|| value.get().into()), record);
            }
        });
    }
    let (mut tools, mut servers) = (Map::new(), Map::new());
    for member in ["tools", "functions", "mcp_servers"] {
        if let Some(list) = known.get(member) {
            json::items(list, |item| brought(member, item, &mut tools, &mut servers));
        }
    }
    for (field, map) in [(&field::TOOLS, tools), (&field::MCP_SERVERS, servers)] {
        if !map.is_empty() {
            record.set(field, map);
        }
    }
    if let Some(list) = known.get("lora") {
        adapters(list, record);
    }
}

/// One tool or MCP server. A tool has the digest of its definition as it was sent, so that a changed one shows.
fn brought(member: &str, item: &RawValue, tools: &mut Map, servers: &mut Map) {
    let text = |name| json::member_of(item, name).and_then(json::non_empty);
    let kind = text("type");
    if member == "mcp_servers" || kind.as_deref() == Some("mcp") {
        let name = text("server_label").or_else(|| text("name"));
        let url = text("server_url").or_else(|| text("url")).or_else(|| text("connector_id"));
        if let (Some(name), true) = (name, servers.len() < COUNT_MAX) {
            servers.set(short(&name).to_owned(), without_secrets(&url.unwrap_or_default()));
        }
        return;
    }
    let function = json::member_of(item, "function").and_then(|function| json::member_of(function, "name"));
    let name = function.and_then(json::non_empty).or_else(|| text("name")).or(kind);
    if let (Some(name), true) = (name, tools.len() < COUNT_MAX) {
        tools.set(short(&name).to_owned(), hex(&Sha256::digest(item.get())));
    }
}

/// A URL without user, password, query and fragment, where keys stand.
fn without_secrets(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", &rest[end..])
}

/// llama.cpp's adapters of one request: `[{"id": 0, "scale": 0.5}]`.
fn adapters(list: &RawValue, record: &mut Record) {
    let mut names: Vec<Value> = Vec::new();
    json::items(list, |adapter| {
        let part = |name| json::member_of(adapter, name).map(RawValue::get);
        if let (Some(id), true) = (part("id"), names.len() < COUNT_MAX) {
            names.push(short(&format!("{id} scale={}", part("scale").unwrap_or("1"))).into());
        }
    });
    if !names.is_empty() {
        record.set(&field::ADAPTERS, names);
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_MAX)]
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

fn digest(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.strip_prefix("sha256:").unwrap_or(hex).as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit))
        .then(|| digits.chunks(2).filter_map(byte).collect())
}

#[cfg(test)]
mod tests {
    use onrecord_proof::Kind;

    use super::*;
    use crate::{BodyHead, Dialect, Limits, Request};

    fn request(dialect: Dialect, body: &str, declared: &[(&str, &str)]) -> Record {
        let mut record = Record::new(uuid::Uuid::nil(), Kind::Interaction, 0, [0; 32]);
        for (name, value) in declared {
            declare(name, value, &mut record);
        }
        let mut request = Request::new(Limits::default());
        request.push(body.as_bytes());
        request.finish(dialect, BodyHead::default(), &mut record);
        record
    }

    fn map(record: &Record, field: &Field) -> Vec<(String, String)> {
        let entries = record.get(field).and_then(Value::as_map).into_iter().flat_map(Map::iter);
        entries.map(|(name, value)| (name.to_owned(), value.as_text().unwrap_or_default().to_owned())).collect()
    }

    #[test]
    fn tools_have_a_digest_of_their_definition() {
        let weather = r#"{"type":"function","function":{"name":"weather","parameters":{}}}"#;
        let body = format!(r#"{{"tools":[{weather},{{"type":"web_search"}}],"messages":[]}}"#);
        let tools = map(&request(Dialect::OpenAiChat, &body, &[]), &field::TOOLS);
        assert_eq!(tools[0], ("weather".into(), hex(&Sha256::digest(weather))));
        assert_eq!(tools[1].0, "web_search");
        let changed = body.replace("\"parameters\":{}", "\"parameters\":{\"x\":1}");
        assert_ne!(map(&request(Dialect::OpenAiChat, &changed, &[]), &field::TOOLS)[0], tools[0]);
    }

    #[test]
    fn mcp_servers_of_both_dialects_without_their_keys() {
        let body = r#"{"tools":[{"type":"mcp","server_label":"docs","server_url":"https://u:p@mcp.example/sse?key=s","authorization":"t"}]}"#;
        let openai = request(Dialect::OpenAiResponses, body, &[]);
        assert_eq!(map(&openai, &field::MCP_SERVERS), [("docs".into(), "https://mcp.example/sse".into())]);
        assert_eq!(openai.get(&field::TOOLS), None);
        let body = r#"{"mcp_servers":[{"type":"url","url":"https://m.example","name":"m"}],"messages":[],"tools":[{"name":"t","input_schema":{}}]}"#;
        let anthropic = request(Dialect::AnthropicMessages, body, &[]);
        assert_eq!(map(&anthropic, &field::MCP_SERVERS), [("m".into(), "https://m.example".into())]);
        assert_eq!(map(&anthropic, &field::TOOLS)[0].0, "t");
    }

    #[test]
    fn what_the_application_declares_in_headers_goes_before_metadata() {
        let body = r#"{"metadata":{"x-onrecord-template":"other","x-onrecord-template-vars":{"a":1},"x-onrecord-plugins":"x, y"}}"#;
        let record = request(Dialect::OpenAiChat, body, &[("x-onrecord-template", "support/answer@3")]);
        assert_eq!(record.text(&field::PROMPT_NAME), Some("support/answer"));
        assert_eq!(record.text(&field::PROMPT_VERSION), Some("3"));
        assert_eq!(record.get(&field::PROMPT_VARIABLES).and_then(Value::as_bytes), Some(&br#"{"a":1}"#[..]));
        assert_eq!(record.get(&field::PLUGINS), Some(&Value::Array(vec!["x".into(), "y".into()])));
        let bad = request(Dialect::OpenAiChat, "{}", &[("x-onrecord-template-sha256", "12")]);
        assert_eq!(bad.get(&field::PROMPT_SHA256), None);
    }

    #[test]
    fn adapters_of_a_request() {
        let record = request(Dialect::LlamaCompletion, r#"{"prompt":"a","lora":[{"id":0,"scale":0.5}]}"#, &[]);
        assert_eq!(record.get(&field::ADAPTERS), Some(&Value::Array(vec!["0 scale=0.5".into()])));
    }
}
