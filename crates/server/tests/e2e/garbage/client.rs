//! Clients that misbehave.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{completed, ended, still_good};
use crate::support::http::{CHAT, answer, header, raw, status};
use crate::support::log::field;
use crate::support::upstream::{self, completion};
use crate::support::{Log, Reply, Server, chat, post, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bodies_that_are_no_json_reach_the_model_and_the_log_as_they_are() {
    let (log, model) = (Log::new(), upstream::model().await);
    let server = log.serve(&model);
    let deep = "[".repeat(100_000);
    for body in
        [&b""[..], b"{", b"null", b"\xff\xfe\x00{\"model\":", b"{\"model\":\"\xc3\x28\"}", b"\0\0\0\0", deep.as_bytes()]
    {
        let reply = post(server.gateway, &[], body.to_vec()).await;
        assert!((400..500).contains(&reply.status), "{} {}", reply.status, reply.text());
        let record = log.show(&reply.id());
        completed(&record, reply.status.into());
        let size = field(&record, "input", "http.request.body.size").as_u64().unwrap_or_default();
        assert_eq!(size, body.len() as u64, "{record:#}");
        let kept = field(&record, "input", "onrecord.input.body");
        if let Ok(text) = std::str::from_utf8(body).map(ToOwned::to_owned)
            && !text.is_empty()
        {
            assert_eq!(kept, &text);
        }
        assert_eq!(field(&record, "output", "onrecord.output.body"), &reply.text());
    }
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_beyond_the_limit_is_refused() {
    let (log, model) = (Log::new(), upstream::script([upstream::answer("200 OK", "", completion("Yes."))]).await);
    let server = log.serve(&model);
    // 100 MB that the head announces, and that then nobody reads.
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: 100000000\r\n\r\n");
    let announced = raw(server.gateway, &[head.as_bytes(), &vec![b' '; 1 << 20]].concat()).await;
    assert_eq!(status(&announced), 413, "{announced}");
    let record = log.show(header(&announced, "x-onrecord-id").unwrap());
    ended(&record, "rejected", 413, "body_too_large", "client");
    assert_eq!(field(&record, "input", "http.request.body.size"), 100_000_000);
    // 100 MB in chunks, which announce nothing.
    let mut stream = TcpStream::connect(server.gateway).await.unwrap();
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..100 {
        if stream.write_all(&chunk).await.is_err() {
            break;
        }
    }
    let counted = answer(&mut stream).await;
    // A client that writes on may lose the answer to the reset that follows it; the record is there all the same.
    assert!(counted.is_empty() || status(&counted) == 413, "{counted}");
    let record = log.only(&format!("id <> '{}'", header(&announced, "x-onrecord-id").unwrap()));
    ended(&record, "rejected", 413, "body_too_large", "client");
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_body_within_the_limit_passes_and_is_kept_as_far_as_configured() {
    let log = Log::with_config("[gateway]\nmax_captured_body = \"1 MiB\"\n");
    // Only its last piece is more than is held of an answer.
    let answer = completion(&"Y".repeat((1 << 20) + 1 - completion("").len()));
    let model = upstream::script([upstream::answer("200 OK", "", &answer)]).await;
    let server = log.serve(&model);
    let body = chat(&"long ".repeat(1 << 20), json!({}));
    let reply = post(server.gateway, &[], body.clone()).await;
    assert_eq!((reply.status, reply.body.len()), (200, (1 << 20) + 1));
    assert!(model.last_request().ends_with(&body), "the model got another body");
    let record = log.show(&reply.id());
    completed(&record, 200);
    assert_eq!(field(&record, "input", "http.request.body.size").as_u64(), Some(body.len() as u64));
    assert_eq!(field(&record, "output", "http.response.body.size").as_u64(), Some(answer.len() as u64));
    assert_eq!(field(&record, "input", "onrecord.input.truncated"), true);
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn heads_that_cannot_be_read_are_refused() {
    let (log, model) = (Log::new(), upstream::script([upstream::answer("200 OK", "", completion("Yes."))]).await);
    let server = log.serve(&model);
    let large = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\nx-large: {}\r\n\r\n", "x".repeat(1 << 20));
    let reply = raw(server.gateway, large.as_bytes()).await;
    assert!(reply.is_empty() || status(&reply) == 431, "{reply}");
    ended(&log.only("status = 431"), "rejected", 431, "head_too_large", "client");
    let many: String = "x-many: 1\r\n".repeat(2000);
    let reply = raw(server.gateway, format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\n{many}\r\n").as_bytes()).await;
    assert_eq!(status(&reply), 431, "{reply}");
    for (count, bytes) in
        [&b"GET / HTTP/9.9\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n"]
            .iter()
            .enumerate()
    {
        let reply = raw(server.gateway, &[bytes, &b"\r\n\r\n"[..]].concat()).await;
        assert!(reply.is_empty() || (400..506).contains(&status(&reply)), "{reply}");
        assert_eq!(log.query("SELECT id FROM interactions WHERE status = 400").len(), count + 1, "{bytes:?}");
    }
    still_good(&log, server).await;
}

/// A server that waits 300 ms for its clients, and answers more than the system keeps for one that does not read.
async fn impatient() -> (Log, Server) {
    let log = Log::with_config("[gateway]\nclient_timeout = \"300ms\"\n");
    let model = upstream::script([upstream::answer("200 OK", "", completion(&"Yes. ".repeat(4 << 20)))]).await;
    let server = log.serve(&model);
    (log, server)
}

/// Sends the beginning of a request and gives what comes back.
async fn begin(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.gateway).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    answer(&mut stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_that_stops_is_refused() {
    let (log, server) = impatient().await;
    let begun = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: 100\r\n\r\n{{\"model\"");
    let reply = begin(&server, begun.as_bytes()).await;
    assert_eq!(status(&reply), 408, "{reply}");
    let record = log.show(header(&reply, "x-onrecord-id").unwrap());
    ended(&record, "rejected", 408, "client_timeout", "client");
    assert_eq!(field(&record, "input", "onrecord.input.body"), "{\"model\"");
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_body_may_pause_and_an_answer_has_to_be_taken() {
    let (log, server) = impatient().await;
    let mut stream = TcpStream::connect(server.gateway).await.unwrap();
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: 15\r\n\r\n");
    for piece in [&head, "{\"model\"", ": ", "\"m\" }"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let record = log.only("outcome = 'client_disconnected'");
    assert_eq!(field(&record, "config", "gen_ai.request.model"), "m");
    assert_eq!(field(&record, "outcome", "http.response.status_code"), 200);
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_body_that_stops_is_refused_although_a_part_went_up() {
    let (log, server) = impatient().await;
    for framing in ["content-length: 10000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n8\r\n"] {
        let begun = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\n{framing}{{\"model\"");
        let reply = begin(&server, begun.as_bytes()).await;
        assert_eq!(status(&reply), 408, "{reply}");
        ended(&log.show(header(&reply, "x-onrecord-id").unwrap()), "rejected", 408, "client_timeout", "client");
    }
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_head_that_stops_does_not_hold_its_connection() {
    let (log, server) = impatient().await;
    for begun in [&b"POST /v1/chat"[..], b"PRI * HT", b""] {
        let reply = begin(&server, begun).await;
        assert!(reply.is_empty() || status(&reply) == 408, "{reply}");
    }
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_connection_that_is_half_closed_gets_its_answer_and_one_that_breaks_off_is_on_record() {
    let (log, model) = (Log::new(), upstream::model().await);
    let server = log.serve(&model);
    // Whoever closes its half after the request may still read.
    let body = chat("Hello!", json!({}));
    let mut stream = TcpStream::connect(server.gateway).await.unwrap();
    let request = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let reply = answer(&mut stream).await;
    if !reply.is_empty() {
        assert_eq!(status(&reply), 200, "{reply}");
    }
    let first = log.only("true");
    let outcome = field(&first, "outcome", "onrecord.outcome").as_str().unwrap().to_owned();
    assert_eq!(outcome == "completed", !reply.is_empty(), "{first:#}");
    // One that closes in the middle of its body has none, whether that flows up or not.
    let mut known = format!("'{}'", first["id"].as_str().unwrap());
    for length in [100, 10_000_000] {
        let mut stream = TcpStream::connect(server.gateway).await.unwrap();
        let begun = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: {length}\r\n\r\n{{\"model\"");
        stream.write_all(begun.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.shutdown().await.unwrap();
        answer(&mut stream).await;
        let broken = log.only(&format!("id NOT IN ({known})"));
        known += &format!(", '{}'", broken["id"].as_str().unwrap());
        let of = |name: &str| field(&broken, "outcome", name).as_str().unwrap();
        assert!(["rejected", "client_disconnected"].contains(&of("onrecord.outcome")), "{broken:#}");
        assert!(["body_incomplete", "client_disconnected"].contains(&of("error.type")), "{broken:#}");
        assert_eq!(field(&broken, "input", "http.request.body.size"), 8, "{broken:#}");
    }
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_goes_away_while_the_model_computes_is_on_record() {
    let log = Log::new();
    let server = log.serve(upstream::script([upstream::Act::Hold]).await);
    let mut known = "''".to_owned();
    for question in ["Hello!".to_owned(), "Hello! ".repeat(300_000)] {
        let body = chat(&question, json!({}));
        let mut stream = TcpStream::connect(server.gateway).await.unwrap();
        let request = format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let begun = || (log.json(&["stats", "--json"])["open_calls"] == 1).then_some(());
        wait_for("the beginning of the call to be durable", begun);
        drop(stream);
        let record = log.only(&format!("outcome = 'client_disconnected' AND id NOT IN ({known})"));
        known += &format!(", '{}'", record["id"].as_str().unwrap());
        assert_eq!(field(&record, "input", "onrecord.input.body"), &body);
    }
    still_good(&log, server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn http2_and_chunked_bodies_are_recorded_like_others() {
    let (log, model) = (Log::new(), upstream::model().await);
    let server = log.serve(&model);
    let body = chat("Hello!", json!({}));
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request =
        Request::post(format!("http://{}{CHAT}", server.gateway)).body(Full::<bytes::Bytes>::from(body.clone()));
    let reply = Reply::read(client.request(request.unwrap()).await.unwrap()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (front, back) = body.split_at(20);
    let chunks = format!("14\r\n{front}\r\n{:x}\r\n{back}\r\n0\r\n\r\n", back.len());
    let request =
        format!("POST {CHAT} HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
    let chunked = raw(server.gateway, request.as_bytes()).await;
    assert_eq!(status(&chunked), 200, "{chunked}");
    for id in [reply.id().as_str(), header(&chunked, "x-onrecord-id").unwrap()] {
        let record = log.show(id);
        completed(&record, 200);
        assert_eq!(field(&record, "input", "onrecord.input.body"), &body);
    }
    assert_eq!(field(&log.show(&reply.id()), "output", "onrecord.output.body"), &reply.text());
    still_good(&log, server).await;
}
