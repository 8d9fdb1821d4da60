//! Token decisions: asked for by the gateway, on record, and nowhere in what the client gets.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::http::{CHAT, open, request};
use crate::support::log::field;
use crate::support::upstream::{Act, answer, completion, model, script};
use crate::support::{Llama, Log, Reply, Server, chat, post};

const ASKING: &str = "[gateway]\ndecisions = 4\n";

async fn post_to(server: &Server, path: &str, body: &Value) -> Reply {
    let mut request = request(server.gateway, &[], body.to_string());
    *request.uri_mut() = format!("http://{}{path}", server.gateway).parse().unwrap();
    Reply::read(open(request).await.unwrap()).await
}

/// The text of an answer without what differs from call to call: ids, times and how much was cached.
fn comparable(reply: &Reply) -> String {
    let mut text = reply.text();
    for name in [
        "\"id\":\"",
        "\"created\":",
        "_ms\":",
        "_per_second\":",
        "\"cache_n\":",
        "\"prompt_n\":",
        "\"cached_tokens\":",
        "\"tokens_cached\":",
        "\"id_slot\":",
    ] {
        while let Some(at) = text.find(name) {
            let end = at + name.len() + text[at + name.len()..].find([',', '}']).unwrap();
            text.replace_range(at..end, "");
        }
    }
    text
}

fn questions() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for stream in [false, true] {
        let messages = json!([{ "role": "user", "content": "What does str.split do?" }]);
        let base = |more: Value| {
            let mut body =
                json!({ "model": "tiny-pydoc", "temperature": 0, "seed": 1, "max_tokens": 24, "stream": stream });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        all.push((CHAT, base(json!({ "messages": messages }))));
        all.push((CHAT, base(json!({ "messages": messages, "verbose": true }))));
        all.push(("/v1/completions", base(json!({ "prompt": "Return a new" }))));
        all.push(("/completion", base(json!({ "prompt": "Return a new", "n_predict": 24, "return_tokens": true }))));
        all.push(("/infill", base(json!({ "input_prefix": "Return", "input_suffix": "list", "n_predict": 8 }))));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_servers_answers_are_the_same_with_and_without() {
    let Some(llama) = Llama::start(&[]).await else { return };
    let (plain, asking) = (Log::new(), Log::with_config(ASKING));
    let (without, with) = (plain.serve(&llama), asking.serve(&llama));
    for (path, body) in questions() {
        // The second of two equal questions finds the prompt in the cache.
        post_to(&without, path, &body).await;
        let expect = post_to(&without, path, &body).await;
        let got = post_to(&with, path, &body).await;
        assert_eq!((got.status, comparable(&got)), (expect.status, comparable(&expect)), "{path} {body}");
        if got.status != 200 {
            continue;
        }
        let record = asking.show(&got.id());
        assert_eq!(field(&record, "decisions", "onrecord.decisions.source"), "injected", "{path} {body}");
        assert!(field(&record, "decisions", "onrecord.decisions.count").as_i64().unwrap() > 3, "{path} {record:#}");
        assert!(field(&record, "decisions", "onrecord.decisions.entropy.max").as_f64().unwrap() > 0.0);
        assert_eq!(field(&record, "input", "http.request.body.size"), body.to_string().len());
        assert_eq!(field(&record, "output", "http.response.body.size"), got.body.len());
    }
    // llama.cpp rejects the three together, so it is not asked.
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": { "type": "object", "properties": {} } } });
    let body = json!({ "messages": [{ "role": "user", "content": "Hello!" }], "tools": [tool], "stream": true, "max_tokens": 4 });
    assert_eq!(post_to(&with, CHAT, &body).await.status, 200);
    assert!(!with.stop().contains("rejects"));
    asking.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_models_answers_are_the_same_with_and_without() {
    let upstream = model().await;
    let (plain, asking) = (Log::new(), Log::with_config(ASKING));
    let (without, with) = (plain.serve(&upstream), asking.serve(&upstream));
    for changes in [json!({ "max_tokens": 16 }), json!({ "max_tokens": 16, "stream": true })] {
        let body = chat("What does str.split do?", changes);
        let expect = post(without.gateway, &[], body.clone()).await;
        let got = post(with.gateway, &[], body).await;
        assert_eq!(comparable(&got), comparable(&expect));
        let record = asking.show(&got.id());
        assert_eq!(field(&record, "decisions", "onrecord.decisions.source"), "injected");
        // The text's tokens and the one that ends it.
        assert_eq!(field(&record, "decisions", "onrecord.decisions.count"), 12);
        assert!(field(&record, "decisions", "onrecord.decisions.perplexity").as_f64().unwrap() >= 1.0);
        assert_eq!(field(&record, "outcome", "onrecord.response.stop_reasons"), &json!(["eos"]));
        check_tokens(&asking, &got.id(), "Return a list of the number of the given string.");
    }
    let worst = asking.query("SELECT text, margin FROM tokens ORDER BY margin, leaf_index LIMIT 1");
    let least = asking.query("SELECT min(min_margin) AS margin FROM interactions");
    assert_eq!(worst[0]["margin"], least[0]["margin"]);
    assert_eq!(plain.query("SELECT count(*) AS n FROM tokens"), [json!({ "n": 0 })]);
}

/// The tokens of a call in SQL, over the API and on the command line are the same, and add up to its answer.
fn check_tokens(log: &Log, id: &str, answer: &str) {
    let rows = log.query(&format!(
        "SELECT position, text, token_id, logprob, probability, entropy, margin, after_ms, alternatives FROM tokens \
         WHERE interaction_id = '{id}' ORDER BY choice, position"
    ));
    let shown = log.json(&["show", "--tokens", id, "--json"]);
    let shown = shown.as_array().unwrap();
    assert_eq!(rows.len(), shown.len());
    for (row, shown) in rows.iter().zip(shown) {
        for name in ["position", "text", "token_id", "logprob", "entropy", "margin"] {
            assert_eq!(row[name], shown[name], "{name}");
        }
        assert!((row["logprob"].as_f64().unwrap().exp() - row["probability"].as_f64().unwrap()).abs() < 1e-12);
        assert_eq!(row["alternatives"].as_array().unwrap().len(), shown["alternatives"].as_array().unwrap().len());
    }
    let text = rows.iter().take(rows.len() - 1).map(|row| row["text"].as_str().unwrap()).collect::<String>();
    assert_eq!(text, answer);
    let table = log.run(&["show", "--tokens", id]).good();
    assert!(table.contains("instead, p %") && table.contains("“ string”"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_compressed_against_our_wish_is_stripped_too() {
    let logprobs = json!({ "content": [{ "token": "Yes", "logprob": -0.5, "top_logprobs": [] }] });
    let plain = completion("Yes");
    let with = plain.replace("\"finish_reason\"", &format!("\"logprobs\":{logprobs},\"finish_reason\""));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(with.as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    let head = |coding: &str| format!("content-type: application/json\r\ncontent-encoding: {coding}\r\n");
    for (coding, body, status, text) in [
        ("gzip", &packed[..], 200, "Yes"),
        ("gzip", b"not gzip", 502, "cannot be decoded"),
        ("x-own", b"own", 200, "own"),
    ] {
        let log = Log::with_config(ASKING);
        let server = log.serve(script([answer("200 OK", &head(coding), body)]).await);
        let reply = post(server.gateway, &[], chat("Hi", json!({}))).await;
        assert_eq!((reply.status, reply.text().contains(text)), (status, true), "{coding}: {}", reply.text());
        assert!(!reply.text().contains("top_logprobs"));
        let record = log.show(&reply.id());
        let source = if coding == "gzip" { "injected" } else { "refused" };
        assert_eq!(field(&record, "decisions", "onrecord.decisions.source"), source);
        if status == 200 && coding == "gzip" {
            assert_eq!(reply.headers.get("content-encoding"), None);
            assert_eq!(field(&record, "decisions", "onrecord.decisions.count"), 1);
        }
        server.stop();
        log.verify();
    }
}

#[tokio::test]
async fn a_server_that_rejects_the_question_is_asked_without_it_and_not_again() {
    let yes = answer("200 OK", "content-type: application/json\r\n", completion("Yes."));
    let upstream = script([Act::Reject("\"top_logprobs\""), yes]).await;
    let log = Log::with_config(ASKING);
    let server = log.serve(&upstream);
    let first = post(server.gateway, &[], chat("One?", json!({}))).await;
    let second = post(server.gateway, &[], chat("Two?", json!({}))).await;
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(upstream.requests.lock().unwrap().len(), 3, "one of them twice, the other once");
    let source = |reply: &Reply| field(&log.show(&reply.id()), "decisions", "onrecord.decisions.source").clone();
    assert_eq!((source(&first), source(&second)), (json!("refused"), Value::Null));
    assert_eq!(server.stop().matches("rejects to be asked").count(), 1);
}
