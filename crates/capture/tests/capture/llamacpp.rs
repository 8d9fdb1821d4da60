//! llama.cpp's own API: what is particular to it.

use onrecord_capture::{Dialect, End, Limits, Response};
use onrecord_proof::{Value, field};
use serde_json::json;

use crate::support::{EVENTS, answer, asked, feed, json_of, streamed, whole};

const DIALECT: Dialect = Dialect::LlamaCompletion;

#[test]
fn what_a_request_asks_for() {
    let (facts, record) = asked(
        DIALECT,
        r#"{"prompt":{"prompt_string":"see <__media__>","multimodal_data":["AAAA"]},"max_tokens":1,"n_predict":7,"stream":true,
            "n_cmpl":2,"top_k":3,"seed":5,"stop":["x"]}"#,
    );
    assert!(facts.stream);
    assert_eq!(record.text(&field::INPUT_TEXT), Some("see <__media__>"));
    assert_eq!((record.int(&field::MAX_TOKENS), record.int(&field::CHOICE_COUNT)), (Some(7), Some(2)));
    let infill = r#"{"input_prefix":"def f(","input_suffix":"return 1","prompt":"","n_predict":4}"#;
    assert_eq!(asked(Dialect::LlamaInfill, infill).1.text(&field::INPUT_TEXT), Some("def f("));
    let infill = r#"{"input_prefix":"def f(","prompt":"a"}"#;
    assert_eq!(asked(Dialect::LlamaInfill, infill).1.text(&field::INPUT_TEXT), Some("a"));
}

#[test]
fn the_parameters_in_force_are_recorded_of_whole_answers_and_streams() {
    for case in ["llama-server/native", "llama-server/native_stream"] {
        let record = answer(case).recorded();
        let settings = json_of(&record, &field::SAMPLING);
        assert_eq!((&settings["top_k"], &settings["n_predict"]), (&json!(40), &json!(12)), "{case}");
        assert_eq!(json_of(&record, &field::TIMINGS)["cache_n"], 2, "{case}");
        let counts = [&field::INPUT_TOKENS, &field::OUTPUT_TOKENS, &field::CACHED_TOKENS];
        assert_eq!(counts.map(|field| record.int(field)), [Some(3), Some(7), Some(2)], "{case}");
        assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["eos".into()])), "{case}");
        assert_eq!((record.get(&field::STOPPED_BY), record.text(&field::RESPONSE_MODEL)), (None, Some("tiny-pydoc")));
    }
    let stopped = answer("llama-server/native_stop").recorded();
    assert_eq!(stopped.get(&field::STOPPED_BY), Some(&Value::Array(vec!["7".into()])));
    assert_eq!(stopped.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["word".into()])));
}

#[test]
fn token_ids_and_decisions_add_up() {
    let record = answer("llama-server/native_stream_probs").recorded();
    let ids = &json_of(&record, &field::OUTPUT_MESSAGES)[0]["extra"]["token_ids"];
    let decided: Vec<_> =
        json_of(&record, &field::LOGPROBS).as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert!(decided.len() > 5);
    assert_eq!(ids, &json!(decided));
}

#[test]
fn what_is_sent_while_the_prompt_is_processed_is_no_token() {
    let record = answer("llama-server/native_progress").recorded();
    let messages = json_of(&record, &field::OUTPUT_MESSAGES);
    assert_eq!(messages[0]["extra"]["token_ids"], json!([16, 201]));
    assert_eq!(messages[0]["extra"]["prompt_progress"]["processed"], 1201);
}

#[test]
fn several_prompts_give_several_answers() {
    let record = answer("llama-server/native_many").recorded();
    assert_eq!(record.text(&field::OUTPUT_TEXT).unwrap().lines().count(), 2);
    assert_eq!((record.int(&field::INPUT_TOKENS), record.int(&field::OUTPUT_TOKENS)), (Some(4), Some(8)));
    assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["limit".into(), "limit".into()])));
}

#[test]
fn a_stop_is_the_end_only_if_nothing_follows() {
    let event = |index: u8, stop: bool| format!("data: {{\"index\":{index},\"content\":\"a\",\"stop\":{stop}}}\n\n");
    let events = [event(0, false), event(0, true), event(1, false), event(1, true)];
    let mut response = Response::new(DIALECT, 200, EVENTS, Limits::default());
    let free: Vec<_> = events.iter().map(|event| response.push(event.as_bytes(), 0)).collect();
    assert_eq!(free, [events[0].len(), 0, events[2].len(), 0], "the third one frees the second one too");
    assert!(!response.has_ended(), "only the end of the body is certain");
    let fed = streamed(DIALECT, EVENTS, &events.concat());
    assert_eq!((fed.held.as_slice(), fed.record.text(&field::OUTPUT_TEXT)), (events[3].as_bytes(), Some("aa\naa")));
    let done = streamed(DIALECT, EVENTS, &(events[..2].concat() + "data: [DONE]\n\n"));
    assert!(done.held.starts_with(events[1].as_bytes()), "what was held stays held");
}

#[test]
fn a_stop_is_seen_though_nothing_more_can_be_kept() {
    let body = "data: {\"index\":0,\"content\":\"a\",\"stop\":true}\n\n";
    let limits = Limits { body: 60, ..Limits::default() };
    let fed = feed(DIALECT, 200, EVENTS, limits, &[body.as_bytes()], End::Complete);
    assert_eq!((fed.held, fed.record.get(&field::OUTPUT_TEXT)), (body.into(), None));
}

#[test]
fn an_error_after_the_first_answer() {
    let answer = answer("llama-server/special_error_mid_stream");
    let fed = feed(answer.dialect, 200, EVENTS, Limits::default(), &[&answer.body], End::Complete);
    assert_eq!(fed.record.text(&field::ERROR_TYPE), Some("exceed_context_size_error"));
    assert_eq!((fed.record.text(&field::ERROR_STAGE), fed.held.len()), (Some("stream"), 0));
    assert_eq!(fed.record.text(&field::OUTPUT_TEXT), Some(" string of the string."));
}

#[test]
fn an_answer_that_leaves_fields_out() {
    let record = answer("llama-server/native_fields").recorded();
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some(" string of the current file."));
    assert_eq!((record.text(&field::CAPTURE), record.get(&field::FINISH_REASONS)), (Some("parsed"), None));
}

#[test]
fn tokens_and_templates() {
    for (case, tokens, text) in [
        ("llama-server/tokenize", Some(10), None),
        ("llama-server/tokenize_pieces", Some(7), None),
        ("vllm/tokenize_chat", Some(10), None),
        ("llama-server/detokenize", None, Some(" this.__que")),
        ("vllm/detokenize", None, Some(" this.__")),
    ] {
        let record = answer(case).recorded();
        assert_eq!((record.int(&field::INPUT_TOKENS), record.text(&field::OUTPUT_TEXT)), (tokens, text), "{case}");
        assert_eq!(record.text(&field::CAPTURE), Some("parsed"), "{case}");
    }
    let tgi =
        whole(Dialect::Tokenize, r#"[{"id":1,"text":"a","start":0,"stop":1},{"id":2,"text":"b","start":1,"stop":2}]"#);
    assert_eq!(tgi.int(&field::INPUT_TOKENS), Some(2));
    let prompt = answer("llama-server/apply_template").recorded();
    assert!(prompt.text(&field::OUTPUT_TEXT).unwrap().ends_with("<|im_start|>assistant\n"));
    for (body, text) in [
        (r#"{"content":"a"}"#, "a"),
        (r#"{"model":"m","prompt":"b"}"#, "b"),
        (r#"{"messages":[{"role":"user","content":"c"}]}"#, "c"),
        (r#"{"inputs":"d"}"#, "d"),
    ] {
        assert_eq!(asked(Dialect::Tokenize, body).1.text(&field::INPUT_TEXT), Some(text));
    }
}

#[test]
fn a_running_completion_is_altered() {
    let (_, record) = asked(Dialect::LlamaControl, r#"{"id":"chatcmpl-1","action":"reasoning_end"}"#);
    assert_eq!(record.text(&field::RESPONSE_ID), Some("chatcmpl-1"));
    assert_eq!(record.text(&field::INPUT_TEXT), Some("reasoning_end"));
    assert_eq!(whole(Dialect::LlamaControl, r#"{"success":true}"#).text(&field::CAPTURE), Some("parsed"));
}

#[test]
fn rankings_of_every_form() {
    let (_, record) =
        asked(Dialect::Rerank, r#"{"model":"m","query":"panda","documents":["hi","it is a bear"],"top_n":1}"#);
    assert_eq!((record.text(&field::INPUT_TEXT), record.text(&field::REQUEST_MODEL)), (Some("panda"), Some("m")));
    for (body, tokens) in [
        (
            r#"{"model":"m","object":"list","usage":{"prompt_tokens":10,"total_tokens":11},"results":[{"index":0,"relevance_score":-2.5}]}"#,
            Some(10),
        ),
        (
            r#"{"id":"rerank-1","model":"m","usage":{"total_tokens":11},"results":[{"index":0,"document":{"text":"hi"},"relevance_score":0.9}]}"#,
            Some(11),
        ),
        (r#"[{"index":1,"score":0.9},{"index":0,"score":0.1}]"#, None),
    ] {
        let record = whole(Dialect::Rerank, body);
        assert_eq!(
            (record.int(&field::INPUT_TOKENS), record.text(&field::CAPTURE)),
            (tokens, Some("parsed")),
            "{body}"
        );
    }
    assert_eq!(whole(Dialect::Rerank, "{}").text(&field::CAPTURE), Some("unparsed"));
    let refused = answer("llama-server/rerank").recorded();
    assert_eq!(refused.text(&field::ERROR_TYPE), Some("not_supported_error"));
}
