//! What streams add up to, worked out a second time with JSON values and nothing clever.

use std::collections::BTreeSet;

use onrecord_capture::Dialect;
use onrecord_proof::{Record, field};
use serde_json::Value;

use crate::support::{answer, chats, streams};

/// The chunks of a stream, in order.
fn chunks(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// All choices of all chunks that have this index.
fn choices(chunks: &[Value], index: u64) -> Vec<&Value> {
    let all = chunks.iter().filter_map(|chunk| chunk["choices"].as_array()).flatten();
    all.filter(|choice| choice["index"] == index).collect()
}

fn texts(choices: &[&Value], members: &[&str]) -> String {
    let of = |choice: &&Value| members.iter().find_map(|member| choice["delta"][member].as_str().map(str::to_owned));
    choices.iter().filter_map(of).collect()
}

fn bytes_of(record: &Record, field: &onrecord_proof::Field) -> Value {
    serde_json::from_slice(record.get(field).unwrap().as_bytes().unwrap()).unwrap()
}

fn part(message: &Value, kind: &str, member: &str) -> String {
    let parts = message["parts"].as_array().unwrap().iter().filter(|part| part["type"] == kind);
    parts.map(|part| part[member].as_str().unwrap()).collect()
}

#[test]
fn messages_are_what_the_deltas_add_up_to() {
    for case in chats().iter().filter(|case| !case.contains("oai")) {
        let answer = answer(case);
        let (record, chunks) = (answer.recorded(), chunks(&answer.body));
        let messages = bytes_of(&record, &field::OUTPUT_MESSAGES);
        for (index, message) in messages.as_array().unwrap().iter().enumerate() {
            let choices = choices(&chunks, index as u64);
            assert_eq!(part(message, "text", "content"), texts(&choices, &["content"]), "{case}");
            let reasoning = texts(&choices, &["reasoning_content", "reasoning"]);
            assert_eq!(part(message, "reasoning", "content"), reasoning, "{case}");
            let reason = choices.iter().rev().find_map(|choice| choice["finish_reason"].as_str());
            assert_eq!(message["finish_reason"].as_str(), reason, "{case}");
            let calls = choices.iter().filter_map(|choice| choice["delta"]["tool_calls"].as_array()).flatten();
            let arguments: String = calls.filter_map(|call| call["function"]["arguments"].as_str()).collect();
            assert_eq!(part(message, "tool_call", "arguments"), arguments, "{case}");
        }
    }
}

/// What one event of a stream adds to the text of the answer.
fn piece(dialect: Dialect, event: &Value) -> Option<&str> {
    let kind = event["type"].as_str();
    match dialect {
        Dialect::OpenAiChat => event["choices"][0]["delta"]["content"].as_str(),
        Dialect::OpenAiCompletions => event["choices"][0]["text"].as_str(),
        Dialect::OpenAiResponses => event["delta"].as_str().filter(|_| kind == Some("response.output_text.delta")),
        Dialect::AnthropicMessages => event["delta"]["text"].as_str(),
        Dialect::OllamaChat => event["message"]["content"].as_str(),
        Dialect::OllamaGenerate => event["response"].as_str(),
        Dialect::LlamaCompletion => event["content"].as_str(),
        Dialect::TgiGenerateStream => event["token"]["text"].as_str().filter(|_| event["token"]["special"] == false),
        Dialect::SglangGenerate => event["text"].as_str(),
        Dialect::LmStudioChat => event["content"].as_str().filter(|_| kind == Some("message.delta")),
        other => panic!("{other:?} has no streams"),
    }
}

#[test]
fn the_text_of_every_stream_is_what_its_events_add_up_to() {
    let mut seen = BTreeSet::new();
    for case in streams().iter().filter(|case| !case.contains("n2")) {
        let answer = answer(case);
        let text = std::str::from_utf8(&answer.body).unwrap();
        let data = text.lines().map(|line| line.strip_prefix("data:").unwrap_or(line));
        let events: Vec<Value> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
        // This one is of completions and kept without its request.
        let dialect = if case.contains("oai") { Dialect::OpenAiCompletions } else { answer.dialect };
        let mut pieces: Vec<_> = events.iter().filter_map(|event| piece(dialect, event)).collect();
        // The events of SGLang have all of the text, unless the server is told otherwise.
        if dialect == Dialect::SglangGenerate && !case.contains("incremental") {
            pieces.drain(..pieces.len().saturating_sub(1));
        }
        let expect = pieces.concat();
        assert_eq!(answer.recorded().text(&field::OUTPUT_TEXT).unwrap_or_default(), expect, "{case}");
        seen.insert(dialect.name());
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn every_token_decision_and_token_id_is_kept() {
    let mut decisions = 0;
    for case in chats() {
        let answer = answer(&case);
        let (record, chunks) = (answer.recorded(), chunks(&answer.body));
        let (mut expect, mut ids) = (Vec::new(), Vec::new());
        for choice in (0..4).flat_map(|index| choices(&chunks, index)) {
            expect.extend(choice["logprobs"]["content"].as_array().cloned().unwrap_or_default());
            ids.extend(choice["token_ids"].as_array().cloned().unwrap_or_default());
        }
        decisions += expect.len();
        let kept = record.get(&field::LOGPROBS).map(|_| bytes_of(&record, &field::LOGPROBS));
        assert_eq!(kept, (!expect.is_empty()).then_some(Value::Array(expect)), "{case}");
        if !ids.is_empty() {
            assert_eq!(
                bytes_of(&record, &field::OUTPUT_MESSAGES)[0]["extra"]["token_ids"],
                Value::Array(ids),
                "{case}"
            );
        }
    }
    assert!(decisions > 50, "there are answers with log-probabilities");
}

#[test]
fn nothing_of_a_chunk_is_lost() {
    for case in chats().iter().filter(|case| !case.contains("oai") && !case.contains("n2")) {
        let answer = answer(case);
        let (record, chunks) = (answer.recorded(), chunks(&answer.body));
        let messages = bytes_of(&record, &field::OUTPUT_MESSAGES);
        let known = ["id", "object", "model", "system_fingerprint", "choices", "timings", "stats"];
        for (name, _) in chunks.iter().flat_map(|chunk| chunk.as_object().unwrap()) {
            let last = chunks.iter().rev().map(|chunk| &chunk[name]).find(|value| !value.is_null());
            if !known.contains(&name.as_str())
                && let Some(last) = last
            {
                assert_eq!(&messages[0]["extra"][name], last, "{case}: {name}");
            }
        }
    }
}

#[test]
fn usage_and_timings_are_the_last_that_were_sent() {
    for case in chats() {
        let answer = answer(&case);
        let (record, chunks) = (answer.recorded(), chunks(&answer.body));
        let last = |name| chunks.iter().rev().map(|chunk| &chunk[name]).find(|value| value.is_object());
        let tokens = last("usage").and_then(|usage| usage["completion_tokens"].as_i64());
        assert_eq!(record.int(&field::OUTPUT_TOKENS), tokens, "{case}");
        let timings = record.get(&field::TIMINGS).map(|_| bytes_of(&record, &field::TIMINGS));
        assert_eq!(timings.as_ref(), last("timings").or_else(|| last("stats")), "{case}");
    }
}
