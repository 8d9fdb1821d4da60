//! SGLang: what is particular to it.

use onrecord_capture::Dialect;
use onrecord_proof::{Value, field};
use serde_json::json;

use crate::support::{EVENTS, answer, asked, events, json_of, message, record, request_in, streamed, whole};

#[test]
fn parameters_are_sampling_parameters() {
    for (case, stream) in [("sglang/generate", false), ("sglang/generate_stream", true)] {
        let sent = message(case, "req");
        let (facts, record) = request_in(Dialect::TgiGenerate, sent.head(), &sent.body, record());
        assert_eq!((facts.dialect, facts.stream), (Dialect::SglangGenerate, stream), "the body tells");
        let floats = [
            (&field::TEMPERATURE, 0.7),
            (&field::TOP_K, 20.0),
            (&field::TOP_P, 0.95),
            (&field::FREQUENCY_PENALTY, 0.1),
            (&field::PRESENCE_PENALTY, 0.2),
        ];
        for (field, expect) in floats {
            assert_eq!(record.get(field), Some(&Value::Float(expect)), "{}", field.name);
        }
        assert_eq!((record.int(&field::SEED), record.int(&field::MAX_TOKENS)), (Some(42), Some(32)));
        assert_eq!(record.get(&field::STOP_SEQUENCES), Some(&Value::Array(vec!["\n\n".into()])));
        assert_eq!(record.text(&field::INPUT_TEXT), Some("The capital of France is"));
    }
    let batch = asked(Dialect::SglangGenerate, r#"{"text":["a","b"]}"#).1;
    assert_eq!(batch.text(&field::INPUT_TEXT), Some("a\nb"));
}

#[test]
fn a_whole_answer() {
    let record = answer("sglang/generate").recorded();
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some(" Paris, the villeé"));
    assert_eq!(
        [&field::INPUT_TOKENS, &field::OUTPUT_TOKENS, &field::CACHED_TOKENS].map(|field| record.int(field)),
        [Some(6), Some(6), Some(1)]
    );
    assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["stop".into()])));
    assert_eq!(record.get(&field::STOPPED_BY), Some(&Value::Array(vec!["\n\n".into()])));
    assert_eq!((record.text(&field::RESPONSE_ID), record.int(&field::UPSTREAM_TOTAL)), (Some("b1c2"), Some(214_300)));
    let batch = answer("sglang/generate_batch").recorded();
    assert_eq!(batch.text(&field::OUTPUT_TEXT), Some(" Paris,\n villeé"));
    assert_eq!((batch.int(&field::INPUT_TOKENS), batch.int(&field::OUTPUT_TOKENS)), (Some(11), Some(4)));
}

#[test]
fn a_stream_adds_up_to_the_same_whether_it_repeats_itself_or_not() {
    let of = |case: &str| answer(case).recorded();
    let (repeating, incremental) = (of("sglang/generate_stream"), of("sglang/generate_stream_incremental"));
    for record in [&repeating, &incremental] {
        assert_eq!(record.text(&field::OUTPUT_TEXT), Some(" Paris, the villeé"));
        let messages = json_of(record, &field::OUTPUT_MESSAGES);
        assert_eq!(messages[0]["extra"]["token_ids"], json!([12366, 11, 279, 3283, 10, 128_009]));
        assert_eq!(messages[0]["extra"]["matched"], 128_009);
        assert_eq!(record.int(&field::OUTPUT_TOKENS), Some(6));
    }
    let decisions = json_of(&incremental, &field::LOGPROBS);
    assert_eq!(decisions.as_array().unwrap().len(), 6, "{decisions}");
    assert_eq!(decisions[3], json!({ "output_token_logprobs": [-0.4, 3283, " ville"] }));
    let decisions = json_of(&of("sglang/generate_stream_logprobs"), &field::LOGPROBS);
    assert_eq!(decisions.as_array().unwrap().len(), 4, "{decisions}");
    let expect = json!({ "output_token_logprobs": [-1.6, 279, " the"], "output_top_logprobs": [[-1.6, 279, " the"], [-3.1, 280, " x"]] });
    assert_eq!(decisions[2], expect);
}

#[test]
fn a_stream_without_token_ids_repeats_itself() {
    let event = |text: &str, finish: &str| {
        format!(r#"{{"text":"{text}","meta_info":{{"id":"a","finish_reason":{finish},"completion_tokens":2}}}}"#)
    };
    let stop = r#"{"type":"stop","matched":"EN"}"#;
    let body = events(&[&event("a", "null"), &event("ab EN", "null"), &event("ab ", stop)]);
    let fed = streamed(Dialect::SglangGenerate, EVENTS, &body);
    assert_eq!(fed.record.text(&field::OUTPUT_TEXT), Some("ab "), "the stop string is taken off again");
    assert_eq!(fed.record.get(&field::STOP_REASONS), Some(&Value::Array(vec!["stop".into()])));
    assert_eq!(fed.held, b"data: [DONE]\n\n");
}

#[test]
fn several_answers_are_told_apart_by_their_index() {
    let record = answer("sglang/generate_stream_n2").recorded();
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some(" Paris,\n villeé"));
    assert_eq!((record.int(&field::INPUT_TOKENS), record.int(&field::OUTPUT_TOKENS)), (Some(12), Some(4)));
}

#[test]
fn errors() {
    for (case, stage, kind, begin, text) in [
        ("generate_stream_abort", "stream", "abort", "The request is aborted", Some(" Paris")),
        ("generate_stream_error", "stream", "error", "Requested token count exceeds", None),
        ("error_validation", "upstream", "http_400", "Either text, input_ids", None),
    ] {
        let record = answer(&format!("sglang/{case}")).recorded();
        assert_eq!(
            (record.text(&field::ERROR_STAGE), record.text(&field::ERROR_TYPE)),
            (Some(stage), Some(kind)),
            "{case}"
        );
        assert!(record.text(&field::ERROR_MESSAGE).unwrap().starts_with(begin), "{case}");
        assert_eq!(record.text(&field::OUTPUT_TEXT), text, "{case}");
    }
    let of_another = whole(Dialect::SglangGenerate, r#"{"generated_text":"a"}"#);
    assert_eq!(of_another.text(&field::CAPTURE), Some("unparsed"));
}
