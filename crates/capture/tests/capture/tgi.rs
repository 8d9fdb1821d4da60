//! Text Generation Inference: what is particular to it.

use onrecord_capture::{Dialect, TIMING_HEADERS, record_timing_headers};
use onrecord_proof::{Value, field};
use serde_json::json;

use crate::support::{EVENTS, answer, asked, json_of, message, record, request_in, streamed, whole};

#[test]
fn parameters_are_sampling_parameters() {
    for (case, stream) in [("tgi/generate", false), ("tgi/generate_stream", true)] {
        let sent = message(case, "req");
        let (facts, record) = request_in(sent.dialect, sent.head(), &sent.body, record());
        assert_eq!((facts.stream, record.get(&field::STREAM)), (stream, stream.then_some(&Value::Bool(true))));
        let floats = [
            (&field::TEMPERATURE, 0.7),
            (&field::TOP_K, 10.0),
            (&field::TOP_P, 0.95),
            (&field::FREQUENCY_PENALTY, 0.1),
        ];
        for (field, expect) in floats {
            assert_eq!(record.get(field), Some(&Value::Float(expect)), "{}", field.name);
        }
        assert_eq!((record.int(&field::SEED), record.int(&field::MAX_TOKENS)), (Some(42), Some(20)));
        assert_eq!(record.get(&field::STOP_SEQUENCES), Some(&Value::Array(vec!["photographer".into()])));
        assert_eq!(record.text(&field::INPUT_TEXT), Some("My name is Olivier and I"));
    }
}

#[test]
fn a_stream_adds_up_to_its_text_and_its_tokens() {
    let record = answer("tgi/generate_stream").recorded();
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some(" am a photographér"), "the special token is no text");
    assert_eq!((record.int(&field::INPUT_TOKENS), record.int(&field::OUTPUT_TOKENS)), (Some(6), Some(4)));
    assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["eos_token".into()])));
    let messages = json_of(&record, &field::OUTPUT_MESSAGES);
    assert_eq!(messages[0]["extra"], json!({"seed":42,"token_ids":[626,264,17734,2]}));
    let decisions = json_of(&record, &field::LOGPROBS);
    assert_eq!(decisions.as_array().unwrap().len(), 4);
    assert_eq!(
        decisions[0],
        json!({"id":626,"text":" am","logprob":-0.34,"special":false,"top_tokens":[
            {"id":626,"text":" am","logprob":-0.34,"special":false},{"id":506,"text":" have","logprob":-2.1,"special":false}]})
    );
}

#[test]
fn the_whole_text_replaces_what_the_tokens_add_up_to() {
    let token = |text: &str, rest: &str| format!("data:{{\"token\":{{\"id\":1,\"text\":\"{text}\"}},{rest}}}\n\n");
    let body = token("a\u{fffd}", "\"generated_text\":null,\"details\":null")
        + &token("", "\"generated_text\":\"aü\",\"details\":null");
    let fed = streamed(Dialect::TgiGenerateStream, EVENTS, &body);
    assert_eq!(fed.record.text(&field::OUTPUT_TEXT), Some("aü"));
    assert!(fed.held.ends_with(b"\"details\":null}\n\n") && !fed.released.is_empty());
    let details = "data:{\"token\":{\"id\":1,\"text\":\"a\"},\"generated_text\":null,\"details\":{\"finish_reason\":\"length\"}}\n\n";
    assert_eq!(streamed(Dialect::TgiGenerateStream, EVENTS, details).held, details.as_bytes());
}

#[test]
fn whole_answers() {
    let record = answer("tgi/generate").recorded();
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some(" am a photographer"));
    assert_eq!((record.int(&field::INPUT_TOKENS), record.int(&field::OUTPUT_TOKENS)), (Some(2), Some(3)));
    assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["stop_sequence".into()])));
    let head = answer("tgi/generate");
    let mut record = crate::support::record();
    let stated = TIMING_HEADERS.iter().filter_map(|name| Some((*name, head.header(name)?)));
    record_timing_headers(stated, &mut record);
    assert_eq!((record.int(&field::UPSTREAM_TOTAL), record.int(&field::OUTPUT_TOKENS)), (Some(154_000), Some(3)));
    assert_eq!(json_of(&record, &field::TIMINGS)["x-inference-time"], 152);
    let plain = answer("tgi/generate_plain").recorded();
    assert_eq!(
        (plain.text(&field::OUTPUT_TEXT), plain.text(&field::CAPTURE)),
        (Some(" am a photographer"), Some("parsed"))
    );
    let list = whole(Dialect::TgiGenerate, r#"[{"generated_text":"a"}]"#);
    assert_eq!((list.text(&field::OUTPUT_TEXT), list.text(&field::CAPTURE)), (Some("a"), Some("parsed")));
    assert_eq!(whole(Dialect::TgiGenerate, r#"{"text":"of another server"}"#).text(&field::CAPTURE), Some("unparsed"));
    assert_eq!(asked(Dialect::TgiGenerate, r#"{"inputs":5}"#).1.get(&field::INPUT_TEXT), None);
}

#[test]
fn errors() {
    let record = answer("tgi/generate_stream_error").recorded();
    assert_eq!(
        (record.text(&field::ERROR_TYPE), record.text(&field::ERROR_STAGE)),
        (Some("generation"), Some("stream"))
    );
    let words = "Request failed during generation: Server error: CUDA out of memory";
    assert_eq!((record.text(&field::ERROR_MESSAGE), record.text(&field::OUTPUT_TEXT)), (Some(words), Some("Hel")));
    let record = answer("tgi/error_validation").recorded();
    assert_eq!(
        (record.text(&field::ERROR_TYPE), record.text(&field::ERROR_STAGE)),
        (Some("validation"), Some("upstream"))
    );
}
