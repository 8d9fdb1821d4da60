//! What is rare, and what is not as it should be.

use onrecord_capture::{BodyHead, Dialect, End, Limits, NamedModel, Request};
use onrecord_proof::{Record, Value, field};

use crate::support::{
    EVENTS, JSON, LINES, answer, events, feed, json_of, record, record_of, request, request_in, streamed, streams,
};

fn captured(record: &Record) -> (&str, Option<&str>) {
    (record.text(&field::CAPTURE).unwrap(), record.text(&field::CAPTURE_PROBLEM))
}

fn json(record: &Record, field: &onrecord_proof::Field) -> String {
    String::from_utf8(record.get(field).unwrap().as_bytes().unwrap().to_vec()).unwrap()
}

fn delta(delta: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)
}

#[test]
fn streams_that_end_strangely() {
    let word = delta(r#"{"content":"a"}"#);
    let no_end = "the stream ended without its last event and without a finish reason";
    let none = "the answer has neither content nor an error";
    for (body, end, expect) in [
        (String::new(), End::Complete, ("unparsed", Some("the answer is empty"))),
        (String::new(), End::CutOff, ("parsed", None)),
        (": ping\n\n".into(), End::Complete, ("unparsed", Some("the answer is empty"))),
        ("data: [DONE]\n\n".into(), End::Complete, ("unparsed", Some(none))),
        (format!("data: {word}\n\n"), End::Complete, ("parsed", Some(no_end))),
        (format!("data: {word}\n\n"), End::CutOff, ("parsed", None)),
        (format!("data: {word}\n\ndata: {{\"cho"), End::CutOff, ("parsed", None)),
        (format!("data: {word}"), End::Complete, ("parsed", Some(no_end))),
        (r#"data: {"choices":[{"finish_reason":"stop"}]}"#.into(), End::Complete, ("parsed", None)),
    ] {
        let fed = feed(Dialect::OpenAiChat, 200, EVENTS, Limits::default(), &[body.as_bytes()], end);
        assert_eq!(captured(&fed.record), expect, "{body:?} {end:?}");
    }
}

#[test]
fn a_bad_event_is_told_of_and_the_bytes_are_kept() {
    let body = events(&[&delta(r#"{"content":"a"}"#), "{rubbish", "[]", &delta(r#"{"content":"b"}"#)]);
    let record = record_of(200, EVENTS, &body);
    let problem = "2 of the events cannot be parsed; the first, event 2: key must be a string at line 1 column 2";
    assert_eq!(captured(&record), ("unparsed", Some(problem)));
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some("ab"));
    assert_eq!(record.int(&field::OUTPUT_EVENTS), Some(5));
    assert_eq!(json(&record, &field::OUTPUT_BODY), body);
}

#[test]
fn bytes_that_are_no_text() {
    let mut body = events(&[&delta(r#"{"content":"a?b"}"#)]).into_bytes();
    let at = body.iter().position(|byte| *byte == b'?').unwrap();
    body[at] = 0xff;
    let record = record_of(200, EVENTS, &body);
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some("a\u{fffd}b"));
    assert_eq!(captured(&record).0, "unparsed");
    assert_eq!(record.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(&body[..]));
}

#[test]
fn the_raw_stream_is_kept_on_request() {
    let answer = answer("vllm/chat_stream");
    assert_eq!(answer.recorded().get(&field::OUTPUT_BODY), None);
    let limits = Limits { keep_raw_stream: true, ..Limits::default() };
    let record = feed(Dialect::OpenAiChat, 200, EVENTS, limits, &[&answer.body], End::Complete).record;
    assert_eq!(record.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(&answer.body[..]));
    assert!(record.get(&field::OUTPUT_MESSAGES).is_some());
}

#[test]
fn an_unknown_dialect_is_kept_whole() {
    let answer = answer("llama-server/chat_stream_unicode");
    let fed = feed(Dialect::Unknown, 200, EVENTS, Limits::default(), &[&answer.body], End::Complete);
    assert_eq!(captured(&fed.record), ("passthrough", None));
    assert_eq!(fed.record.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(&answer.body[..]));
    assert!(fed.held.starts_with(b"data: [DONE]") && fed.record.get(&field::OUTPUT_TEXT).is_none());
}

#[test]
fn tool_calls_of_all_servers() {
    let call = |call: &str| delta(&format!(r#"{{"tool_calls":[{call}]}}"#));
    let by_index = [
        call(r#"{"index":1,"id":"b","function":{"name":"g","arguments":"["}}"#),
        call(r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#),
        call(r#"{"index":1,"function":{"arguments":"]"}},{"index":0,"function":{"arguments":"}"}}"#),
    ];
    let all_zero = [
        call(r#"{"index":0,"id":"b","function":{"name":"g","arguments":"[]"}}"#),
        call(r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#),
    ];
    let no_index = [
        call(r#"{"id":"b","function":{"name":"g","arguments":[]}}"#),
        call(r#"{"id":"a","function":{"name":"f","arguments":"{"}},{"function":{"name":"f","arguments":"}"}}"#),
    ];
    let expect = r#""parts":[{"type":"tool_call","id":"b","name":"g","arguments":"[]"},{"type":"tool_call","id":"a","name":"f","arguments":"{}"}]"#;
    for calls in [&by_index[..], &all_zero, &no_index] {
        let data: Vec<_> = calls.iter().map(String::as_str).collect();
        let messages = json(&record_of(200, EVENTS, events(&data)), &field::OUTPUT_MESSAGES);
        assert!(messages.contains(expect), "{messages}");
    }
}

#[test]
fn what_is_not_known_is_kept() {
    let record = record_of(
        200,
        EVENTS,
        events(&[
            r#"{"service_tier":"x","choices":[{"index":0,"odd":1,"delta":{"content":"a","mood":[1.0e2],"role":"critic"}}]}"#,
            r#"{"service_tier":null,"choices":[{"index":0,"odd":12345678901234567890,"delta":{"refusal":"no","content":null}}]}"#,
            r#"{"choices":[{"index":0,"finish_reason":"stop","delta":{"content":{"b":"c"}},"logprobs":{"refusal":[2]}}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"cost":0.10}}"#,
        ]),
    );
    let expect = concat!(
        r#"[{"role":"critic","parts":[{"type":"text","content":"a"},{"type":"refusal","content":"no"}],"finish_reason":"stop","#,
        r#""extra":{"mood":[1.0e2],"odd":12345678901234567890,"service_tier":"x","content":{"b":"c"},"refusal":[2],"#,
        r#""usage":{"prompt_tokens":3,"cost":0.10}}}]"#
    );
    assert_eq!(json(&record, &field::OUTPUT_MESSAGES), expect);
    assert_eq!(record.int(&field::INPUT_TOKENS), Some(3));
}

#[test]
fn what_is_not_known_is_kept_in_every_dialect() {
    // Each `oN` stands in another object of the wire.
    for (dialect, head, body) in [
        (
            Dialect::OpenAiCompletions,
            EVENTS,
            "data: {\"o1\":1,\"choices\":[{\"text\":\"a\",\"o2\":2,\"logprobs\":{\"content\":[],\"o3\":3}}]}\n\ndata: [DONE]\n\n",
        ),
        (
            Dialect::OpenAiResponses,
            EVENTS,
            concat!(
                "data: {\"type\":\"response.completed\",\"o1\":1,\"response\":{\"status\":\"completed\",\"o2\":2,\"output\":[",
                "{\"type\":\"message\",\"o3\":3,\"content\":[{\"type\":\"output_text\",\"text\":\"a\",\"o4\":4}]},",
                "{\"type\":\"reasoning\",\"summary\":[],\"o5\":5},{\"type\":\"function_call\",\"name\":\"f\",\"o6\":6}]}}\n\n",
            ),
        ),
        (
            Dialect::AnthropicMessages,
            EVENTS,
            concat!(
                "data: {\"type\":\"message_start\",\"o1\":1,\"message\":{\"role\":\"assistant\",\"o2\":2}}\n\n",
                "data: {\"type\":\"content_block_start\",\"index\":0,\"o3\":3,\"content_block\":{\"type\":\"text\",\"text\":\"a\",\"o4\":4}}\n\n",
                "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"b\",\"o5\":5}}\n\n",
                "data: {\"type\":\"message_delta\",\"o6\":6,\"delta\":{\"stop_reason\":\"end_turn\",\"o7\":7},\"usage\":{\"o8\":8}}\n\n",
                "data: {\"type\":\"mood\",\"o9\":9}\n\ndata: {\"type\":\"message_stop\"}\n\n",
            ),
        ),
        (
            Dialect::OllamaChat,
            LINES,
            concat!(
                "{\"message\":{\"content\":\"a\",\"o1\":1,\"tool_calls\":[{\"o2\":2,\"function\":{\"name\":\"f\",\"o3\":3}}]},\"o4\":4,\"done\":false}\n",
                "{\"done\":true,\"o5\":5}\n",
            ),
        ),
        (Dialect::LlamaCompletion, EVENTS, "data: {\"content\":\"a\",\"o1\":1}\n\ndata: {\"stop\":true,\"o2\":2}\n\n"),
        (
            Dialect::TgiGenerateStream,
            EVENTS,
            "data:{\"o1\":1,\"token\":{\"text\":\"a\"},\"generated_text\":\"a\",\"details\":{\"finish_reason\":\"length\",\"o2\":2}}\n\n",
        ),
        (
            Dialect::SglangGenerate,
            EVENTS,
            concat!(
                "data: {\"text\":\"a\",\"o1\":1,\"meta_info\":{\"o2\":2,\"finish_reason\":{\"type\":\"length\",\"o3\":3}}}\n\n",
                "data: [DONE]\n\n",
            ),
        ),
        (
            Dialect::LmStudioChat,
            EVENTS,
            concat!(
                "data: {\"type\":\"message.delta\",\"content\":\"a\",\"o1\":1}\n\ndata: {\"type\":\"mood\",\"o2\":2}\n\n",
                "data: {\"type\":\"chat.end\",\"o3\":3,\"result\":{\"o4\":4,\"output\":[{\"type\":\"message\",\"content\":\"a\",\"o5\":5},",
                "{\"type\":\"tool_call\",\"tool\":\"f\",\"o6\":6}]}}\n\n",
            ),
        ),
    ] {
        let record = streamed(dialect, head, body).record;
        assert_eq!(captured(&record), ("parsed", None), "{dialect:?}");
        let messages = json(&record, &field::OUTPUT_MESSAGES);
        for n in 1..=body.matches("\"o").count() - body.matches("\"output").count() {
            let member = format!("\"o{n}\":{n}");
            assert_eq!(body.matches(&member).count(), 1, "the test is right");
            assert!(messages.contains(&member), "{dialect:?}: {member} is not in {messages}");
        }
    }
}

#[test]
fn custom_tools_of_a_chat() {
    let call = |call: &str| delta(&format!(r#"{{"tool_calls":[{call}]}}"#));
    let record = record_of(
        200,
        EVENTS,
        events(&[
            &call(r#"{"index":0,"id":"a","type":"custom","custom":{"name":"run","input":"ls "}}"#),
            &call(r#"{"index":0,"custom":{"input":"-l"}}"#),
        ]),
    );
    let parts = json_of(&record, &field::OUTPUT_MESSAGES)[0]["parts"].clone();
    assert_eq!(parts, serde_json::json!([{"type":"tool_call","id":"a","name":"run","arguments":"ls -l"}]));
}

#[test]
fn the_first_token_is_when_the_model_first_speaks() {
    for (first, expect) in [
        (r#"{"content":"a"}"#, 1),
        (r#"{"reasoning":"a"}"#, 1),
        (r#"{"tool_calls":[{"index":0}]}"#, 1),
        (r#"{"role":"assistant","content":""}"#, 2),
    ] {
        let body = events(&[&delta(first), &delta(r#"{"content":"b"}"#)]);
        let pieces: Vec<_> = body.split_inclusive("\n\n").map(str::as_bytes).collect();
        let pieces = [&[&b": ping\n\n"[..]], &pieces[..]].concat();
        let record = feed(Dialect::OpenAiChat, 200, EVENTS, Limits::default(), &pieces, End::Complete).record;
        assert_eq!(record.int(&field::FIRST_TOKEN), Some(expect), "{first}");
    }
}

#[test]
fn what_is_too_long_is_cut_and_says_so() {
    let limits = Limits { body: 2000, ..Limits::default() };
    let word = delta(r#"{"content":"0123456789"}"#);
    let body = events(&vec![word.as_str(); 1000]);
    let record = feed(Dialect::OpenAiChat, 200, EVENTS, limits, &[body.as_bytes()], End::Complete).record;
    let text = record.text(&field::OUTPUT_TEXT).unwrap();
    assert!((1000..=2000).contains(&text.len()) && "0123456789".repeat(1000).starts_with(text));
    assert_eq!(record.get(&field::OUTPUT_TRUNCATED), Some(&Value::Bool(true)));
    assert_eq!(captured(&record), ("parsed", None));
    let whole = feed(Dialect::OpenAiChat, 200, JSON, limits, &[body.as_bytes()], End::Complete).record;
    assert_eq!(captured(&whole), ("unparsed", Some("the answer is longer than the 2000 bytes that are kept")));
    assert_eq!(json(&whole, &field::OUTPUT_BODY), body[..2000]);
    assert_eq!(whole.get(&field::OUTPUT_TRUNCATED), Some(&Value::Bool(true)));
    assert_eq!(whole.int(&field::OUTPUT_SIZE), i64::try_from(body.len()).ok());
}

#[test]
fn decisions_do_not_take_the_place_of_the_text() {
    let limits = Limits { body: 2000, ..Limits::default() };
    let tops = vec![r#"{"token":"a","logprob":-1.0}"#; 20].join(",");
    let logprobs = format!(r#"{{"content":[{{"token":"ab","logprob":-0.5,"top_logprobs":[{tops}]}}]}}"#);
    let word = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"ab"}},"logprobs":{logprobs}}}]}}"#);
    let end = r#"{"id":"c-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"completion_tokens":100},"timings":{"predicted_ms":1.5}}"#;
    let body = events(&[vec![word.as_str(); 100], vec![end]].concat());
    let record = feed(Dialect::OpenAiChat, 200, EVENTS, limits, &[body.as_bytes()], End::Complete).record;
    assert_eq!(record.text(&field::OUTPUT_TEXT), Some("ab".repeat(100).as_str()));
    assert_eq!(record.int(&field::DECISION_COUNT), Some(3), "as many as there is room for");
    assert_eq!(record.get(&field::OUTPUT_TRUNCATED), Some(&Value::Bool(true)));
    assert_eq!(record.text(&field::RESPONSE_ID), Some("c-1"));
    assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["stop".into()])));
    assert_eq!((record.int(&field::OUTPUT_TOKENS), record.int(&field::UPSTREAM_DECODE)), (Some(100), Some(1500)));
}

#[test]
fn how_a_text_ended_that_was_cut_is_known() {
    let limits = Limits { body: 1000, ..Limits::default() };
    let word = delta(r#"{"content":"0123456789"}"#);
    let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}],"timings":{"predicted_ms":1.5}}"#;
    let body = events(&[vec![word.as_str(); 1000], vec![end]].concat());
    let record = feed(Dialect::OpenAiChat, 200, EVENTS, limits, &[body.as_bytes()], End::Complete).record;
    assert!(record.text(&field::OUTPUT_TEXT).unwrap().len() < 1000);
    assert_eq!(record.get(&field::STOP_REASONS), Some(&Value::Array(vec!["limit".into()])));
    assert_eq!(record.int(&field::UPSTREAM_DECODE), Some(1500));
}

#[test]
fn the_end_is_held_however_little_is_kept() {
    for case in streams() {
        let message = answer(&case);
        for body in [0, 20, 200, 700] {
            let limits = Limits { body, ..Limits::default() };
            let fed = feed(message.dialect, 200, message.head(), limits, &[&message.body], message.end);
            assert!(fed.released.len() <= message.last_event(), "{case}: all before the last event of {body} bytes");
            let kept = fed.record.text(&field::OUTPUT_TEXT).unwrap_or_default().len();
            assert!(kept <= body, "{case}: {kept} of {body}");
        }
    }
}

#[test]
fn what_is_kept_of_a_long_answer_is_the_start_of_it_in_every_dialect() {
    let all = "0123456789".repeat(300);
    for (dialect, head, piece) in [
        (Dialect::OpenAiCompletions, EVENTS, "data: {\"choices\":[{\"index\":0,\"text\":\"0123456789\"}]}\n\n"),
        (
            Dialect::OpenAiResponses,
            EVENTS,
            "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"delta\":\"0123456789\"}\n\n",
        ),
        (
            Dialect::AnthropicMessages,
            EVENTS,
            "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"0123456789\"}}\n\n",
        ),
        (Dialect::OllamaGenerate, LINES, "{\"response\":\"0123456789\",\"done\":false}\n"),
        (Dialect::LlamaCompletion, EVENTS, "data: {\"content\":\"0123456789\",\"stop\":false}\n\n"),
        (Dialect::LmStudioChat, EVENTS, "data: {\"type\":\"message.delta\",\"content\":\"0123456789\"}\n\n"),
    ] {
        let limits = Limits { body: 2000, ..Limits::default() };
        let body = piece.repeat(300);
        let record = feed(dialect, 200, head, limits, &[body.as_bytes()], End::CutOff).record;
        let text = record.text(&field::OUTPUT_TEXT).unwrap();
        assert!((1000..=2000).contains(&text.len()) && all.starts_with(text), "{dialect:?}: {}", text.len());
        assert_eq!(record.get(&field::OUTPUT_TRUNCATED), Some(&Value::Bool(true)), "{dialect:?}");
    }
}

#[test]
fn so_many_parts_and_members_are_kept_and_no_more() {
    let calls: Vec<_> = (0..9000).map(|n| format!(r#"{{"index":{n},"function":{{"name":"f"}}}}"#)).collect();
    let members: Vec<_> = (0..9000).map(|n| format!(r#""m{n}":1"#)).collect();
    let delta = delta(&format!(r#"{{"tool_calls":[{}],{}}}"#, calls.join(","), members.join(",")));
    let record = record_of(200, EVENTS, events(&[&delta]));
    let messages = json_of(&record, &field::OUTPUT_MESSAGES);
    assert_eq!(messages[0]["parts"].as_array().unwrap().len(), 4096);
    assert!(messages[0]["extra"].as_object().is_none_or(|extra| extra.len() <= 64));
    assert_eq!(record.get(&field::OUTPUT_TRUNCATED), Some(&Value::Bool(true)));
}

#[test]
fn what_vllm_adds_is_kept() {
    let record = record_of(
        200,
        EVENTS,
        events(&[
            r#"{"prompt_token_ids":[1,2],"prompt_logprobs":[null,{"2":{"logprob":-9999.0}}],"choices":[{"index":0,"delta":{"content":"a"},"token_ids":[7]}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"token_ids":[8,9],"finish_reason":"stop","stop_reason":"END"}],"metrics":{"queue_time_ms":1.5}}"#,
        ]),
    );
    let expect = concat!(
        r#"[{"role":"assistant","parts":[{"type":"text","content":"a"}],"finish_reason":"stop","extra":{"prompt_token_ids":[1,2],"#,
        r#""prompt_logprobs":[null,{"2":{"logprob":-9999.0}}],"stop_reason":"END","token_ids":[7,8,9]}}]"#
    );
    assert_eq!(json(&record, &field::OUTPUT_MESSAGES), expect);
    assert_eq!(json(&record, &field::TIMINGS), r#"{"queue_time_ms":1.5}"#);
    assert_eq!(record.get(&field::STOPPED_BY), Some(&Value::Array(vec!["END".into()])));
}

#[test]
fn requests_of_the_wrong_shape() {
    for (body, model, text) in [
        (&br#"{"model":5,"messages":"hi","temperature":"hot","n":1.5,"stop":[1],"stream":"yes","seed":99999999999999999999}"#[..], None, None),
        (br#"{"model":"a","model":"b","messages":[{"content":"x"}],"messages":[{"content":"y"}]}"#, Some("a"), Some("y")),
        (br#"{"\u006dodel":"a","model":"b"}"#, Some("a"), None),
        (br#"{"model":null,"model":"b"}"#, Some("b"), None),
        (b"{\"model\":\"m\",\"messages\":[{\"content\":\"a\xff\xfeb\"}]}", Some("m"), Some("a\u{fffd}\u{fffd}b")),
        (br#"{"model":"m","messages":[{"role":"user"#, Some("m"), None),
        (br#"{"model":"m","messages":[{"content":[{"text":"one"},{"image_url":{}},{"text":"two"}]}]}"#, Some("m"), Some("one\ntwo")),
        (b"[1]", None, None),
        (b"", None, None),
    ] {
        let (facts, record) = request(JSON, body, record());
        assert_eq!((facts.model.as_deref(), facts.stream), (model, false));
        assert_eq!((record.text(&field::REQUEST_MODEL), record.text(&field::INPUT_TEXT)), (model, text));
        assert_eq!(record.get(&field::INPUT_BODY).and_then(Value::as_bytes).unwrap_or_default(), body);
        let unset = [&field::TEMPERATURE, &field::CHOICE_COUNT, &field::STOP_SEQUENCES, &field::SEED, &field::STREAM];
        assert!(unset.iter().all(|field| record.get(field).is_none()));
    }
}

#[test]
fn what_a_request_asks_for() {
    let body = br#"{"model":"m","max_completion_tokens":5,"max_tokens":9,"temperature":1,"top_k":40,"stop":["a","b"],
        "stream":true,"user":"u1","metadata":{"conversation_id":"c","session_id":"s"},"n":2,"presence_penalty":-0.5}"#;
    let (facts, asked) = request(JSON, body, record());
    assert!(facts.stream);
    assert_eq!(asked.int(&field::MAX_TOKENS), Some(5));
    assert_eq!(asked.get(&field::TEMPERATURE), Some(&Value::Float(1.0)));
    assert_eq!(asked.get(&field::STOP_SEQUENCES), Some(&Value::Array(vec!["a".into(), "b".into()])));
    assert_eq!((asked.text(&field::USER_ID), asked.text(&field::SESSION)), (Some("u1"), Some("s")));
    let mut known = record();
    known.set(&field::SESSION, "from a header");
    let (_, known) = request(JSON, body, known);
    assert_eq!(known.text(&field::SESSION), Some("from a header"));
}

#[test]
fn a_form_tells_its_model_packed_or_not() {
    let body = b"--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--x\r\nContent-Disposition: form-data; \
        name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\xff\r\n--x--\r\n";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, body).unwrap();
    for (body, content_encoding) in [(body.to_vec(), None), (packed.finish().unwrap(), Some("gzip"))] {
        let head = BodyHead { content_type: Some("multipart/form-data; boundary=x"), content_encoding };
        for dialect in [Dialect::Unknown, Dialect::OpenAiChat] {
            let (facts, record) = request_in(dialect, head, &body, record());
            assert_eq!((facts.model.as_deref(), facts.dialect), (Some("whisper-1"), dialect));
            assert_eq!(record.get(&field::INPUT_BODY).and_then(Value::as_bytes), Some(&body[..]));
        }
    }
}

/// Where a call goes and what is on record of it are the same, whichever way the model was found.
#[test]
fn a_large_body_names_the_model_that_is_on_record() {
    for body in [
        r#"{"model":"a","model":"b"}"#,
        r#"{"mod\u0065l":"\u0061"}"#,
        r#"{"model":{"model":"x"},"model":["x"],"model":"a"}"#,
        r#"{"messages":[{"model":"x"}],"model":"","model":"a"}"#,
        r#"{"model":7}"#,
    ] {
        let mut named = NamedModel::new(JSON);
        named.push(body.as_bytes());
        for dialect in [Dialect::OpenAiChat, Dialect::Unknown] {
            let (facts, record) = request_in(dialect, JSON, body.as_bytes(), record());
            assert_eq!(facts.model.as_deref(), named.found(), "{body}");
            let recorded = if dialect == Dialect::Unknown { named.found() } else { record.text(&field::REQUEST_MODEL) };
            assert_eq!(recorded, named.found(), "{body}");
        }
    }
}

#[test]
fn a_request_of_an_unknown_dialect_is_kept_and_tells_its_model() {
    let mut sent = Request::new(Limits { body: 30, ..Limits::default() });
    sent.push(br#"{"model":"m","prompt":"x","stream":true}"#);
    let mut record = record();
    let facts = sent.finish(Dialect::Unknown, JSON, &mut record);
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("m"), false), "the limit cuts `stream` off");
    assert_eq!(record.get(&field::INPUT_TRUNCATED), Some(&Value::Bool(true)));
    assert_eq!((record.int(&field::INPUT_SIZE), record.get(&field::REQUEST_MODEL)), (Some(40), None));
}
