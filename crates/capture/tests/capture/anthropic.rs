//! Anthropic messages: what is particular to them.

use onrecord_capture::{Dialect, End, Limits};
use onrecord_proof::{Value, field};
use serde_json::json;

use crate::support::{EVENTS, answer, asked, feed, json_of, named, streamed, whole};

const DIALECT: Dialect = Dialect::AnthropicMessages;

#[test]
fn what_a_request_asks_for() {
    let (facts, record) = asked(
        DIALECT,
        r#"{"model":"m","max_tokens":9,"stop_sequences":["a","b"],"top_k":4,"stream":true,"metadata":{"user_id":"u"},
            "system":"be brief","messages":[{"role":"user","content":"hi"},{"role":"user","content":[
            {"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"sunny"}]},
            {"type":"image","source":{"type":"base64","data":"AAAA"}},{"type":"text","text":"and now?"}]}]}"#,
    );
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), true));
    assert_eq!(record.int(&field::MAX_TOKENS), Some(9));
    assert_eq!(record.get(&field::STOP_SEQUENCES), Some(&Value::Array(vec!["a".into(), "b".into()])));
    assert_eq!(record.text(&field::USER_ID), Some("u"));
    assert_eq!(record.text(&field::INPUT_TEXT), Some("sunny\nand now?"));
    let body =
        r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"rain"}]}]}"#;
    assert_eq!(asked(DIALECT, body).1.text(&field::INPUT_TEXT), Some("rain"));
}

#[test]
fn every_kind_of_block() {
    let result = json!({"type":"web_search_tool_result","tool_use_id":"s","content":[{"url":"u"}]});
    let hidden = json!({"type":"redacted_thinking","data":"xyz"});
    let body = named(&[
        json!({"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],
            "stop_reason":null,"usage":{"input_tokens":3,"cache_read_input_tokens":10,"cache_creation_input_tokens":100,
            "output_tokens":1,"service_tier":"standard"}}}),
        json!({"type":"ping"}),
        json!({"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}),
        json!({"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}),
        json!({"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}),
        json!({"type":"content_block_stop","index":0}),
        json!({"type":"content_block_start","index":1,"content_block":hidden}),
        json!({"type":"content_block_start","index":2,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}),
        json!({"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"q\":"}}),
        json!({"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}}),
        json!({"type":"content_block_start","index":3,"content_block":result}),
        json!({"type":"content_block_start","index":4,"content_block":{"type":"text","text":"","citations":[]}}),
        json!({"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"It "}}),
        json!({"type":"content_block_delta","index":4,"delta":{"type":"text_delta","text":"is."}}),
        json!({"type":"content_block_delta","index":4,"delta":{"type":"citations_delta","citation":{"n":1}}}),
        json!({"type":"content_block_delta","index":4,"delta":{"type":"citations_delta","citation":{"n":2}}}),
        json!({"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}),
        json!({"type":"content_block_delta","index":5,"delta":{"type":"input_json_delta","partial_json":"[]"}}),
        json!({"type":"content_block_start","index":6,"content_block":{"type":"text","text":"Bye"}}),
        json!({"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"!"},"usage":{"output_tokens":7}}),
        json!({"type":"message_stop"}),
    ]);
    let fed = streamed(DIALECT, EVENTS, &body);
    assert!(fed.held.starts_with(b"event: message_stop"));
    let record = fed.record;
    let messages = json_of(&record, &field::OUTPUT_MESSAGES);
    assert_eq!(
        messages[0]["parts"],
        json!([
            {"type":"reasoning","content":"hm","extra":{"signature":"sig"}},
            hidden,
            {"type":"tool_call","id":"s","name":"web_search","arguments":"{\"q\":1}","extra":{"type":"server_tool_use"}},
            result,
            {"type":"text","content":"It is.","extra":{"citations":[{"n":1},{"n":2}]}},
            {"type":"tool_call","id":"t","name":"f","arguments":"[]"},
            {"type":"text","content":"Bye"},
        ])
    );
    let usage = json!({"input_tokens":3,"cache_read_input_tokens":10,"cache_creation_input_tokens":100,"output_tokens":7,"service_tier":"standard"});
    assert_eq!(messages[0]["extra"]["usage"], usage);
    let counts = [&field::INPUT_TOKENS, &field::CACHED_TOKENS, &field::CACHE_WRITTEN_TOKENS, &field::OUTPUT_TOKENS];
    assert_eq!(counts.map(|field| record.int(field)), [Some(113), Some(10), Some(100), Some(7)]);
    assert_eq!(
        (record.text(&field::OUTPUT_TEXT), record.text(&field::OUTPUT_REASONING)),
        (Some("It is.\nBye"), Some("hm"))
    );
    assert_eq!(record.get(&field::STOPPED_BY), Some(&Value::Array(vec!["!".into()])));
    assert_eq!((record.text(&field::RESPONSE_ID), record.text(&field::CAPTURE)), (Some("msg_1"), Some("parsed")));
}

#[test]
fn a_whole_answer_says_the_same_as_a_stream() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","stop_reason":"tool_use","content":[
        {"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"Look."},
        {"type":"tool_use","id":"t","name":"f","input":{"a":1}}],"usage":{"input_tokens":1,"output_tokens":2}}"#;
    let record = whole(DIALECT, body);
    assert_eq!((record.text(&field::OUTPUT_TEXT), record.text(&field::OUTPUT_REASONING)), (Some("Look."), Some("hm")));
    assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["tool_use".into()])));
    assert_eq!((record.int(&field::INPUT_TOKENS), record.text(&field::CAPTURE)), (Some(1), Some("parsed")));
    assert_eq!(record.get(&field::STOPPED_BY), None);
}

#[test]
fn an_error_in_a_stream_and_a_stream_without_its_end() {
    let text = String::from_utf8(answer("llama-server/messages_stream").body).unwrap();
    let (start, _) = text.split_once("event: message_delta").unwrap();
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let record = streamed(DIALECT, EVENTS, &format!("{start}{error}")).record;
    assert_eq!(record.text(&field::ERROR_TYPE), Some("overloaded_error"));
    assert_eq!((record.text(&field::ERROR_MESSAGE), record.text(&field::CAPTURE_PROBLEM)), (Some("Overloaded"), None));
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some("Hello! How can I help you today?"));
    let problem = "the stream ended without its last event and without a finish reason";
    let silent = streamed(DIALECT, EVENTS, start).record;
    assert_eq!(silent.text(&field::CAPTURE_PROBLEM), Some(problem));
    let cut = feed(DIALECT, 200, EVENTS, Limits::default(), &[start.as_bytes()], End::CutOff).record;
    assert_eq!((cut.text(&field::CAPTURE), cut.text(&field::CAPTURE_PROBLEM)), (Some("parsed"), None));
}

#[test]
fn the_last_event_is_held_in_whatever_pieces_it_comes() {
    let text =
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\nevent: message_stop\ndata: {}\n\n";
    let last = text.find("event: message_stop").unwrap();
    for at in 0..=text.len() {
        let pieces = [&text.as_bytes()[..at], &text.as_bytes()[at..]];
        let fed = feed(DIALECT, 200, EVENTS, Limits::default(), &pieces, End::Complete);
        assert_eq!(fed.released, &text.as_bytes()[..last], "cut at {at}");
        // A token does not wait for the end of its event: its name says that it is not the last one.
        if (34..last).contains(&at) {
            let fed = feed(DIALECT, 200, EVENTS, Limits::default(), &pieces[..1], End::CutOff);
            assert_eq!(fed.released.len(), at, "cut at {at}");
        }
    }
}
