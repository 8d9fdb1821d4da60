//! What is no plain call: upgrades, attempts, bodies beyond what is kept.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::http::{raw, request};
use crate::support::log::field;
use crate::support::upstream::{Act, STREAM, answer, completion, event, script, send};
use crate::support::{Log, chat, post};

const SHOUT: &[u8] = b"GET /ws?x=1 HTTP/1.1\r\nhost: g\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

/// A server that agrees to any upgrade and then answers each piece with the same in capitals, until the client closes.
async fn shouting() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = until(&mut stream, b"\r\n\r\n").await;
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-key: "), "{head}");
            let agreed = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                          sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";
            stream.write_all(agreed.as_bytes()).await.unwrap();
            let mut piece = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                stream.write_all(&piece[..read].to_ascii_uppercase()).await.unwrap();
            }
        }
    });
    url
}

/// Reads up to and with `end`.
async fn until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.ends_with(end) {
        all.push(stream.read_u8().await.unwrap());
    }
    all
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_is_a_tunnel_on_record() {
    let log = Log::new();
    let server = log.serve(shouting().await);
    let mut client = TcpStream::connect(server.gateway).await.unwrap();
    client.write_all(SHOUT).await.unwrap();
    let head = String::from_utf8(until(&mut client, b"\r\n\r\n").await).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("sec-websocket-accept: s3ppl"), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("x-onrecord-id: "), "{head}");
    assert_eq!(until(&mut client, b"hello").await, b"hello");
    for word in ["one", "two"] {
        client.write_all(word.as_bytes()).await.unwrap();
        assert_eq!(until(&mut client, word.to_uppercase().as_bytes()).await, word.to_uppercase().as_bytes());
    }
    client.shutdown().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    let record = log.only("status = 101 AND outcome = 'completed'");
    assert_eq!(field(&record, "context", "onrecord.upgrade"), "websocket");
    assert_eq!(field(&record, "input", "http.request.body.size"), 6);
    assert_eq!(field(&record, "output", "http.response.body.size"), 11);
    assert!(record.to_string().contains(&digest(b"onetwo")), "{record:#}");
    assert!(record.to_string().contains(&digest(b"helloONETWO")), "{record:#}");
    log.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_a_tunnel_off_is_named() {
    let log = Log::new();
    let server = log.serve(shouting().await);
    let mut client = TcpStream::connect(server.gateway).await.unwrap();
    client.write_all(SHOUT).await.unwrap();
    until(&mut client, b"\r\n\r\nhello").await;
    client.write_all(b"one").await.unwrap();
    until(&mut client, b"ONE").await;
    client.set_zero_linger().unwrap();
    drop(client);
    let record = log.only("status = 101 AND outcome = 'client_disconnected'");
    assert_eq!(field(&record, "input", "http.request.body.size"), 3);
    log.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_sent_again_is_linked_to_its_earlier_attempt() {
    let model = script([answer("503 Busy", "content-type: application/json\r\n", "{}")]).await;
    let log = Log::new();
    let server = log.serve(model);
    let mut ids = Vec::new();
    for headers in [[("x-request-id", "r1")], [("x-request-id", "r1")], [("x-request-id", "r2")]] {
        ids.push(post(server.gateway, &headers, chat("Hi", json!({}))).await.id());
    }
    let second = log.show(&ids[1]);
    assert_eq!(field(&second, "context", "onrecord.request.attempt"), 2);
    assert_eq!(second["refs"], json!([{ "rel": "attempt", "id": ids[0] }]));
    assert_eq!(log.show(&ids[2])["refs"], json!([]));
    log.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_flows_and_its_record_has_the_prefix_and_the_whole_digest() {
    let body = completion(&"long ".repeat(2000));
    let model = script([answer("200 OK", "content-type: application/json\r\n", &body)]).await;
    let log = Log::with_config("[gateway]\nmax_captured_body = \"2 KiB\"\n");
    let server = log.serve(model);
    let request = chat(&"words ".repeat(1000), json!({}));
    let reply = post(server.gateway, &[], request.clone()).await;
    assert_eq!(reply.text(), body);
    let record = log.show(&reply.id());
    for (group, text, size) in
        [("input", &request, "http.request.body.size"), ("output", &body, "http.response.body.size")]
    {
        assert_eq!(field(&record, group, size), text.len());
        assert_eq!(field(&record, group, &format!("onrecord.{group}.truncated")), true);
        assert!(record.to_string().contains(&digest(text.as_bytes())), "{group}");
        assert!(record["groups"][group].to_string().len() < 8192);
    }
    log.verify();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, bytes).unwrap();
    packed.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_pass_as_they_are_and_are_read_on_record() {
    let packed = gzip(completion("Yes.").as_bytes());
    let head = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    let upstream = script([answer("200 OK", head, &packed)]).await;
    let log = Log::new();
    let server = log.serve(&upstream);
    let body = gzip(chat("Is it in stock?", json!({})).as_bytes());
    let reply =
        post(server.gateway, &[("content-encoding", "gzip"), ("accept-encoding", "gzip, br")], body.clone()).await;
    assert_eq!((reply.body.as_ref(), reply.headers["content-encoding"].to_str().unwrap()), (&packed[..], "gzip"));
    let sent = upstream.requests.lock().unwrap()[0].clone();
    assert!(sent.windows(body.len()).any(|bytes| bytes == body), "the request is passed on byte for byte");
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "input", "onrecord.input.text"), "Is it in stock?");
    assert_eq!(field(&record, "output", "onrecord.output.text"), "Yes.");
    assert_eq!(field(&record, "output", "onrecord.output.sha256"), &digest(&packed));
    log.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_is_told_to_go_on() {
    let upstream = script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await;
    let log = Log::new();
    let server = log.serve(&upstream);
    let body = chat("Is it in stock?", json!({}));
    let mut client = TcpStream::connect(server.gateway).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\nconnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(until(&mut client, b"\r\n\r\n").await, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(body.as_bytes()).await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.ends_with(&completion("Yes.")), "{rest}");
    assert_eq!(field(&log.only("true"), "outcome", "onrecord.outcome"), "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_reach_the_client() {
    let body = completion("Yes.");
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntrailer: x-checksum\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-checksum: 1234\r\n\r\n",
        body.len()
    );
    let log = Log::new();
    let server = log.serve(script([send(chunked)]).await);
    let asked = chat("Is it in stock?", json!({}));
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\nte: trailers\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{asked}",
        asked.len()
    );
    let got = raw(server.gateway, request.as_bytes()).await;
    assert!(got.contains("x-checksum: 1234"), "{got}");
    assert_eq!(field(&log.only("true"), "output", "onrecord.output.body"), &body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_over_http2_is_a_client_that_went_away() {
    let upstream = script([send(STREAM), send(event("Once")), Act::Hold]).await;
    let log = Log::new();
    let server = log.serve(&upstream);
    let stream = TcpStream::connect(server.gateway).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let response = client
        .send_request(request(server.gateway, &[], chat("Tell me a story.", json!({ "stream": true }))))
        .await
        .unwrap();
    let mut body = response.into_body();
    let first = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap().into_data().unwrap();
    assert!(std::str::from_utf8(&first).unwrap().contains("Once"));
    drop(body);
    let record = log.only("outcome = 'client_disconnected'");
    assert_eq!(field(&record, "output", "onrecord.output.text"), "Once");
    // The connection lives on.
    assert!(client.ready().await.is_ok());
    // An answer that only begins like a stream has nobody who goes away in it.
    let head = raw(server.gateway, b"HEAD /v1/models HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("x-onrecord-leaf: "), "{head}");
    assert_eq!(field(&log.only("path = '/v1/models'"), "outcome", "onrecord.outcome"), "completed");
    log.verify();
}
