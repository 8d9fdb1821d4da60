//! Several model servers behind one gateway.

use serde_json::{Value, json};

use crate::support::http::{get, open, raw, request, status};
use crate::support::log::field;
use crate::support::upstream::{Upstream, answer, completion, script};
use crate::support::{Log, Reply, Server, chat, post};

async fn says(text: &str) -> Upstream {
    script([answer("200 OK", "content-type: application/json\r\n", completion(text))]).await
}

fn content(reply: &Reply) -> String {
    reply.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
}

fn entry(name: &str, url: &Upstream, more: &str) -> String {
    format!("[[upstream]]\nname = \"{name}\"\nurl = \"{url}/base\"\n{more}\n")
}

async fn ask(server: &Server, path: &str, model: &str) -> Reply {
    let mut call = request(server.gateway, &[], chat("Hi", json!({ "model": model })));
    *call.uri_mut() = format!("http://{}{path}", server.gateway).parse().unwrap();
    Reply::read(open(call).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_where_its_prefix_or_its_model_says() {
    let (small, gpu) = (says("small").await, says("gpu").await);
    let entries = entry("small", &small, "models = [\"tiny*\"]\nkey = \"sk-small\"")
        + &entry("gpu", &gpu, "models = [\"big\"]\npath_prefix = \"/gpu\"");
    let log = Log::with_config(&entries);
    let server = log.serve("");
    for (path, model, expect, above) in [
        ("/v1/chat/completions", "tiny-pydoc", "small", "/base/v1/chat/completions"),
        ("/v1/chat/completions", "big", "gpu", "/base/v1/chat/completions"),
        ("/gpu/v1/chat/completions?x=1", "tiny-pydoc", "gpu", "/base/v1/chat/completions?x=1"),
    ] {
        let reply = ask(&server, path, model).await;
        assert_eq!((reply.status, content(&reply).as_str()), (200, expect), "{path} {model}");
        let seen = if expect == "gpu" { &gpu } else { &small }.last_request();
        assert!(seen.starts_with(&format!("POST {above} HTTP/1.1\r\n")), "{seen}");
        assert_eq!(seen.contains("Bearer sk-small"), expect == "small", "{seen}");
        let record = log.show(&reply.id());
        assert_eq!(field(&record, "context", "onrecord.upstream"), expect);
        assert_eq!(field(&record, "context", "onrecord.dialect"), "openai.chat");
        assert_eq!(field(&record, "context", "url.path"), path.split('?').next().unwrap());
    }
    let unknown = ask(&server, "/v1/chat/completions", "huge").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "model_not_found"));
    assert!(unknown.text().contains("`huge`"), "{}", unknown.text());
    let record = log.show(&unknown.id());
    assert_eq!(field(&record, "outcome", "onrecord.outcome"), "rejected");
    assert_eq!(field(&record, "config", "gen_ai.request.model"), "huge");
    log.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_goes_where_its_model_says_wherever_that_stands() {
    let (small, big) = (says("small").await, says("big").await);
    let entries = entry("small", &small, "models = [\"tiny*\"]") + &entry("big", &big, "models = [\"big\"]");
    let log = Log::with_config(&format!("[gateway]\nmax_captured_body = \"3 MiB\"\n{entries}"));
    let server = log.serve("");
    let body = |size: usize| chat(&"x".repeat(size), json!({ "model": "big" }));
    assert!(body(9).find("messages") < body(9).find("model\""), "as clients send it");
    let reply = post(server.gateway, &[], body(2 << 20)).await;
    assert_eq!((reply.status, content(&reply).as_str()), (200, "big"));
    assert!(big.last_request().ends_with(&body(2 << 20)), "every byte went up");
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "input", "http.request.body.size"), body(2 << 20).len());
    // In chunks, so that nobody knows how long it will be.
    let chunks = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{}\r\n0\r\n\r\n",
        body(9).len(),
        body(9)
    );
    let answer = raw(server.gateway, chunks.as_bytes()).await;
    assert!(status(&answer) == 200 && answer.contains("big"), "{answer}");
    let refused = post(server.gateway, &[], body(4 << 20)).await;
    assert_eq!((refused.status, refused.code().as_str()), (413, "model_not_named"));
    assert_eq!(refused.headers["x-onrecord-error"], "model_not_named");
    log.verify();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_goes_where_its_model_says_however_small_it_is() {
    let (small, whisper) = (says("small").await, says("whisper").await);
    let entries =
        entry("small", &small, "models = [\"tiny*\"]") + &entry("whisper", &whisper, "models = [\"whisper*\"]");
    let log = Log::with_config(&entries);
    let server = log.serve("");
    let body = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"model\"\r\n\r\nRIFF\r\n\
        --b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";
    let form = format!(
        "POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw(server.gateway, form.as_bytes()).await;
    assert!(status(&answer) == 200 && answer.contains("whisper"), "{answer}");
    assert!(whisper.last_request().ends_with(body), "every byte went up");
    log.verify();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_models_are_one_list_of_what_each_name_reaches() {
    let lists = |list: Value| script([answer("200 OK", "content-type: application/json\r\n", list.to_string())]);
    let named = |names: &[&str]| json!(names.iter().map(|name| json!({ "id": name, "x": 1.50 })).collect::<Vec<_>>());
    let small =
        lists(json!({ "object": "list", "data": named(&["tiny", "big"]), "models": [{ "name": "tiny" }] })).await;
    let rest = lists(json!({ "object": "list", "data": named(&["tiny", "big", "other"]) })).await;
    let gone = script([answer("500 No", "", "")]).await;
    let entries = entry("small", &small, "models = [\"tiny*\"]") + &entry("rest", &rest, "");
    let log = Log::with_config(&(entries + &entry("gone", &gone, "models = [\"x\"]")));
    let server = log.serve("");
    let reply = get(server.gateway, "/v1/models", &[]).await;
    let expect = json!({ "object": "list", "data": named(&["tiny", "big", "other"]), "models": [{ "name": "tiny" }] });
    assert_eq!((reply.status, reply.json()), (200, expect));
    assert_eq!(reply.headers["x-onrecord-missing"], "gone");
    assert!(rest.last_request().starts_with("GET /base/v1/models HTTP/1.1\r\n"));
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "context", "onrecord.upstream"), "small,rest,gone");
    assert_eq!(field(&record, "outcome", "onrecord.outcome"), "completed");
    assert_eq!(get(server.gateway, "/v1/models/tiny", &[]).await.status, 200);
    assert!(
        small.last_request().starts_with("GET /base/v1/models/tiny HTTP/1.1\r\n"),
        "a model is asked of who has it"
    );
    log.verify();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_refused_in_the_words_of_each_api() {
    let log = Log::with_config(&entry("small", &says("small").await, "models = [\"tiny*\"]"));
    let server = log.serve("");
    for (path, pointer, kind) in [
        ("/v1/chat/completions", "/error/message", "/error/code"),
        ("/v1/messages", "/error/message", "/error/type"),
        ("/api/chat", "/error", ""),
        ("/completion", "/error/message", "/error/type"),
        ("/generate", "/error", "/error_type"),
    ] {
        let reply = ask(&server, path, "huge").await;
        let json = reply.json();
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.headers["x-onrecord-error"], "model_not_found");
        assert!(json.pointer(pointer).and_then(Value::as_str).is_some_and(|text| text.contains("`huge`")), "{json}");
        assert!(json.pointer(kind).is_some_and(|kind| kind.is_object() || kind.is_string()), "{path}: {json}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_of_the_command_line() {
    let (default, other) = (says("default").await, says("other").await);
    let log = Log::new();
    let named = format!("other={other}");
    let server = Server::start(log.folder(), &default.to_string(), &["--upstream", &named]);
    let reply = post(server.gateway, &[], chat("Hi", json!({}))).await;
    assert_eq!(content(&reply), "default");
    assert_eq!(content(&ask(&server, "/other/v1/chat/completions", "m").await), "other");
    assert_eq!(get(server.gateway, "/other", &[]).await.status, 200);
    assert!(other.last_request().starts_with("GET / HTTP/1.1\r\n"));
}
