//! Legacy completions, responses and embeddings: what is particular to each.

use onrecord_capture::{Dialect, End, Limits};
use onrecord_proof::{Value, field};
use serde_json::json;

use crate::support::{EVENTS, JSON, answer, asked, events, feed, json_of, named, streamed, whole};

#[test]
fn legacy_token_decisions_are_kept_as_they_were_sent() {
    let answer = answer("vllm/completions_stream_logprobs");
    let decisions = json_of(&answer.recorded(), &field::LOGPROBS);
    let text = std::str::from_utf8(&answer.body).unwrap();
    let sent =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line.strip_prefix("data: ")?).ok());
    let sent: Vec<_> =
        sent.map(|chunk| chunk["choices"][0]["logprobs"].clone()).filter(|list| !list.is_null()).collect();
    assert!(sent.len() > 3 && sent[0]["tokens"].is_array());
    assert_eq!(decisions, serde_json::Value::Array(sent));
}

#[test]
fn prompts_of_every_kind() {
    for (prompt, expect) in [
        (r#""one""#, Some("one")),
        (r#"["one","two"]"#, Some("one\ntwo")),
        ("[1,2]", None),
        (r#"[1,"two"]"#, None),
        ("[[1],[2]]", None),
    ] {
        let (_, record) = asked(Dialect::OpenAiCompletions, &format!(r#"{{"prompt":{prompt},"max_tokens":3}}"#));
        assert_eq!((record.text(&field::INPUT_TEXT), record.int(&field::MAX_TOKENS)), (expect, Some(3)), "{prompt}");
    }
}

#[test]
fn what_stopped_each_choice() {
    let record = whole(
        Dialect::OpenAiCompletions,
        r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop","stop_reason":"7"},
            {"index":1,"text":"b","finish_reason":"stop","stop_reason":2},
            {"index":2,"text":"c","finish_reason":"length","stop_reason":null}]}"#,
    );
    assert_eq!(record.get(&field::STOPPED_BY), Some(&Value::Array(vec!["7".into(), "".into(), "".into()])));
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some("a\nb\nc"));
}

#[test]
fn what_a_response_is_asked_for() {
    let (facts, record) = asked(
        Dialect::OpenAiResponses,
        r#"{"model":"m","stream":true,"max_output_tokens":9,"temperature":0.5,"safety_identifier":"u","conversation":{"id":"conv_1"},
            "input":[{"role":"user","content":[{"type":"input_text","text":"one"},{"type":"input_image","image_url":"x"}]},
            {"type":"function_call_output","call_id":"c","output":"sunny"}]}"#,
    );
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), true));
    assert_eq!(record.int(&field::MAX_TOKENS), Some(9));
    assert_eq!((record.text(&field::USER_ID), record.text(&field::SESSION)), (Some("u"), Some("conv_1")));
    assert_eq!(record.text(&field::INPUT_TEXT), Some("sunny"));
    let (_, record) = asked(Dialect::OpenAiResponses, r#"{"input":"hi","conversation":"conv_2"}"#);
    assert_eq!((record.text(&field::INPUT_TEXT), record.text(&field::SESSION)), (Some("hi"), Some("conv_2")));
}

#[test]
fn a_response_that_breaks_off_leaves_what_it_got_to() {
    let answer = answer("llama-server/responses_stream_reasoning");
    let text = std::str::from_utf8(&answer.body).unwrap();
    let (start, _) = text.split_once("event: response.output_item.done").unwrap();
    let fed = feed(answer.dialect, 200, EVENTS, Limits::default(), &[start.as_bytes()], End::CutOff);
    let (cut, all) = (fed.record, answer.recorded());
    for field in [&field::OUTPUT_TEXT, &field::OUTPUT_REASONING, &field::RESPONSE_ID] {
        assert_eq!(cut.get(field), all.get(field), "{}", field.name);
    }
    assert_eq!((cut.get(&field::FINISH_REASONS), cut.get(&field::OUTPUT_TOKENS)), (None, None));
}

#[test]
fn what_a_response_says_in_the_end_replaces_its_deltas() {
    let message = json!({"type":"message","id":"m","role":"assistant","content":[
        {"type":"output_text","text":"Hello","annotations":[{"url":"u"}],"logprobs":[{"token":"Hello"}]},
        {"type":"refusal","refusal":"no"}]});
    let thought =
        json!({"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"short"}],"encrypted_content":"x"});
    let search = json!({"type":"web_search_call","id":"w","status":"completed","action":{"query":"q"}});
    let call = json!({"type":"custom_tool_call","id":"t","call_id":"c","name":"run","input":"ls"});
    let output = [thought.clone(), search.clone(), message.clone(), call.clone()];
    let stream = named(&[
        json!({"type":"response.created","response":{"id":"resp_1","status":"in_progress","output":[]}}),
        json!({"type":"response.output_item.added","item":{"type":"reasoning","id":"r","summary":[]}}),
        json!({"type":"response.reasoning_summary_text.delta","item_id":"r","summary_index":0,"delta":"sho"}),
        json!({"type":"response.output_item.done","item":thought}),
        json!({"type":"response.output_item.added","item":{"type":"web_search_call","id":"w","status":"in_progress"}}),
        json!({"type":"response.web_search_call.searching","item_id":"w"}),
        json!({"type":"response.output_text.delta","item_id":"m","content_index":0,"delta":"Hel","logprobs":[]}),
        json!({"type":"response.output_item.added","item":{"type":"custom_tool_call","id":"t","call_id":"c","name":"run","input":""}}),
        json!({"type":"response.custom_tool_call_input.delta","item_id":"t","delta":"l"}),
        json!({"type":"response.mystery","secret":[1.0]}),
        json!({"type":"response.incomplete","response":{"id":"resp_1","model":"m","status":"incomplete","output":output,
            "incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":3,"output_tokens":4},"tier":"x"}}),
    ]);
    let fed = streamed(Dialect::OpenAiResponses, EVENTS, &stream);
    assert!(fed.held.starts_with(b"event: response.incomplete"));
    let messages = json_of(&fed.record, &field::OUTPUT_MESSAGES);
    assert_eq!(
        messages[0]["parts"],
        json!([
            {"type":"reasoning","content":"short","extra":{"encrypted_content":"x"}},
            search,
            {"type":"text","content":"Hello","extra":{"annotations":[{"url":"u"}]}},
            {"type":"tool_call","id":"c","name":"run","arguments":"ls"},
            {"type":"refusal","content":"no"},
        ])
    );
    assert_eq!(messages[0]["finish_reason"], "max_output_tokens");
    assert_eq!(messages[0]["extra"]["response.mystery"], json!({"type":"response.mystery","secret":[1.0]}));
    assert_eq!(messages[0]["extra"]["tier"], "x");
    assert_eq!(json_of(&fed.record, &field::LOGPROBS), json!([{"token":"Hello"}]));
    assert_eq!(fed.record.text(&field::OUTPUT_TEXT), Some("Hello"));
    assert_eq!(fed.record.text(&field::CAPTURE), Some("parsed"));
}

#[test]
fn items_without_ids_stay_apart() {
    let item = |text: &str| json!({"type":"message","content":[{"type":"output_text","text":text}]});
    let call = |name: &str| json!({"type":"function_call","call_id":name,"name":name,"arguments":"{}"});
    let output = json!([item("a"), item("b"), call("f"), call("g"), {"type":"x"}, {"type":"y"}]);
    let delta =
        |index: u8, delta: &str| json!({"type":"response.output_text.delta","output_index":index,"delta":delta});
    let done = json!({"type":"response.completed","response":{"status":"completed","output":output}});
    let stream = named(&[delta(0, "a"), delta(1, "b"), done]);
    let record = streamed(Dialect::OpenAiResponses, EVENTS, &stream).record;
    let parts = json_of(&record, &field::OUTPUT_MESSAGES)[0]["parts"].clone();
    assert_eq!(
        parts,
        json!([{"type":"text","content":"a"}, {"type":"text","content":"b"},
            {"type":"tool_call","id":"f","name":"f","arguments":"{}"}, {"type":"tool_call","id":"g","name":"g","arguments":"{}"},
            {"type":"x"}, {"type":"y"}])
    );
    let body = json!({"status":"completed","output":output}).to_string();
    assert_eq!(whole(Dialect::OpenAiResponses, &body).text(&field::OUTPUT_TEXT), Some("a\nb"));
}

#[test]
fn token_decisions_of_a_response_are_kept_once() {
    let logprobs = json!([{"token":"a","logprob":-0.5}]);
    let stream = named(&[
        json!({"type":"response.output_text.delta","item_id":"m","delta":"a","logprobs":logprobs}),
        json!({"type":"response.completed","response":{"status":"completed","output":[{"type":"message","id":"m",
            "content":[{"type":"output_text","text":"a","logprobs":logprobs}]}]}}),
    ]);
    let record = streamed(Dialect::OpenAiResponses, EVENTS, &stream).record;
    assert_eq!(json_of(&record, &field::LOGPROBS), logprobs);
}

#[test]
fn a_response_that_fails() {
    let error = json!({"code":"server_error","message":"no memory"});
    let failed = json!({"type":"response.failed","response":{"status":"failed","error":error}});
    let fed = streamed(Dialect::OpenAiResponses, EVENTS, &named(&[failed]));
    assert!(fed.held.starts_with(b"event: response.failed"), "it ends the answer");
    let lone = json!({"type":"error","code":"server_error","message":"no memory","sequence_number":1});
    let lone = streamed(Dialect::OpenAiResponses, EVENTS, &named(&[lone]));
    let unnamed = streamed(
        Dialect::OpenAiResponses,
        EVENTS,
        "data: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"no memory\"}\n\n",
    );
    for record in [fed.record, lone.record, unnamed.record] {
        assert_eq!(record.text(&field::ERROR_TYPE), Some("server_error"));
        assert_eq!(record.text(&field::ERROR_MESSAGE), Some("no memory"));
        assert_eq!(record.text(&field::CAPTURE), Some("parsed"));
    }
}

#[test]
fn the_end_of_a_response_is_seen_without_names() {
    let body = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\ndata: {\"response\":{},\"type\":\"response.completed\"}\n\n";
    let fed = streamed(Dialect::OpenAiResponses, EVENTS, body);
    assert!(fed.held.starts_with(b"data: {\"response\""), "{}", String::from_utf8_lossy(&fed.held));
}

#[test]
fn vectors_are_counted_and_not_copied() {
    for (case, count, dimensions, tokens) in [
        ("llama-server-embeddings/embeddings_many", 2, 160, Some(5)),
        ("llama-server-embeddings/embeddings_base64", 1, 160, Some(4)),
        ("llama-server-embeddings/embedding_native_many", 2, 160, None),
        ("vllm-embeddings/embeddings", 1, 160, Some(4)),
    ] {
        let answer = answer(case);
        let record = answer.recorded();
        assert_eq!(record.int(&field::EMBEDDING_COUNT), Some(count), "{case}");
        assert_eq!(record.int(&field::EMBEDDING_DIMENSIONS), Some(dimensions), "{case}");
        assert_eq!(record.int(&field::INPUT_TOKENS), tokens, "{case}");
        assert_eq!(record.text(&field::CAPTURE), Some("parsed"));
        assert_eq!(record.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(&answer.body[..]));
        assert_eq!((record.get(&field::OUTPUT_TEXT), record.get(&field::OUTPUT_MESSAGES)), (None, None));
    }
    let (_, record) = asked(Dialect::OpenAiEmbeddings, r#"{"model":"m","input":["a","b"],"encoding_format":"base64"}"#);
    assert_eq!(record.text(&field::INPUT_TEXT), Some("a\nb"));
    assert_eq!(record.get(&field::ENCODING_FORMATS), Some(&Value::Array(vec!["base64".into()])));
}

#[test]
fn answers_that_are_none() {
    for dialect in [Dialect::OpenAiCompletions, Dialect::OpenAiResponses, Dialect::OpenAiEmbeddings] {
        for (body, problem) in [
            ("{}", "the answer has neither content nor an error"),
            ("", "the answer is empty"),
            ("{", "the answer is not JSON: EOF while parsing an object at line 1 column 1"),
        ] {
            let record = whole(dialect, body);
            assert_eq!(record.text(&field::CAPTURE_PROBLEM), Some(problem), "{dialect:?} {body}");
            assert_eq!(record.text(&field::CAPTURE), Some("unparsed"));
        }
        let failed = feed(dialect, 400, JSON, Limits::default(), &[br#"{"error":{"type":"t"}}"#], End::Complete).record;
        assert_eq!((failed.text(&field::ERROR_TYPE), failed.text(&field::CAPTURE)), (Some("t"), Some("parsed")));
    }
}

#[test]
fn speech_and_images_in_a_chat() {
    let body = [
        r#"{"choices":[{"delta":{"audio":{"id":"a1","transcript":"Hel"}}}]}"#,
        r#"{"choices":[{"delta":{"audio":{"data":"AAA=","transcript":"lo"}}}]}"#,
        r#"{"choices":[{"delta":{"audio":{"data":"BBB=","expires_at":5}}}]}"#,
        r#"{"choices":[{"delta":{"images":[{"type":"image_url","image_url":{"url":"data:x"}}]}}]}"#,
        r#"{"choices":[{"delta":{"content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:y"}}]}}]}"#,
        r#"{"choices":[{"finish_reason":"stop"}]}"#,
    ];
    let record = streamed(Dialect::OpenAiChat, EVENTS, &events(&body)).record;
    assert_eq!(
        json_of(&record, &field::OUTPUT_MESSAGES)[0]["parts"],
        json!([
            {"type":"text","content":"Hello"},
            {"type":"blob","modality":"audio","content":"AAA=BBB=","extra":{"id":"a1","expires_at":5}},
            {"type":"image_url","image_url":{"url":"data:x"}},
            {"type":"text","content":"see"},
            {"type":"image_url","image_url":{"url":"data:y"}},
        ])
    );
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some("Hello\nsee"));
}
