//! Spans of the three conventions become the same fields.

use onrecord_capture::otlp::{self, Span};
use onrecord_proof::{Group, Kind, Record, Value, field};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::{Value as Json, json};

fn attribute(name: &str, value: &Json) -> Json {
    let value = match value {
        Json::String(text) => json!({ "stringValue": text }),
        Json::Bool(flag) => json!({ "boolValue": flag }),
        Json::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        Json::Number(number) => json!({ "intValue": number.to_string() }),
        Json::Array(items) => {
            json!({ "arrayValue": { "values": items.iter().map(|item| json!({ "stringValue": item })).collect::<Json>() } })
        }
        other => panic!("{other}"),
    };
    json!({ "key": name, "value": value })
}

fn request(attributes: &Json, more: &Json) -> ExportTraceServiceRequest {
    let attributes: Json = attributes.as_object().unwrap().iter().map(|(name, value)| attribute(name, value)).collect();
    let mut span = json!({ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "n",
        "startTimeUnixNano": "1763899200000000000", "endTimeUnixNano": "1763899200250000000", "attributes": attributes });
    for (name, value) in more.as_object().unwrap() {
        span[name] = value.clone();
    }
    let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] });
    otlp::from_json(request.to_string().as_bytes()).unwrap()
}

fn with<T>(attributes: &Json, more: &Json, look: impl FnOnce(Span<'_>) -> T) -> T {
    let request = request(attributes, more);
    look(otlp::spans(&request).next().unwrap())
}

fn record(attributes: &Json, more: &Json) -> Record {
    with(attributes, more, |span| {
        let kind = if span.is_model_call() { Kind::Interaction } else { Kind::Step };
        let mut record = Record::new(uuid::Uuid::nil(), kind, 0, [0; 32]);
        span.record(&mut record);
        record
    })
}

fn body(record: &Record, field: &onrecord_proof::Field) -> Json {
    serde_json::from_slice(record.get(field).and_then(Value::as_bytes).unwrap()).unwrap()
}

#[test]
fn a_call_is_the_same_in_every_convention() {
    let semantic = json!({
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "ollama", "gen_ai.request.model": "tiny",
        "gen_ai.request.temperature": 0.5, "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 2,
        "gen_ai.response.finish_reasons": ["stop"], "gen_ai.conversation.id": "s", "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.input.messages": r#"[{"role":"user","parts":[{"type":"text","content":"Hi?"}]}]"#,
        "gen_ai.output.messages": r#"[{"role":"assistant","parts":[{"type":"text","content":"Yes."}]}]"#,
    });
    let openinference = json!({
        "openinference.span.kind": "LLM", "llm.provider": "ollama", "llm.model_name": "tiny", "session.id": "s",
        "llm.token_count.prompt": 7, "llm.token_count.completion": 2,
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Hi?",
        "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "Yes.",
    });
    let older = json!({
        "llm.request.type": "chat", "gen_ai.system": "ollama", "gen_ai.request.model": "tiny",
        "traceloop.association.properties.session_id": "s",
        "gen_ai.usage.prompt_tokens": 7, "gen_ai.usage.completion_tokens": 2,
        "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Hi?",
        "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "Yes.",
    });
    for attributes in [&semantic, &openinference, &older] {
        let record = record(attributes, &json!({}));
        assert_eq!(record.kind, Kind::Interaction, "{attributes}");
        let texts = [
            &field::PROVIDER,
            &field::REQUEST_MODEL,
            &field::SESSION,
            &field::INPUT_TEXT,
            &field::OUTPUT_TEXT,
            &field::OUTCOME,
        ];
        let found = texts.map(|field| record.text(field).unwrap_or_default());
        assert_eq!(found, ["ollama", "tiny", "s", "Hi?", "Yes.", "completed"], "{attributes}");
        assert_eq!((record.int(&field::INPUT_TOKENS), record.int(&field::OUTPUT_TOKENS)), (Some(7), Some(2)));
        assert_eq!((record.captured_at, record.int(&field::DURATION)), (1_763_899_200_000_000, Some(250_000)));
        assert_eq!(body(&record, &field::INPUT_MESSAGES)[0]["role"], "user");
    }
    assert_eq!(record(&semantic, &json!({})).int(&field::FIRST_TOKEN), Some(250_000));
}

#[test]
fn lists_within_lists_are_put_together() {
    let attributes = json!({
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.contents.1.message_content.text": "What is it?",
        "llm.input_messages.0.message.contents.0.message_content.image.image.url": "file:cat.png",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "look",
        "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
        "llm.output_messages.0.message.tool_calls.10.tool_call.id": "c3",
        "llm.output_messages.0.message.tool_calls.2.tool_call.id": "c2",
        "llm.output_messages.0.message.odd": 1,
        "llm.output_messages.0.message.odd.name": 2,
        "llm.output_messages.0.message.even.name": 3,
        "llm.output_messages.0.message.even": 4,
        "llm.output_messages.0.message.a.b.c.d.e.f.g.h.i": 5,
    });
    let record = record(&attributes, &json!({}));
    let input =
        json!([{ "contents": [{ "image": { "image": { "url": "file:cat.png" } } }, { "text": "What is it?" }] }]);
    assert_eq!(body(&record, &field::INPUT_MESSAGES), input);
    assert_eq!(record.text(&field::INPUT_TEXT), Some("What is it?"));
    let output = &body(&record, &field::OUTPUT_MESSAGES)[0];
    assert_eq!(
        output["tool_calls"],
        json!([{ "function": { "name": "look" }, "id": "c1" }, { "id": "c2" }, { "id": "c3" }])
    );
    let all = output.to_string();
    for kept in [1, 2, 3, 4, 5] {
        assert!(all.contains(&format!(":{kept}")), "{kept} is lost: {all}");
    }
}

#[test]
fn parameters_in_one_json_become_fields() {
    let parameters = r#"{"model": "small", "temperature": 0, "max_completion_tokens": 9, "stop": ["a", "b"], "stream": true, "tools": []}"#;
    let attributes = json!({
        "openinference.span.kind": "LLM", "llm.invocation_parameters": parameters, "llm.model_name": "small-2026",
        "llm.finish_reason": "length", "gen_ai.request.temperature": 0.5,
    });
    let record = record(&attributes, &json!({}));
    let models = [&field::REQUEST_MODEL, &field::RESPONSE_MODEL].map(|field| record.text(field));
    assert_eq!(models, [Some("small"), Some("small-2026")], "what was asked for, what answered");
    assert_eq!(record.text(&field::OPERATION), Some("chat"));
    assert_eq!(record.get(&field::TEMPERATURE), Some(&Value::from(0.5)), "an attribute of its own counts first");
    assert_eq!(record.int(&field::MAX_TOKENS), Some(9));
    assert_eq!(record.get(&field::STREAM), Some(&Value::Bool(true)));
    assert_eq!(record.get(&field::STOP_SEQUENCES), Some(&Value::Array(vec!["a".into(), "b".into()])));
    assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["length".into()])));
    let kept = record.group(Group::Config).and_then(|fields| fields.get("llm.invocation_parameters"));
    assert_eq!(kept, Some(&parameters.into()), "nothing of them is dropped");
}

#[test]
fn what_only_messages_and_events_say_counts() {
    let attributes = json!({
        "gen_ai.operation.name": "chat",
        "gen_ai.output.messages": r#"[{"role":"assistant","parts":[{"type":"text","content":""}],"finish_reason":"tool_calls"}]"#,
    });
    let chunk = |ms: u64| json!({ "name": "gen_ai.content.completion.chunk", "timeUnixNano": (1_763_899_200_000_000_000 + ms * 1_000_000).to_string() });
    let record = record(&attributes, &json!({ "events": [chunk(20), chunk(30)] }));
    assert_eq!(record.get(&field::FINISH_REASONS), Some(&Value::Array(vec!["tool_calls".into()])));
    assert_eq!(record.int(&field::FIRST_TOKEN), Some(20_000));
    assert_eq!(record.get(&field::OUTPUT_TEXT), None, "there is none");
}

#[test]
fn nothing_is_dropped() {
    let attributes = json!({
        "gen_ai.usage.input_tokens": "many", "app.flag": true, "llm.prompts": ["a"], "user.tier": "gold",
        "gen_ai.usage.prompt_tokens": 3, "llm.token_count.total": 9, "retrieval.documents.x": "odd",
    });
    let record = record(
        &attributes,
        &json!({ "traceState": "k=v", "links": [{ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203332" }],
        "events": [{ "name": "cache.miss", "timeUnixNano": "1763899200100000000", "attributes": [attribute("key", &json!("k1"))] },
                   { "name": "exception", "attributes": [attribute("exception.type", &json!("ValueError")), attribute("exception.message", &json!("bad"))] }],
        "status": { "code": 2, "message": "it broke" } }),
    );
    let extra = |group: Group, name: &str| record.group(group).and_then(|fields| fields.get(name)).cloned();
    assert_eq!(record.int(&field::INPUT_TOKENS), Some(3), "of two names that which has a number");
    assert_eq!(extra(Group::Performance, "attribute.gen_ai.usage.input_tokens"), Some("many".into()));
    assert_eq!(extra(Group::Context, "app.flag"), Some(Value::Bool(true)));
    assert_eq!(extra(Group::Who, "user.tier"), Some("gold".into()));
    assert_eq!(extra(Group::Performance, "llm.token_count.total"), Some(Value::Int(9)));
    assert_eq!(extra(Group::Output, "retrieval.documents.x"), Some("odd".into()));
    assert_eq!(extra(Group::Input, "llm.prompts"), Some(Value::Array(vec!["a".into()])));
    assert_eq!(extra(Group::Context, "trace_state"), Some("k=v".into()));
    assert!(extra(Group::Context, "onrecord.span.links").is_some());
    let events = extra(Group::Context, "onrecord.span.events").unwrap();
    assert!(String::from_utf8_lossy(events.as_bytes().unwrap()).contains(r#""key":"k1""#));
    assert_eq!(
        [&field::ERROR_TYPE, &field::ERROR_MESSAGE, &field::OUTCOME].map(|f| record.text(f).unwrap()),
        ["ValueError", "it broke", "failed"]
    );
}

#[test]
fn a_span_without_its_ids_is_refused() {
    for (more, problem) in [
        (json!({ "traceId": "00" }), "the trace id"),
        (json!({ "traceId": "00000000000000000000000000000000" }), "the trace id"),
        (json!({ "spanId": "" }), "the span id"),
    ] {
        let refused = with(&json!({}), &more, |span| span.key().unwrap_err());
        assert!(refused.contains(problem), "{refused}");
    }
}

#[test]
fn what_kind_of_step_it_is() {
    for (attributes, step) in [
        (json!({ "openinference.span.kind": "RETRIEVER" }), "retrieval"),
        (json!({ "gen_ai.operation.name": "execute_tool" }), "tool"),
        (json!({ "traceloop.span.kind": "agent" }), "agent"),
        (json!({ "llm.request.type": "rerank", "gen_ai.request.model": "ranker" }), "rerank"),
        (json!({ "onrecord.step": "redaction" }), "redaction"),
        (json!({ "http.request.method": "GET" }), "span"),
    ] {
        assert_eq!(record(&attributes, &json!({})).text(&field::STEP), Some(step), "{attributes}");
    }
}

#[test]
fn content_is_missed_only_where_it_belongs() {
    let lacks = |attributes: Json, more: Json| with(&attributes, &more, |span| span.lacks_content());
    let call = json!({ "gen_ai.operation.name": "chat", "input.mime_type": "text/plain" });
    assert!(lacks(call.clone(), json!({})));
    assert!(!lacks(call, json!({ "events": [{ "name": "gen_ai.user.message" }] })));
    assert!(!lacks(json!({ "gen_ai.operation.name": "chat", "input.value": "x" }), json!({})));
    assert!(!lacks(json!({ "openinference.span.kind": "CHAIN" }), json!({})));
    let hidden = json!({ "openinference.span.kind": "LLM", "input.value": "__REDACTED__" });
    assert!(lacks(hidden.clone(), json!({})), "what was hidden was not said");
    assert_eq!(record(&hidden, &json!({})).get(&field::INPUT_TEXT), None);
    assert!(!lacks(json!({ "gen_ai.operation.name": "embeddings" }), json!({})), "some never say what was embedded");
}

#[test]
fn what_protobuf_leaves_out_of_json_is_empty() {
    let request = json!({ "resourceSpans": [{
        "resource": { "attributes": null, "entityRefs": [{ "type": "host" }] },
        "scopeSpans": [{ "spans": [{ "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331",
            "attributes": [
                { "key": "app.list", "value": { "arrayValue": {} } },
                { "key": "app.map", "value": { "kvlistValue": {} } },
                { "key": "app.deep", "value": { "arrayValue": { "values": [{ "kvlistValue": { "values": [
                    { "value": { "arrayValue": {} } }] } }] } } },
                { "key": "app.nan", "value": { "doubleValue": "NaN" } },
                { "key": "app.text", "value": { "doubleValue": "0.5" } },
                { "key": "app.none", "value": null },
                { "key": "gen_ai.request.temperature", "value": { "doubleValue": 0.25 } },
            ],
            "events": [{ "name": "e", "attributes": [{ "key": "x", "value": { "arrayValue": {} } }] }] }] }] }] });
    let request = otlp::from_json(request.to_string().as_bytes()).unwrap();
    let mut record = Record::new(uuid::Uuid::nil(), Kind::Step, 0, [0; 32]);
    otlp::spans(&request).next().unwrap().record(&mut record);
    let kept = |name: &str| record.group(Group::Context).unwrap().get(name).cloned();
    assert_eq!(kept("app.list"), Some(Value::Array(Vec::new())));
    assert_eq!(kept("app.map"), Some(Value::Map(onrecord_proof::Map::default())));
    let deep = [(String::new(), Value::Array(Vec::new()))].into_iter().collect();
    assert_eq!(kept("app.deep"), Some(Value::Array(vec![Value::Map(deep)])));
    assert_eq!((kept("app.nan"), kept("app.text")), (Some("NaN".into()), Some(0.5.into())));
    assert_eq!(record.get(&field::TEMPERATURE), Some(&0.25.into()));
    let event = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "kvlistValue": {} },
        "eventName": "gen_ai.evaluation.result" }] }] }] });
    let request: ExportLogsServiceRequest = otlp::from_json(event.to_string().as_bytes()).unwrap();
    assert!(otlp::log_events(&request).next().unwrap().evaluation().is_some());
}

#[test]
fn names_of_prompts_and_of_what_was_written_to_a_cache() {
    let of = |attributes: Json| record(&attributes, &json!({}));
    let prompt = of(json!({ "gen_ai.prompt.name": "answer", "gen_ai.prompt.version": "2" }));
    assert_eq!((prompt.text(&field::PROMPT_NAME), prompt.text(&field::PROMPT_VERSION)), (Some("answer"), Some("2")));
    for name in [
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
    ] {
        assert_eq!(of(json!({ name: 7 })).int(&field::CACHE_WRITTEN_TOKENS), Some(7), "{name}");
    }
}

#[test]
fn rubbish_is_no_request() {
    let problem = otlp::from_json::<ExportTraceServiceRequest>(b"{\"resourceSpans\": 1}").unwrap_err().to_string();
    assert!(problem.contains("no export request of OTLP in JSON"), "{problem}");
    let problem = otlp::from_protobuf::<ExportLogsServiceRequest>(b"\x0a\xff").unwrap_err().to_string();
    assert!(problem.contains("protobuf"), "{problem}");
}

fn judged(attributes: &Json) -> Json {
    attributes.as_object().unwrap().iter().map(|(name, value)| attribute(name, value)).collect()
}

#[test]
fn a_judgement_is_the_same_as_a_log_event_and_in_a_span() {
    let attributes = json!({ "gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.25,
        "gen_ai.evaluation.score.label": "poor", "gen_ai.evaluation.explanation": "It says nothing.",
        "gen_ai.response.id": "chatcmpl-1", "app.rubric": "v2" });
    let event = json!({ "name": "gen_ai.evaluation.result", "timeUnixNano": "1763899200125000000", "attributes": judged(&attributes) });
    let new = |kind| Record::new(uuid::Uuid::nil(), kind, 0, [0; 32]);
    let in_span = with(&json!({}), &json!({ "events": [event] }), |span| span.records(None, new).remove(1));
    let log = json!({ "eventName": "gen_ai.evaluation.result", "timeUnixNano": "1763899200125000000",
        "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "attributes": judged(&attributes) });
    let request = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [log] }] }] });
    let request: ExportLogsServiceRequest = otlp::from_json(request.to_string().as_bytes()).unwrap();
    let event = otlp::log_events(&request).next().unwrap();
    let mut alone = new(Kind::Feedback);
    event.evaluation().unwrap().record(Some(uuid::Uuid::nil()), &mut alone);
    assert_eq!(alone.to_bytes(), in_span.to_bytes());
    assert_eq!(alone.text(&field::LABEL), Some("poor"));
    assert_eq!(event.evaluation().unwrap().response_id().as_deref(), Some("chatcmpl-1"));
}

#[test]
fn log_events_are_told_apart() {
    let logs = json!([
        { "attributes": judged(&json!({ "event.name": "gen_ai.evaluation.result", "gen_ai.evaluation.score.value": 1 })),
          "observedTimeUnixNano": "1763899200000002000", "body": { "stringValue": "fine" }, "severityText": "INFO" },
        { "eventName": "gen_ai.client.inference.operation.details" },
        { "body": { "stringValue": "gen_ai.evaluation.result" } },
    ]);
    let request = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": logs }] }] });
    let request: ExportLogsServiceRequest = otlp::from_json(request.to_string().as_bytes()).unwrap();
    let events: Vec<_> = otlp::log_events(&request).collect();
    let names: Vec<_> = events.iter().map(|event| (event.name(), event.evaluation().is_some())).collect();
    let details = "gen_ai.client.inference.operation.details";
    assert_eq!(names, [("gen_ai.evaluation.result", true), (details, false), ("", false)]);
    let mut record = Record::new(uuid::Uuid::nil(), Kind::Feedback, 0, [0; 32]);
    let evaluation = events[0].evaluation().unwrap();
    evaluation.record(None, &mut record);
    events[0].record_rest(&mut record);
    assert_eq!((evaluation.span(), record.captured_at), (None, 1_763_899_200_000_002));
    assert_eq!(record.get(&field::SCORE).and_then(Value::as_float), Some(1.0));
    assert_eq!((record.text(&field::TRACE_ID), record.text(&field::SUBJECT), record.refs.len()), (None, None, 0));
    let outcome = record.group(Group::Outcome).unwrap();
    assert_eq!(outcome.get("otel.log.body").and_then(Value::as_text), Some("fine"));
    assert!(events[0].key() != events[1].key() && events[1].key() != events[2].key());
}
