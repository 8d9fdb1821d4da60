//! What a client gets of an answer with decisions that it did not ask for is the answer without them.

use onrecord_capture::{Ask, Limits, Response, StoredDecisions, Undo};
use onrecord_proof::{Record, field};
use serde_json::Value;

use crate::support::{Message, answer, message, record};

/// The undo of a request for three alternatives.
fn undo(case: &str) -> Undo {
    let request = message(case, "req");
    let Ask::Injected(_, undo) = Ask::for_decisions(request.dialect, &request.body, 3) else {
        panic!("{case} asks for decisions itself")
    };
    undo
}

/// What goes to the client, and the record.
fn passed(with: &Message, undo: &Undo, pieces: &[&[u8]]) -> (Vec<u8>, Record) {
    passed_within(Limits::default(), with, undo, pieces)
}

fn passed_within(limits: Limits, with: &Message, undo: &Undo, pieces: &[&[u8]]) -> (Vec<u8>, Record) {
    let mut response = Response::new(with.dialect, with.status(), with.head(), limits).with_undo(undo.clone());
    let (mut all, mut record) = (Vec::new(), record());
    for piece in pieces {
        let mut out = Vec::new();
        response.pass(piece, 7, &mut out);
        all.append(&mut out);
    }
    let mut out = Vec::new();
    response.pass_end(9, &mut out);
    all.append(&mut out);
    response.finish(with.end, &mut record);
    (all, record)
}

/// Without what differs from call to call. Of each event the text is compared, not only what it says.
fn comparable(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).unwrap();
    let number = |text: &mut String, name: &str| {
        while let Some(at) = text.find(name) {
            let end = text[at + name.len()..].find([',', '}']).map(|end| at + name.len() + end).unwrap();
            text.replace_range(at..end, "");
        }
    };
    let lines = text.lines().map(|line| {
        let mut line = line.to_owned();
        if let Some(at) = line.find(",\"timings\":{") {
            let end = at + line[at..].find('}').unwrap();
            line.replace_range(at..=end, "");
        }
        for name in [
            "\"id\":\"",
            "\"created\":",
            "_ms\":",
            "_per_second\":",
            "\"cache_n\":",
            "\"prompt_n\":",
            "\"cached_tokens\":",
            "\"tokens_cached\":",
        ] {
            number(&mut line, name);
        }
        line
    });
    lines.collect()
}

const PAIRS: [(&str, &str); 8] = [
    ("llama-server/chat", "llama-server/chat_logprobs"),
    ("llama-server/chat_stream_usage", "llama-server/chat_stream_logprobs"),
    ("llama-server/completions", "llama-server/completions_logprobs"),
    ("llama-server/completions_stream", "llama-server/completions_stream_logprobs"),
    ("vllm/chat", "vllm/chat_logprobs"),
    ("vllm/chat_stream_usage", "vllm/chat_stream_logprobs"),
    ("vllm/chat_stream_tools", "vllm/chat_stream_tools_logprobs"),
    ("vllm/completions_stream_usage", "vllm/completions_stream_logprobs"),
];

#[test]
fn the_client_sees_what_it_would_have_seen() {
    for (without, with) in PAIRS {
        let (plain, full) = (answer(without), answer(with));
        let undo = if without.ends_with("tools") { undo("vllm/chat_stream_usage") } else { undo(without) };
        let (bytes, record) = passed(&full, &undo, &[&full.body]);
        let (got, expect) = (comparable(&bytes), comparable(&plain.body));
        // These two were asked for answers of different lengths.
        let lines = if with.contains("completions_stream") { 8 } else { usize::MAX };
        for (got, expect) in got.iter().zip(&expect).take(lines) {
            assert_eq!(got, expect, "{with}");
        }
        assert!(got.len() == expect.len() || with.contains("completions_stream"), "{with}");
        assert!(record.get(&field::DECISION_COUNT).and_then(onrecord_proof::Value::as_int).unwrap() > 1, "{with}");
    }
}

#[test]
fn pieces_make_no_difference_and_the_decisions_are_those_that_came() {
    for (without, with) in PAIRS {
        let full = answer(with);
        let undo = if without.ends_with("tools") { undo("vllm/chat_stream_usage") } else { undo(without) };
        let (bytes, whole) = passed(&full, &undo, &[&full.body]);
        let kept = full.recorded();
        for name in [&field::DECISION_COUNT, &field::MEAN_ENTROPY, &field::LOGPROB_SUM, &field::MIN_MARGIN] {
            assert_eq!(whole.get(name), kept.get(name), "{with} {}", name.name);
        }
        let from = full.body.len().saturating_sub(1500);
        for at in from..=full.body.len() {
            let (one, other) = full.body.split_at(at);
            let (again, record) = passed(&full, &undo, &[one, other]);
            assert!(again == bytes, "{with} cut at {at}");
            assert_eq!(record.get(&field::LOGPROBS), whole.get(&field::LOGPROBS), "{with} cut at {at}");
            assert_eq!(record.get(&field::OUTPUT_SHA256), whole.get(&field::OUTPUT_SHA256), "{with} cut at {at}");
        }
        let pieces: Vec<_> = full.body.chunks(1).collect();
        assert!(passed(&full, &undo, &pieces).0 == bytes, "{with} byte by byte");
    }
}

#[test]
fn what_the_record_has_no_room_for_is_taken_out_all_the_same() {
    for (without, with) in PAIRS {
        let full = answer(with);
        let undo = if without.ends_with("tools") { undo("vllm/chat_stream_usage") } else { undo(without) };
        let limits = Limits { body: 64, ..Limits::default() };
        let (bytes, _) = passed_within(limits, &full, &undo, &[&full.body]);
        assert!(full.body.len() > 64 && bytes == passed(&full, &undo, &[&full.body]).0, "{with}");
    }
}

#[test]
fn a_completion_that_asks_for_the_chosen_tokens_alone_is_left_as_it_is() {
    let ask = |body: &str| Ask::for_decisions(onrecord_capture::Dialect::OpenAiCompletions, body.as_bytes(), 3);
    assert!(!matches!(ask(r#"{"prompt":"x","logprobs":0}"#), Ask::Injected(..)));
    assert!(matches!(ask(r#"{"prompt":"x","logprobs":null}"#), Ask::Injected(..)));
}

#[test]
fn native_answers_tell_the_settings_that_the_client_chose() {
    let full = answer("llama-server/native_probs");
    let Ask::Injected(_, undo) = Ask::for_decisions(full.dialect, b"{\"prompt\":\"x\"}", 3) else { panic!() };
    let (bytes, _) = passed(&full, &undo, &[&full.body]);
    let mut expect: Value = serde_json::from_slice(&full.body).unwrap();
    expect.as_object_mut().unwrap().remove("completion_probabilities").unwrap();
    expect["generation_settings"]["n_probs"] = 0.into();
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), expect);
}

#[test]
fn a_client_that_asks_for_fewer_gets_its_own_number() {
    let full = answer("llama-server/chat_stream_logprobs");
    let body = br#"{"logprobs":true,"top_logprobs":1}"#;
    let Ask::Injected(changed, undo) = Ask::for_decisions(full.dialect, body, 2) else { panic!() };
    assert_eq!(changed, br#"{"logprobs":true,"top_logprobs":2}"#);
    let (bytes, record) = passed(&full, &undo, &[&full.body]);
    let chunks = |bytes: &[u8]| -> Vec<Value> {
        let text = std::str::from_utf8(bytes).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
    };
    let (got, mut expect) = (chunks(&bytes), chunks(&full.body));
    for item in
        expect.iter_mut().filter_map(|chunk| chunk.pointer_mut("/choices/0/logprobs/content")?.as_array_mut()).flatten()
    {
        item["top_logprobs"].as_array_mut().unwrap().truncate(1);
    }
    assert_eq!(got, expect);
    let tokens = tokens(&record, "openai.chat");
    assert!(!tokens.is_empty() && tokens.iter().all(|token| token.alternatives.len() == 2));
}

fn tokens(record: &Record, dialect: &str) -> Vec<onrecord_capture::Token> {
    let bytes = |field| record.get(field).and_then(|value| value.as_bytes());
    StoredDecisions {
        dialect,
        logprobs: bytes(&field::LOGPROBS),
        times: bytes(&field::TOKEN_TIMES),
        body: bytes(&field::OUTPUT_BODY),
        encoding: None,
        messages: bytes(&field::OUTPUT_MESSAGES),
    }
    .tokens()
}

#[test]
fn what_is_stored_gives_the_tokens_again() {
    for (case, text) in [
        ("llama-server/chat_stream_logprobs", "Hello! How can I help you today?"),
        ("llama-server/chat_logprobs", "Hello! How can I help you today?"),
        ("vllm/completions_stream_logprobs", " string of the current file."),
        ("vllm/completions_token_ids", " string of the current"),
        ("vllm/responses_logprobs", "Hello! How can I help"),
        ("llama-server/native_stream_probs", " string of the current file."),
        ("tgi/generate_stream", ""),
        ("tgi/generate", ""),
        ("sglang/generate_stream_logprobs", " Paris, the ville"),
        ("sglang/generate_stream_incremental", " Paris, the villeé"),
        ("sglang/generate_logprobs", " Paris, the villeé"),
    ] {
        let message = answer(case);
        let record = message.recorded();
        let tokens = tokens(&record, message.dialect.name());
        let count = record.get(&field::DECISION_COUNT).and_then(onrecord_proof::Value::as_int).unwrap();
        assert_eq!(tokens.len() as i64, count, "{case}");
        let all: String = tokens.iter().map(|token| token.chosen.text.as_str()).collect();
        assert!(all.starts_with(text) && tokens.iter().all(|token| token.chosen.logprob.is_some()), "{case}: {all}");
        let is_stream = case.contains("stream");
        assert!(tokens.iter().all(|token| token.time_us.is_some() == is_stream), "{case}: {tokens:?}");
    }
    let ids: Vec<_> = tokens(&answer("vllm/completions_token_ids").recorded(), "openai.completions")
        .iter()
        .map(|token| token.chosen.id.unwrap())
        .collect();
    assert_eq!(ids, [483, 318, 270, 802]);
}
