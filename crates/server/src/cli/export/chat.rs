//! Calls as conversations, in the form in which OpenAI takes them for fine-tuning: `messages`, and `tools` if there were any.

use serde_json::{Value, json};

use super::Row;

pub(super) const COLUMNS: &str = "leaf_index, input, output, prompt, answer";

/// The conversation of a call with its answer as the last message; none without an answer or without a question.
pub(super) fn conversation(row: &Row) -> Option<Value> {
    let parsed = |name: &str| row.get(name)?.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let (input, output) = (parsed("input").unwrap_or_default(), parsed("output").unwrap_or_default());
    let text = |name: &str| row.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut messages = asked(&input, text("prompt"))?;
    messages.push(answered(&output, text("answer"))?);
    let mut conversation = json!({ "messages": messages });
    if let Some(tools) = input["tools"].as_array().filter(|tools| !tools.is_empty()) {
        conversation["tools"] = json!(tools);
    }
    Some(conversation)
}

/// The messages of a request: its own, with the system prompt that Anthropic keeps beside them, or the text of its prompt.
fn asked(input: &Value, prompt: Option<&str>) -> Option<Vec<Value>> {
    let Some(own) = input["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        return Some(vec![json!({ "role": "user", "content": prompt? })]);
    };
    let system = input.get("system").map(|system| json!({ "role": "system", "content": system }));
    Some(system.into_iter().chain(own.iter().cloned()).collect())
}

/// The message of a whole answer, or one put together from the text and the tool calls of a stream.
fn answered(output: &Value, text: Option<&str>) -> Option<Value> {
    let message =
        [&output["choices"][0]["message"], &output["message"]].into_iter().find(|message| message.is_object());
    if let Some(message) = message {
        let mut kept = json!({ "role": "assistant", "content": message["content"] });
        if let Some(calls) = message["tool_calls"].as_array().filter(|calls| !calls.is_empty()) {
            kept["tool_calls"] = json!(calls);
        }
        return (!kept["content"].is_null() || kept.get("tool_calls").is_some()).then_some(kept);
    }
    let calls: Vec<_> = output[0]["parts"].as_array().into_iter().flatten().filter_map(tool_call).collect();
    if calls.is_empty() {
        return text.map(|text| json!({ "role": "assistant", "content": text }));
    }
    Some(json!({ "role": "assistant", "content": text, "tool_calls": calls }))
}

/// A part of OpenTelemetry's form as a tool call of OpenAI's.
fn tool_call(part: &Value) -> Option<Value> {
    if part["type"] != "tool_call" {
        return None;
    }
    let arguments = match &part["arguments"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(json!({ "id": part["id"], "type": "function", "function": { "name": part["name"], "arguments": arguments } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(row: &Value, expect: Option<&Value>) {
        assert_eq!(conversation(row.as_object().unwrap()).as_ref(), expect);
    }

    #[test]
    fn conversations() {
        let hello = json!([{ "role": "user", "content": "Hello?" }]);
        let asked = json!({ "messages": hello, "max_tokens": 3 }).to_string();
        let message = json!({ "role": "assistant", "content": "Hi.", "refusal": null, "reasoning_content": "greet" });
        check(
            &json!({ "input": asked, "output": json!({ "choices": [{ "message": message }] }).to_string(), "answer": "Hi." }),
            Some(
                &json!({ "messages": [{ "role": "user", "content": "Hello?" }, { "role": "assistant", "content": "Hi." }] }),
            ),
        );
        check(
            &json!({ "input": json!({ "system": "Be kind.", "messages": hello }).to_string(), "output": "[]", "answer": "Hi." }),
            Some(&json!({ "messages": [
                { "role": "system", "content": "Be kind." }, { "role": "user", "content": "Hello?" }, { "role": "assistant", "content": "Hi." }
            ] })),
        );
        let parts = json!([{ "role": "assistant", "parts": [{ "type": "tool_call", "id": "c1", "name": "add", "arguments": { "a": 1 } }] }]);
        check(
            &json!({ "input": asked, "output": parts.to_string(), "answer": null }),
            Some(&json!({ "messages": [
                { "role": "user", "content": "Hello?" },
                { "role": "assistant", "content": null, "tool_calls": [
                    { "id": "c1", "type": "function", "function": { "name": "add", "arguments": "{\"a\":1}" } }
                ] }
            ] })),
        );
        check(
            &json!({ "input": "{\"prompt\":\"Once\"}", "prompt": "Once", "answer": "upon" }),
            Some(
                &json!({ "messages": [{ "role": "user", "content": "Once" }, { "role": "assistant", "content": "upon" }] }),
            ),
        );
        check(&json!({ "input": asked, "output": "{\"error\":{}}" }), None);
        check(&json!({ "answer": "nobody asked" }), None);
    }
}
