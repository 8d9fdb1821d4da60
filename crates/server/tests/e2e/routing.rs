//! Several model servers behind one gateway.

use serde_json::json;

use crate::support::http::{get, open, request};
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
