//! Model servers that misbehave.

use std::io::Write as _;
use std::time::Duration;

use serde_json::json;

use super::{completed, ended, still_good};
use crate::support::log::field;
use crate::support::upstream::{Act, STREAM, answer, completion, event, script, send};
use crate::support::{Log, Reply, chat, post};

/// Asks a model server that plays `acts`; gives the answer and the record.
async fn ask(acts: Vec<Act>) -> (Reply, serde_json::Value) {
    let log = Log::with_config("[gateway]\nresponse_timeout = \"300ms\"\n");
    let model = script(acts).await;
    let server = log.serve(&model);
    let reply = post(server.gateway, &[], chat("Hello!", json!({}))).await;
    let record = log.show(&reply.id());
    still_good(&log, server).await;
    (reply, record)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_is_not_there() {
    let log = Log::new();
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let server = log.serve(format!("http://{address}"));
    let reply = post(server.gateway, &[], chat("Hello!", json!({}))).await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_unreachable"));
    ended(&log.show(&reply.id()), "upstream_error", 502, "upstream_unreachable", "connect");
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_stalls_before_its_answer() {
    let (reply, record) = ask(vec![Act::Hold]).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "timeout"));
    ended(&record, "upstream_error", 504, "timeout", "upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_stalls_within_its_answer() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"id\"";
    let (reply, record) = ask(vec![send(head), Act::Hold]).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "timeout"));
    ended(&record, "upstream_error", 504, "timeout", "stream");
    assert_eq!(field(&record, "output", "onrecord.output.body"), "{\"id\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_stalls_within_a_stream() {
    let (reply, record) = ask(vec![send(STREAM.to_owned() + &event("One")), Act::Hold]).await;
    assert_eq!((reply.status, reply.whole), (200, false));
    assert_eq!(reply.text(), event("One"));
    ended(&record, "upstream_error", 200, "timeout", "stream");
    assert_eq!(field(&record, "output", "onrecord.output.text"), "One");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_sends_rubbish() {
    for rubbish in
        [&b"\x00\xff\xfe rubbish"[..], b"HTTP/1.1 9999 ?\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"\r\n\r\n\r\n"]
    {
        let (reply, record) = ask(vec![send(rubbish)]).await;
        assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_closed"), "{rubbish:?}");
        ended(&record, "upstream_error", 502, "upstream_closed", "upstream");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_whose_answer_is_no_json() {
    for body in ["", "rubbish", "{\"choices\":", "{\"choices\":[{\"message\":7}]}", "[1,2,3]"] {
        let (reply, record) = ask(vec![answer("200 OK", "content-type: application/json\r\n", body)]).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, body));
        completed(&record, 200);
        let kept = field(&record, "output", "onrecord.output.body").as_str().unwrap_or_default();
        assert_eq!(kept, body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_closes_early() {
    let (reply, record) = ask(vec![]).await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_closed"));
    ended(&record, "upstream_error", 502, "upstream_closed", "upstream");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"id\"";
    let (reply, record) = ask(vec![send(head)]).await;
    assert_eq!((reply.status, reply.code().as_str()), (502, "upstream_closed"));
    ended(&record, "upstream_error", 502, "upstream_closed", "stream");
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let one = event("One");
    let (reply, record) = ask(vec![send(format!("{chunked}{:x}\r\n{one}\r\n", one.len()))]).await;
    assert_eq!((reply.status, reply.whole), (200, false));
    ended(&record, "upstream_error", 200, "upstream_closed", "stream");
    assert_eq!(field(&record, "output", "onrecord.output.text"), "One");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_fails_is_passed_on() {
    for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
        let body = json!({ "error": { "message": "out of memory", "type": "server_error", "code": null } }).to_string();
        let (reply, record) =
            ask(vec![answer(status, "content-type: application/json\r\nretry-after: 7\r\n", &body)]).await;
        let code: u16 = status[..3].parse().unwrap();
        assert_eq!((reply.status, reply.text()), (code, body.clone()));
        assert_eq!(reply.headers["retry-after"], "7");
        completed(&record, code.into());
        assert_eq!(field(&record, "outcome", "error.type"), "server_error");
        assert_eq!(field(&record, "outcome", "onrecord.error.message"), "out of memory");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_error_within_a_stream() {
    let error = "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"code\":500}}\n\n";
    let (reply, record) = ask(vec![send([STREAM, &event("One"), error].concat())]).await;
    assert_eq!((reply.status, reply.text()), (200, event("One") + error));
    assert_eq!(field(&record, "output", "onrecord.output.text"), "One");
    assert_eq!(field(&record, "outcome", "error.type"), "server_error", "{record:#}");
    assert_eq!(field(&record, "outcome", "onrecord.error.message"), "out of memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compressed_answers_are_passed_on_as_they_are_and_understood() {
    let stream = event("One") + &event(" two") + "data: [DONE]\n\n";
    let packed = gzip(&stream);
    let head = STREAM.replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n");
    let (front, back) = packed.split_at(packed.len() / 2);
    let acts = vec![send(head), send(front), Act::Wait(Duration::from_millis(20)), send(back)];
    let (reply, record) = ask(acts).await;
    assert_eq!((reply.status, reply.whole), (200, true));
    assert_eq!(reply.body, packed);
    completed(&record, 200);
    assert_eq!(field(&record, "output", "onrecord.output.text"), "One two", "{record:#}");
    let packed = gzip(&completion("Yes."));
    let headers = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    let (reply, record) = ask(vec![answer("200 OK", headers, &packed)]).await;
    assert_eq!(reply.body, packed);
    completed(&record, 200);
    assert_eq!(field(&record, "output", "onrecord.output.text"), "Yes.", "{record:#}");
}
