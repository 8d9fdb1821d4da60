//! Answers that are errors, and streams that become one.

use onrecord_capture::{Dialect, End, Limits};
use onrecord_proof::{Record, field};

use crate::support::{EVENTS, JSON, answer, events, feed, record_of};

fn check(record: &Record, expect: [Option<&str>; 4]) {
    let fields = [&field::ERROR_TYPE, &field::ERROR_MESSAGE, &field::ERROR_STAGE, &field::CAPTURE];
    assert_eq!(fields.map(|field| record.text(field)), expect);
}

#[test]
fn whole() {
    let context = answer("llama-server/error_context_stream").recorded();
    let words = "request (4009 tokens) exceeds the available context size (2048 tokens), try increasing it";
    check(&context, [Some("exceed_context_size_error"), Some(words), Some("upstream"), Some("parsed")]);
    let method = answer("vllm/error_method").recorded();
    check(&method, [Some("http_405"), Some("Method Not Allowed"), Some("upstream"), Some("parsed")]);
    let cors = answer("vllm/http_options").recorded();
    check(&cors, [Some("http_400"), Some("Disallowed CORS origin"), Some("upstream"), Some("parsed")]);
    let empty = record_of(503, JSON, "");
    check(&empty, [Some("http_503"), None, Some("upstream"), Some("parsed")]);
    let late = record_of(200, JSON, r#"{"error":{"message":"no memory","code":"oom"}}"#);
    check(&late, [Some("oom"), Some("no memory"), Some("upstream"), Some("parsed")]);
}

#[test]
fn of_other_dialects() {
    for (status, capture) in [(404, [Some("http_404"), Some("no such model")]), (200, [None, None])] {
        let body = br#"{"error":"no such model"}"#;
        let fed = feed(Dialect::Unknown, status, JSON, Limits::default(), &[body], End::Complete);
        let stage = (status >= 400).then_some("upstream");
        check(&fed.record, [capture[0], capture[1], stage, Some("passthrough")]);
        assert_eq!(fed.record.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(&body[..]));
    }
}

#[test]
fn in_a_stream() {
    let error = r#"{"error":{"code":400,"message":"too long","type":"exceed"}}"#;
    let chunk = r#"{"choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#;
    let body = format!("data: {chunk}\n\ndata: {error}\n\n");
    let fed = feed(Dialect::OpenAiChat, 200, EVENTS, Limits::default(), &[body.as_bytes()], End::Complete);
    check(&fed.record, [Some("exceed"), Some("too long"), Some("stream"), Some("parsed")]);
    assert_eq!(fed.record.text(&field::OUTPUT_TEXT), Some("Hel"));
    assert_eq!((fed.held.len(), fed.record.get(&field::CAPTURE_PROBLEM)), (0, None));
    let then_done = record_of(200, EVENTS, events(&[chunk, error]));
    check(&then_done, [Some("exceed"), Some("too long"), Some("stream"), Some("parsed")]);
    let named = record_of(200, EVENTS, "event: error\ndata: {\"message\":\"overloaded\"}\n\n");
    check(&named, [Some("error"), Some("overloaded"), Some("stream"), Some("parsed")]);
    let status = record_of(429, EVENTS, format!("data: {error}\n\n"));
    check(&status, [Some("exceed"), Some("too long"), Some("upstream"), Some("parsed")]);
}

#[test]
fn in_a_real_stream() {
    let record = answer("llama-server/special_error_mid_stream_oai").recorded();
    let words = "request (4001 tokens) exceeds the available context size (2048 tokens), try increasing it";
    check(&record, [Some("exceed_context_size_error"), Some(words), Some("stream"), Some("parsed")]);
}
