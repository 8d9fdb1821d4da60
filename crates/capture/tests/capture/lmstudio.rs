//! LM Studio: what is particular to it.

use onrecord_capture::{Dialect, End, Limits};
use onrecord_proof::{Value, field};
use serde_json::json;

use crate::support::{EVENTS, answer, asked, feed, json_of, message, named, record, request_in, streamed, whole};

const DIALECT: Dialect = Dialect::LmStudioChat;

#[test]
fn what_a_request_asks_for() {
    let sent = message("lmstudio/v1_chat_stream", "req");
    let (facts, record) = request_in(sent.dialect, sent.head(), &sent.body, record());
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("openai/gpt-oss-20b"), true));
    assert_eq!((record.int(&field::MAX_TOKENS), record.get(&field::TOP_K)), (Some(512), Some(&Value::Float(40.0))));
    assert_eq!(record.text(&field::INPUT_TEXT), Some("Tell me the top trending model on hugging face."));
    let items = r#"{"input":[{"type":"text","content":"what is"},{"type":"image","data_url":"data:x"},{"type":"text","content":"this?"}]}"#;
    assert_eq!(asked(DIALECT, items).1.text(&field::INPUT_TEXT), Some("what is\nthis?"));
}

#[test]
fn a_stream_and_a_whole_answer_say_the_same() {
    let (stream, whole) = (answer("lmstudio/v1_chat_stream").recorded(), answer("lmstudio/v1_chat").recorded());
    let fields = [
        &field::OUTPUT_TEXT,
        &field::OUTPUT_REASONING,
        &field::TIMINGS,
        &field::RESPONSE_ID,
        &field::RESPONSE_MODEL,
        &field::INPUT_TOKENS,
        &field::OUTPUT_TOKENS,
        &field::REASONING_TOKENS,
    ];
    for field in fields {
        assert!(stream.get(field).is_some(), "{}", field.name);
        assert_eq!(stream.get(field), whole.get(field), "{}", field.name);
    }
}

#[test]
fn what_the_end_repeats_is_kept_once() {
    let answer = answer("lmstudio/v1_chat_stream");
    let text = String::from_utf8(answer.body.clone()).unwrap();
    let (start, _) = text.split_once("event: chat.end").unwrap();
    let cut = feed(DIALECT, 200, EVENTS, Limits::default(), &[start.as_bytes()], End::CutOff).record;
    let (cut, all) = (json_of(&cut, &field::OUTPUT_MESSAGES), json_of(&answer.recorded(), &field::OUTPUT_MESSAGES));
    assert_eq!(cut[0]["parts"], all[0]["parts"]);
    let provider = json!({"type":"ephemeral_mcp","server_label":"huggingface"});
    assert_eq!(
        all[0]["parts"],
        json!([
            {"type":"reasoning","content":"Need to call function."},
            {"type":"tool_call","name":"model_search","arguments":r#"{"sort":"trendingScore","limit":1}"#,"extra":{"provider_info":provider}},
            {"type":"tool_call_response","response":r#"[{"type":"text","text":"Showing first 1 models..."}]"#},
            {"type":"text","content":"The current top‑trending model is..."},
        ])
    );
    assert_eq!(all[0]["extra"]["model_load.end"]["load_time_seconds"], 12.34);
}

#[test]
fn items_of_one_kind_stay_apart() {
    let call = |name: &str| json!({"type":"tool_call.start","tool":name});
    let done = |name: &str| json!({"type":"tool_call.success","tool":name,"arguments":{},"output":name});
    let item = |name: &str| json!({"type":"tool_call","tool":name,"arguments":{},"output":name});
    let text = |text: &str| json!({"type":"message.delta","content":text});
    let start = json!({"type":"message.start"});
    let output = [
        item("f"),
        item("f"),
        json!({"type":"message","content":"ab"}),
        json!({"type":"message","content":"c"}),
        json!({"type":"mystery","x":1}),
    ];
    let events = [
        call("f"),
        done("f"),
        call("f"),
        done("f"),
        start.clone(),
        text("a"),
        text("b"),
        start,
        text("c"),
        json!({"type":"chat.end","result":{"output":output,"stats":{"stop_reason":"eosFound"},"thread_id":"t"}}),
    ];
    let fed = streamed(DIALECT, EVENTS, &named(&events));
    let (call, response) =
        (json!({"type":"tool_call","name":"f","arguments":"{}"}), json!({"type":"tool_call_response","response":"f"}));
    let messages = json_of(&fed.record, &field::OUTPUT_MESSAGES);
    assert_eq!(
        messages[0]["parts"],
        json!([call, response, call, response, {"type":"text","content":"ab"}, {"type":"text","content":"c"}, {"type":"mystery","x":1}])
    );
    assert_eq!((&messages[0]["finish_reason"], &messages[0]["extra"]["thread_id"]), (&json!("eosFound"), &json!("t")));
    assert!(fed.held.starts_with(b"event: chat.end"));
}

#[test]
fn a_call_that_could_not_be_made_says_why() {
    let metadata = json!({"type":"invalid_arguments","tool_name":"f","arguments":{"a":1}});
    let reason = "`b` is missing";
    let failed = json!({"type":"tool_call.failure","reason":reason,"metadata":metadata});
    let item = json!({"type":"invalid_tool_call","reason":reason,"metadata":metadata});
    let start = json!({"type":"tool_call.start","tool":"f"});
    let end = json!({"type":"chat.end","result":{"output":[item, item],"stats":{}}});
    let call =
        json!({"type":"tool_call","name":"f","arguments":r#"{"a":1}"#,"extra":{"reason":reason,"metadata":metadata}});
    // Whether a call was said to begin before or not.
    for events in [vec![start.clone(), failed.clone(), failed.clone()], vec![failed.clone(), start, failed]] {
        let cut = streamed(DIALECT, EVENTS, &named(&events)).record;
        let whole = streamed(DIALECT, EVENTS, &named(&[events, vec![end.clone()]].concat())).record;
        for record in [cut, whole] {
            assert_eq!(json_of(&record, &field::OUTPUT_MESSAGES)[0]["parts"], json!([call, call]));
        }
    }
}

#[test]
fn an_unknown_event_that_comes_again_is_kept_again() {
    let event = |n: u8| json!({"type":"weather","n":n});
    let load = |progress: f64| json!({"type":"model_load.progress","progress":progress});
    let events = [event(1), load(0.25), load(0.75), event(2), json!({"type":"message.delta","content":"a"})];
    let extra = &json_of(&streamed(DIALECT, EVENTS, &named(&events)).record, &field::OUTPUT_MESSAGES)[0]["extra"];
    assert_eq!(extra["weather"], json!([event(1), event(2)]));
    assert_eq!(extra["model_load.progress"], load(0.75));
}

#[test]
fn an_error_in_a_stream_and_instead_of_one() {
    let record = answer("lmstudio/v1_chat_stream_error").recorded();
    assert_eq!(
        (record.text(&field::ERROR_TYPE), record.text(&field::ERROR_STAGE)),
        (Some("mcp_connection_error"), Some("stream"))
    );
    assert_eq!((record.text(&field::OUTPUT_TEXT), record.text(&field::CAPTURE)), (Some("Hel"), Some("parsed")));
    let record = answer("lmstudio/v1_chat_error").recorded();
    assert_eq!(
        (record.text(&field::ERROR_TYPE), record.text(&field::ERROR_STAGE)),
        (Some("invalid_request"), Some("upstream"))
    );
    assert_eq!(whole(DIALECT, "{}").text(&field::CAPTURE), Some("unparsed"));
}

#[test]
fn the_older_api_is_that_of_openai_with_statistics() {
    for case in ["lmstudio/v0_chat", "lmstudio/v0_chat_stream", "lmstudio/v0_completions"] {
        let record = answer(case).recorded();
        assert_eq!(json_of(&record, &field::TIMINGS)["generation_time"], 0.954, "{case}");
        assert_eq!(record.text(&field::CAPTURE), Some("parsed"), "{case}");
    }
    let stream = json_of(&answer("lmstudio/v0_chat_stream").recorded(), &field::OUTPUT_MESSAGES);
    assert_eq!(stream[0]["extra"]["model_info"]["quant"], "Q4_K_M");
    assert_eq!(stream[0]["extra"]["runtime"]["version"], "1.3.0");
}
