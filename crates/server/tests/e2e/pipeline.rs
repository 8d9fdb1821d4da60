//! What ran around a model's call comes in as spans, as JSON and as feedback, and is one tree with the call.

use std::io::Write as _;

use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use serde_json::{Value, json};

use crate::support::http::{chat, open, post};
use crate::support::log::field;
use crate::support::upstream::{STREAM, answer, completion, event, replay, script};
use crate::support::{Log, Reply, Server, wait_for};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PORTS: &str = "[ingest]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n";

fn attribute((name, value): (&str, Value)) -> Value {
    let value = match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Number(number) if number.is_f64() => json!({ "doubleValue": number }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Array(items) => {
            json!({ "arrayValue": { "values": items.iter().map(|i| json!({ "stringValue": i })).collect::<Vec<_>>() } })
        }
        other => panic!("{other}"),
    };
    json!({ "key": name, "value": value })
}

/// A span of 10 ms that began `at` ms after the others.
fn span(name: &str, id: &str, parent: &str, at: u64, attributes: &[(&str, Value)]) -> Value {
    let nanos = |ms: u64| ((1_763_899_200_000 + ms) * 1_000_000).to_string();
    json!({
        "traceId": TRACE, "spanId": id, "parentSpanId": parent, "name": name, "kind": 3,
        "startTimeUnixNano": nanos(at), "endTimeUnixNano": nanos(at + 10),
        "attributes": attributes.iter().cloned().map(attribute).collect::<Vec<_>>(),
        "status": {}
    })
}

fn export(spans: &Value) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [attribute(("service.name", json!("shop"))), attribute(("deployment", json!("blue")))] },
        "scopeSpans": [{ "scope": { "name": "tests", "version": "1" }, "spans": spans }]
    }] })
}

/// A question is searched for, the finds are ranked, the model is asked, its answer is checked.
fn pipeline() -> Value {
    let chat = [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.request.model", json!("tiny")),
        ("gen_ai.prompt.0.role", json!("user")),
        ("gen_ai.prompt.0.content", json!("Is it in stock?")),
    ];
    let found = [
        ("openinference.span.kind", json!("RETRIEVER")),
        ("input.value", json!("stock")),
        ("retrieval.documents.0.document.id", json!("d1")),
        ("retrieval.documents.0.document.score", json!(0.5)),
        ("retrieval.documents.1.document.id", json!("d2")),
        ("retrieval.documents.1.document.score", json!(0.75)),
    ];
    let ranked = [
        ("openinference.span.kind", json!("RERANKER")),
        ("reranker.input_documents.0.document.id", json!("d1")),
        ("reranker.input_documents.1.document.id", json!("d2")),
        ("reranker.output_documents.0.document.id", json!("d2")),
    ];
    let guard = [("openinference.span.kind", json!("GUARDRAIL")), ("onrecord.guardrail.verdict", json!("allowed"))];
    let mut guard = span("policy", "00000000000000e1", "00000000000000a1", 60, &guard);
    guard["events"] = json!([{ "name": "gen_ai.evaluation.result", "timeUnixNano": "1763899200075000000",
        "attributes": [attribute(("gen_ai.evaluation.name", json!("toxicity"))), attribute(("gen_ai.evaluation.score.value", json!(0.25)))] }]);
    json!([
        span("search", "00000000000000b1", "00000000000000a1", 0, &found),
        span("rank", "00000000000000b2", "00000000000000a1", 15, &ranked),
        span("POST", "00000000000000d1", "00000000000000c1", 31, &[("http.request.method", json!("POST"))]),
        span("chat tiny", "00000000000000c1", "00000000000000a1", 30, &chat),
        guard,
        span(
            "answer",
            "00000000000000a1",
            "",
            0,
            &[("traceloop.span.kind", json!("workflow")), ("session.id", json!("s-1"))]
        ),
    ])
}

async fn send(server: &Server, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Reply {
    let mut request = http::Request::post(format!("http://{}/v1/traces", server.otlp[1]));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Reply::read(open(request.body(Full::new(body.into())).unwrap()).await.unwrap()).await
}

async fn send_json(server: &Server, body: &Value) -> Reply {
    send(server, &[("content-type", "application/json")], body.to_string()).await
}

/// Posts JSON to the API.
async fn api(server: &Server, path: &str, body: &Value) -> Reply {
    let request =
        http::Request::post(format!("http://{}{path}", server.api)).header("content-type", "application/json");
    Reply::read(open(request.body(Full::new(body.to_string().into())).unwrap()).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_and_its_call_are_one_tree_and_no_call_counts_twice() {
    let log = Log::with_config(PORTS);
    let model = script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await;
    let server = log.serve(model);
    let traceparent = format!("00-{TRACE}-00000000000000d1-01");
    let call = post(server.gateway, &[("traceparent", &traceparent)], chat("Is it in stock?", json!({}))).await;
    for _ in 0..2 {
        let taken = send_json(&server, &export(&pipeline())).await;
        assert_eq!(
            (taken.status, taken.json()),
            (200, json!({ "partialSuccess": null })),
            "sent again, it is there once"
        );
    }
    assert_eq!(log.query("SELECT count(*) AS n FROM interactions"), [json!({ "n": 1 })]);
    assert_eq!(
        log.query("SELECT steps.name FROM feedback JOIN steps ON subject_id = steps.id"),
        [json!({ "name": "policy" })],
        "a judgement is about the record of its span"
    );
    let steps = log.query("SELECT step, name, service, session, documents, rerank_after, verdict FROM steps WHERE step <> 'span' ORDER BY time, name");
    let found = r#"[{"id":"d1","score":0.5},{"id":"d2","score":0.75}]"#;
    assert_eq!(
        steps,
        [
            json!({ "step": "chain", "name": "answer", "service": "shop", "session": "s-1", "documents": null, "rerank_after": null, "verdict": null }),
            json!({ "step": "retrieval", "name": "search", "service": "shop", "session": null, "documents": found, "rerank_after": null, "verdict": null }),
            json!({ "step": "rerank", "name": "rank", "service": "shop", "session": null, "documents": null, "rerank_after": r#"[{"id":"d2"}]"#, "verdict": null }),
            json!({ "step": "model_call", "name": "chat tiny", "service": "shop", "session": null, "documents": null, "rerank_after": null, "verdict": null }),
            json!({ "step": "guardrail", "name": "policy", "service": "shop", "session": null, "documents": null, "rerank_after": null, "verdict": "allowed" }),
        ]
        .map(|row| row.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>())
        .map(Value::Object)
    );
    assert_eq!(
        log.query("SELECT interaction_id FROM steps WHERE step = 'model_call'"),
        [json!({ "interaction_id": call.id() })]
    );
    let about = log.query("SELECT name FROM steps WHERE interaction_id IS NOT NULL ORDER BY name");
    assert_eq!(about, [json!({ "name": "POST" }), json!({ "name": "chat tiny" })], "what is around them is about none");
    let trace = log.json(&["trace", TRACE, "--json"]);
    let tree: Vec<_> = trace["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            (
                node["depth"].as_u64().unwrap(),
                node["name"].as_str().or(node["path"].as_str()).or(node["evaluation"].as_str()).unwrap(),
            )
        })
        .collect();
    let expected = [
        (0, "answer"),
        (1, "search"),
        (1, "rank"),
        (1, "chat tiny"),
        (2, "POST"),
        (3, "/v1/chat/completions"),
        (1, "policy"),
        (2, "toxicity"),
    ];
    assert_eq!(tree, expected);
    let drawn = log.run(&["trace", &call.id()]).good();
    assert!(drawn.starts_with(&format!("trace {TRACE}, 8 records, ")) && drawn.contains("retrieval search"), "{drawn}");
    assert_eq!(
        log.query("SELECT event, statement FROM accesses WHERE event = 'trace'").len(),
        2,
        "reading is on record"
    );
    log.verify();
    server.stop();
}

/// The span of a client whose HTTP is not instrumented: what it knows of the call is the id of the answer.
fn unrelated(id: &str, attributes: &[(&str, Value)], started_at: Option<jiff::Timestamp>) -> Value {
    let mut span = span("chat", id, "", 0, attributes);
    if let Some(at) = started_at {
        let end = at.checked_add(std::time::Duration::from_secs(1)).unwrap();
        span["startTimeUnixNano"] = json!(at.as_nanosecond().to_string());
        span["endTimeUnixNano"] = json!(end.as_nanosecond().to_string());
    }
    export(&json!([span]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_its_span_that_only_share_the_id_of_the_answer_count_once() {
    let log = Log::with_config(PORTS);
    let answers =
        ["chatcmpl-0f3a9c2b7d514e68", "chatcmpl-17"].map(|id| completion("Yes.").replace(r#""c""#, &format!("{id:?}")));
    let said = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let stream = STREAM.to_owned() + &event("Ye").replace(r#""c""#, r#""chatcmpl-5d0c1e8f92ab4737""#);
    let model = replay([
        ("POST", "long", said(&answers[0]).into_bytes()),
        ("POST", "short", said(&answers[1]).into_bytes()),
        ("POST", "stream", stream.into_bytes()),
    ])
    .await;
    let server = log.serve(model);
    let began_at = jiff::Timestamp::now();
    let mut calls = Vec::new();
    for question in ["long", "short", "stream"] {
        calls.push(post(server.gateway, &[], chat(question, json!({ "stream": question == "stream" }))).await.id());
    }
    let named = |id: &str| {
        vec![("gen_ai.operation.name", json!("chat")), ("gen_ai.response.id", json!(id)), ("input.value", json!("?"))]
    };
    let inferred = vec![
        ("openinference.span.kind", json!("LLM")),
        ("output.value", json!(r#"{"object":"x","id":"chatcmpl-0f3a9c2b7d514e68"}"#)),
    ];
    for (span, attributes, at) in [
        ("00000000000000a1", named("chatcmpl-0f3a9c2b7d514e68"), None),
        ("00000000000000a2", inferred, None),
        ("00000000000000a3", named("chatcmpl-5d0c1e8f92ab4737"), None),
        ("00000000000000a4", named("chatcmpl-17"), Some(began_at)),
        // Another call, of which the gateway does not know, by the same short id.
        ("00000000000000a5", named("chatcmpl-17"), None),
        ("00000000000000a6", named("chatcmpl-99"), Some(began_at)),
    ] {
        assert_eq!(send_json(&server, &unrelated(span, &attributes, at)).await.status, 200);
    }
    let steps = log.query("SELECT span_id, interaction_id FROM steps WHERE step = 'model_call' ORDER BY span_id");
    let subjects: Vec<_> = steps.iter().map(|step| step["interaction_id"].as_str().unwrap()).collect();
    assert_eq!(subjects, [&*calls[0], &calls[0], &calls[2], &calls[1]]);
    let others = log
        .query("SELECT span_id FROM records WHERE kind = 'interaction' AND onrecord_source = 'otlp' ORDER BY span_id");
    assert_eq!(others, [json!({ "span_id": "00000000000000a5" }), json!({ "span_id": "00000000000000a6" })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_come_over_grpc_and_packed_and_say_when_content_is_missing() {
    let log = Log::with_config(PORTS);
    let server = log.serve("http://127.0.0.1:9");
    let spans = json!([span(
        "chat",
        "00000000000000c1",
        "",
        0,
        &[("gen_ai.operation.name", json!("chat")), ("gen_ai.usage.input_tokens", json!(7))]
    )]);
    let request: ExportTraceServiceRequest = serde_json::from_value(export(&spans)).unwrap();
    let mut client = TraceServiceClient::connect(format!("http://{}", server.otlp[0])).await.unwrap();
    client = client.send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let taken: ExportTraceServiceResponse = client.export(request.clone()).await.unwrap().into_inner();
    let warning = taken.partial_success.unwrap();
    assert!(warning.rejected_spans == 0 && warning.error_message.contains("CAPTURE_MESSAGE_CONTENT"), "{warning:?}");
    assert!(server.messages().contains("do not say what was asked"), "{}", server.messages());
    let call = log.only("input_tokens = 7");
    assert_eq!(field(&call, "context", "resource.deployment"), "blue");
    assert_eq!(field(&call, "context", "onrecord.source"), "otlp");

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let other = json!([span("a", "00000000000000f1", "", 0, &[]), span("b", "0000", "", 0, &[])]);
    packed.write_all(export(&other).to_string().as_bytes()).unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let taken = send(&server, &headers, packed.finish().unwrap()).await;
    let partial = &taken.json()["partialSuccess"];
    assert!(partial["rejectedSpans"] == "1" || partial["rejectedSpans"] == 1, "{partial}");
    assert!(partial["errorMessage"].as_str().unwrap().contains("the span id"), "{partial}");
    assert_eq!(log.query("SELECT name FROM steps"), [json!({ "name": "a" })]);

    for (headers, body, status) in [
        (&[("content-type", "text/plain")][..], "{}", 415),
        (&[("content-type", "application/json")], "{", 400),
        (&[("content-type", "application/x-protobuf")], "\u{1}\u{2}", 400),
        (&[("content-type", "application/json"), ("content-encoding", "gzip")], "{}", 400),
        (&[("content-type", "application/json"), ("content-encoding", "br")], "{}", 415),
    ] {
        let refused = send(&server, headers, body).await;
        assert_eq!(refused.status, status, "{headers:?} {}", refused.text());
    }
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 17 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    let refused = send(&server, &headers, bomb).await;
    assert!(refused.status == 413 && refused.text().contains("`ingest.max_body`"), "{}", refused.text());
    assert!(!server.stop().contains("panicked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_in_is_refused_with_a_reason() {
    let log = Log::with_config(PORTS);
    let server = log.serve("http://127.0.0.1:9");
    let line = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a line"}}]}]}]}"#;
    for (path, body, status, says) in [
        ("/v1/logs", line, 400, "only spans and evaluation results"),
        ("/v1/logs", line, 400, "MESSAGE_CONTENT=span_only"),
        ("/v1/metrics", "{}", 404, "OTEL_METRICS_EXPORTER=none"),
        ("/", "{}", 404, "/v1/traces"),
    ] {
        let refused = send_to(&server, path, body).await;
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(refused.status == status && message.contains(says), "{path}: {message}");
    }
    assert_eq!(send_to(&server, "/v1/logs", "{}").await.status, 200, "nothing is nothing to be refused");
    for signal in ["logs", "metrics"] {
        assert_eq!(server.messages().matches(&format!("an application sends {signal}")).count(), 1);
    }
    server.stop();
}

async fn send_to(server: &Server, path: &str, body: &str) -> Reply {
    let request = http::Request::post(format!("http://{}{path}", server.otlp[1]));
    let request = request.header("content-type", "application/json").body(Full::new(body.to_owned().into())).unwrap();
    Reply::read(open(request).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_judgement_in_a_log_event_is_there_once_and_finds_what_it_judges() {
    let log = Log::with_config(PORTS);
    let server = log.serve("http://127.0.0.1:9");
    let judged = |span: &str, score: f64| {
        json!({ "eventName": "gen_ai.evaluation.result", "timeUnixNano": "1763899200000000000", "traceId": TRACE,
            "spanId": span, "attributes": [
                { "key": "gen_ai.evaluation.name", "value": { "stringValue": "relevance" } },
                { "key": "gen_ai.evaluation.score.value", "value": { "doubleValue": score } }] })
    };
    let logs = |records: Value| json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": records }] }] }).to_string();
    send_json(&server, &export(&json!([span("search", "00000000000000d1", "", 0, &[])]))).await;
    let step = log.only_of("steps", "span_id = '00000000000000d1'")["id"].clone();
    let both = logs(json!([judged("00000000000000d1", 0.5), { "body": { "stringValue": "a line" } }]));
    for _ in 0..2 {
        let taken = send_to(&server, "/v1/logs", &both).await;
        let rejected = &taken.json()["partialSuccess"]["rejectedLogRecords"];
        assert!(taken.status == 200 && (rejected == "1" || *rejected == 1), "{}", taken.text());
    }
    // What came before a restart is found by its trace.
    server.stop();
    let server = log.serve("http://127.0.0.1:9");
    let later = logs(json!([judged("00000000000000d1", 0.75), judged("00000000000000d9", 0.25)]));
    assert_eq!(send_to(&server, "/v1/logs", &later).await.status, 200);
    let found = log.query("SELECT subject_id, score, parent_span_id FROM feedback ORDER BY score DESC");
    let expect = [
        json!({ "subject_id": step, "score": 0.75, "parent_span_id": "00000000000000d1" }),
        json!({ "subject_id": step, "score": 0.5, "parent_span_id": "00000000000000d1" }),
        json!({ "score": 0.25, "parent_span_id": "00000000000000d9" }),
    ];
    assert_eq!(found, expect);
    log.verify();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_say_what_only_the_recorder_knows() {
    let log = Log::with_config(PORTS);
    let server = log.serve("http://127.0.0.1:9");
    let forged = [
        ("onrecord.principal", json!("auditor")),
        ("onrecord.source", json!("gateway")),
        ("onrecord.duration_us", json!(1)),
        ("gen_ai.usage.input_tokens", json!("many")),
        ("app.release", json!("7")),
    ];
    send_json(&server, &export(&json!([span("a", "00000000000000f1", "", 0, &forged)]))).await;
    let attributes = json!({ "onrecord.principal": "auditor", "onrecord.item.sha256": "00", "app.release": "7" });
    api(&server, "/api/v1/records", &json!([{ "name": "b", "attributes": attributes }])).await;
    for (name, source) in [("a", "otlp"), ("b", "api")] {
        let record = log.only_of("steps", &format!("name = '{name}'"));
        assert_eq!(field(&record, "who", "onrecord.principal"), "anonymous");
        assert_eq!(field(&record, "context", "onrecord.source"), source);
        assert_eq!(field(&record, "context", "attribute.onrecord.principal"), "auditor");
        assert_eq!(field(&record, "context", "app.release"), "7");
    }
    let span = log.only_of("steps", "name = 'a'");
    assert_eq!(field(&span, "performance", "onrecord.duration_us"), 10_000);
    assert_eq!(field(&span, "performance", "attribute.gen_ai.usage.input_tokens"), "many");
    log.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_are_sent_at_the_same_time_are_there_once() {
    let log = Log::with_config(PORTS);
    let server = log.serve("http://127.0.0.1:9");
    let spans: Vec<_> = (1..=300).map(|n| span("a", &format!("{n:016x}"), "", 0, &[])).collect();
    let body = export(&Value::Array(spans));
    let sent = futures::future::join_all((0..6).map(|_| send_json(&server, &body))).await;
    // Who finds spans on their way is told to come again, which exporters do; that can be each, of others' spans.
    assert!(sent.iter().all(|reply| [200, 503].contains(&reply.status)));
    assert_eq!(send_json(&server, &body).await.status, 200);
    assert_eq!(log.query("SELECT count(*) AS n FROM steps"), [json!({ "n": 300 })]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_spans_needs_the_role_and_a_page_of_another_name_gets_nothing() {
    let log = Log::with_config(PORTS);
    let body = export(&json!([span("a", "00000000000000f1", "", 0, &[])]));
    let server = log.serve("http://127.0.0.1:9");
    let headers = [("content-type", "application/json"), ("host", "evil.example")];
    assert_eq!(send(&server, &headers, body.to_string()).await.status, 403);
    server.stop();
    let token = |role: &str| {
        let made = log.run(&["token", "create", "--role", role, "--name", role]).good();
        made.split_whitespace().find(|word| word.starts_with("onr_")).unwrap().to_owned()
    };
    let (ingest, read) = (token("ingest"), token("read"));
    let server = log.serve("http://127.0.0.1:9");
    let request: ExportTraceServiceRequest = serde_json::from_value(body.clone()).unwrap();
    let grpc = TraceServiceClient::connect(format!("http://{}", server.otlp[0])).await.unwrap();
    for (token, code, status) in [
        (None, tonic::Code::Unauthenticated, 401),
        (Some("onr_wrong"), tonic::Code::Unauthenticated, 401),
        (Some(read.as_str()), tonic::Code::PermissionDenied, 403),
        (Some(ingest.as_str()), tonic::Code::Ok, 200),
    ] {
        let mut asked = tonic::Request::new(request.clone());
        let mut headers = vec![("content-type", "application/json")];
        if let Some(token) = token {
            asked.metadata_mut().insert("x-onrecord-token", token.parse().unwrap());
            headers.push(("x-onrecord-token", token));
        }
        let answered = grpc.clone().export(asked).await.map_or_else(|status| status.code(), |_| tonic::Code::Ok);
        assert_eq!((answered, send(&server, &headers, body.to_string()).await.status), (code, status), "{token:?}");
    }
    assert_eq!(log.query("SELECT id FROM steps").len(), 1);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_of_records_that_goes_away_leaves_nothing_open() {
    let log = Log::with_config(PORTS);
    let server = log.serve("http://127.0.0.1:9");
    let items = |n: usize| {
        let item = |at: usize| json!({ "id": format!("01a20de1-8182-74cc-bc16-{:012x}", n * 100 + at), "name": "a" });
        Value::Array((0..20).map(item).collect())
    };
    for n in 0..40 {
        let items = items(n);
        let asked = api(&server, "/api/v1/records", &items);
        let patience = std::time::Duration::from_micros(500 * n as u64);
        drop(tokio::time::timeout(patience, asked).await);
    }
    wait_for("nothing to be under way", || (log.json(&["stats", "--json"])["open_calls"] == 0).then_some(()));
    for n in 0..40 {
        assert_eq!(api(&server, "/api/v1/records", &items(n)).await.status, 201);
    }
    assert_eq!(log.query("SELECT count(*) AS n FROM steps"), [json!({ "n": 800 })]);
    log.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_stops_in_the_middle_does_not_hold_back_the_end() {
    let log = Log::with_config(PORTS);
    let server = log.serve("http://127.0.0.1:9");
    let mut half = std::net::TcpStream::connect(server.otlp[1]).unwrap();
    half.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: 127").unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_plain_json_are_there_once_and_after_a_restart_too() {
    const ID: &str = "01a20de1-8182-74cc-bc16-5b0b3882fea9";
    // A reader of JSON that is not exact makes another number of it.
    const RATE: f64 = 931.098_696_461_825_2;
    let log = Log::with_config(PORTS);
    let server = log.serve("http://127.0.0.1:9");
    let step = json!({ "id": ID, "step": "rerank", "name": "order", "trace_id": TRACE, "tags": { "team": "shop" },
        "input": { "n": 12.5, "keys": ["b", "a"] }, "before": [1, 2], "after": [2, 1], "duration_us": 1500, "attributes": { "k": 3, "rate": RATE } });
    let taken = api(&server, "/api/v1/records", &json!([step, { "name": "other" }])).await;
    assert_eq!((taken.status, taken.json()["records"][0]["known"].clone()), (201, json!(false)), "{}", taken.text());
    server.stop();
    let server = log.serve("http://127.0.0.1:9");
    let again = api(&server, "/api/v1/records", &step).await;
    assert_eq!((again.status, again.json()), (201, json!({ "records": [{ "id": ID, "known": true }] })));
    assert_eq!(field(&log.only_of("steps", "name = 'order'"), "context", "rate"), RATE);
    let mut other = step.clone();
    other["name"] = json!("another");
    assert_eq!(api(&server, "/api/v1/records", &json!([other])).await.status, 409);
    for (wrong, says) in [
        (json!([{ "stepp": "x" }]), "item 0: unknown field `stepp`"),
        (json!([{ "kind": "alert" }]), "feedback goes to"),
        (json!([{}, { "trace_id": "A" }]), "item 1: `trace_id`"),
        (json!([{ "duration_us": -1 }]), "negative"),
        (json!([{ "time": i64::MAX }]), "years 1 to 9999"),
    ] {
        let refused = api(&server, "/api/v1/records", &wrong).await;
        assert!(refused.status == 400 && refused.text().contains(says), "{wrong}: {}", refused.text());
    }
    // What a page of another origin may send without asking first is not taken.
    for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let url = format!("http://{}/api/v1/records", server.api);
        let request = http::Request::post(url).header("content-type", content_type);
        let refused = Reply::read(open(request.body(Full::new("[{}]".into())).unwrap()).await.unwrap()).await;
        assert_eq!(refused.status, 415, "{}", refused.text());
    }
    let rows = log.query("SELECT id, input, rerank_after, duration_ms FROM steps WHERE name = 'order'");
    assert_eq!(
        rows,
        [json!({ "id": ID, "input": r#"{"keys":["b","a"],"n":12.5}"#, "rerank_after": "[2,1]", "duration_ms": 1.5 })]
    );

    let judged =
        api(&server, "/api/v1/feedback", &json!({ "record": ID, "score": 0.5, "label": "so-so", "user": "ann" })).await;
    assert_eq!(judged.status, 201, "{}", judged.text());
    log.run(&["feedback", ID, "--score", "-1", "--comment", "no"]).good();
    log.run(&["feedback", "s-9", "--session", "--label", "good"]).good();
    for (wrong, status) in [
        (json!({ "record": ID }), 400),
        (json!({ "record": ID, "session": "s", "score": 1 }), 400),
        (json!({ "record": "01a20de1-8182-74cc-bc16-5b0b3882fe00", "score": 1 }), 404),
        (json!({ "record": ID, "stars": 5 }), 400),
    ] {
        assert_eq!(api(&server, "/api/v1/feedback", &wrong).await.status, status, "{wrong}");
    }
    let feedback = log.query("SELECT subject_id, session, score, label, comment FROM feedback ORDER BY leaf_index");
    assert_eq!(
        feedback,
        [
            json!({ "subject_id": ID, "score": 0.5, "label": "so-so" }),
            json!({ "subject_id": ID, "score": -1.0, "comment": "no" }),
            json!({ "session": "s-9", "label": "good" }),
        ]
    );
    log.verify();
    server.stop();
}
