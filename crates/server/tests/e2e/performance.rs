//! Where the time went: the model server's own figures and ours, side by side, and the calls that stand out.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::log::field;
use crate::support::upstream::{Act, STREAM, answer, completion, event, script, send};
use crate::support::{Llama, Log, chat, post};

/// A chat completion with timings as llama.cpp states them.
fn timed(decode_ms: f64) -> Act {
    let mut body: Value = serde_json::from_str(&completion("Hello")).unwrap();
    body["usage"] = json!({ "prompt_tokens": 5, "completion_tokens": 4 });
    body["timings"] =
        json!({ "prompt_ms": 1.5, "predicted_ms": decode_ms, "predicted_per_second": 4000.0 / decode_ms });
    answer("200 OK", "content-type: application/json\r\n", body.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outliers_are_found_among_their_like() {
    let log = Log::new();
    let server = log.serve(script([timed(20.0)]).await);
    for _ in 0..6 {
        assert_eq!(post(server.gateway, &[], chat("Hello?", json!({}))).await.status, 200);
    }
    server.stop();
    let server = log.serve(script([timed(90.0)]).await);
    let slow = post(server.gateway, &[], chat("Hello?", json!({}))).await.id();
    let record = log.show(&slow);
    for (name, expect) in [
        ("onrecord.upstream.prefill_us", json!(1500)),
        ("onrecord.upstream.decode_us", json!(90_000)),
        ("onrecord.upstream.tokens_per_second", json!(4000.0 / 90.0)),
        ("onrecord.calls_under_way", json!(0)),
    ] {
        assert_eq!(field(&record, "performance", name), &expect, "{name}");
    }
    let outliers = log.json(&["slow", "--measure", "decode", "--json"]);
    assert_eq!(outliers.as_array().unwrap().len(), 1, "{outliers}");
    for (name, expect) in [
        ("id", json!(slow)),
        ("among", json!("m")),
        ("calls", json!(7)),
        ("ms", json!(90.0)),
        ("median_ms", json!(20.0)),
    ] {
        assert_eq!(outliers[0][name], expect, "{name}: {outliers}");
    }
    assert_eq!(log.json(&["slow", "--measure", "decode", "--factor", "5", "--json"]), json!([]));
    assert_eq!(log.json(&["slow", "--measure", "queue", "--by", "all", "--json"]), json!([]));
    let shown = log.run(&["slow", "--measure", "decode", "--by", "upstream"]).good();
    assert!(shown.contains("127.0.0.1") && shown.contains("90.0") && shown.contains("4.5"), "{shown}");
    let rows =
        log.query("SELECT prefill_ms, decode_ms, tokens_per_second FROM interactions ORDER BY leaf_index DESC LIMIT 1");
    assert_eq!(rows[0], json!({ "prefill_ms": 1.5, "decode_ms": 90.0, "tokens_per_second": 4000.0 / 90.0 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_pace_of_a_stream_is_measured_and_headers_are_read() {
    let (log, pause) = (Log::new(), Duration::from_millis(200));
    let head = STREAM.replace("\r\n\r\n", "\r\nx-queue-time: 7\r\nx-total-time: 500\r\n\r\n");
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":3}}\n\n";
    let acts = [
        send(head + &event("a")),
        Act::Wait(pause),
        send(event("b") + &event("c")),
        send(usage.to_owned() + "data: [DONE]\n\n"),
    ];
    let server = log.serve(script(acts).await);
    let id = post(server.gateway, &[], chat("Count.", json!({ "stream": true }))).await.id();
    let record = log.show(&id);
    let of = |name: &str| field(&record, "performance", name).as_i64().unwrap_or_else(|| panic!("{name}: {record:#}"));
    assert_eq!((of("onrecord.upstream.queue_us"), of("onrecord.upstream.total_us")), (7000, 500_000));
    // Three pieces of content, of which the last two come together after a pause that no scheduler makes shorter.
    assert!(of("onrecord.interval_p50_us") < of("onrecord.interval_p95_us"), "{record:#}");
    assert!(of("onrecord.interval_max_us") >= 190_000, "{record:#}");
    assert!(of("onrecord.duration_us") >= of("onrecord.first_token_us") + of("onrecord.interval_max_us"), "{record:#}");
    let rate = field(&record, "performance", "onrecord.tokens_per_second").as_f64().unwrap();
    assert!(rate > 0.0 && rate <= 2.0 / 0.19, "{rate}");
}

/// Every stage at which a call can go wrong, as its record names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_stage_of_an_error_is_named() {
    let cut = [send(STREAM.replace("connection: close", "content-length: 900") + &event("a"))];
    let refused =
        [answer("503 Service Unavailable", "content-type: application/json\r\n", r#"{"error":{"message":"busy"}}"#)];
    let silent =
        [send(STREAM), send("data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\"}}\n\n")];
    for (acts, stage, kind) in [
        (cut.to_vec(), "stream", "upstream_closed"),
        (refused.to_vec(), "upstream", "http_503"),
        (silent.to_vec(), "stream", "server_error"),
    ] {
        let log = Log::new();
        let server = log.serve(script(acts).await);
        let id = post(server.gateway, &[], chat("Hello?", json!({ "stream": true }))).await.id();
        check_error(&log.show(&id), stage, kind);
    }
    let log = Log::with_config("[gateway]\nmax_request_body = \"1 KiB\"\nmax_in_flight = 1\n");
    let server = log.serve("http://127.0.0.1:1");
    let unreachable = post(server.gateway, &[], chat("Hello?", json!({}))).await;
    check_error(&log.show(&unreachable.id()), "connect", "upstream_unreachable");
    let large = post(server.gateway, &[], "x".repeat(2000)).await;
    check_error(&log.show(&large.id()), "client", "body_too_large");
    drop(server);
    let holding = script([Act::Hold]).await;
    let busy = log.serve(&holding);
    let waiting = tokio::spawn(post_and_forget(busy.gateway));
    while holding.requests.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = post(busy.gateway, &[], chat("Hello?", json!({}))).await;
    check_error(&log.show(&refused.id()), "gateway", "too_many_calls");
    waiting.abort();
}

async fn post_and_forget(to: std::net::SocketAddr) {
    post(to, &[], chat("Hello?", json!({}))).await;
}

#[track_caller]
fn check_error(record: &Value, stage: &str, kind: &str) {
    let of = |name: &str| field(record, "outcome", name).as_str().unwrap_or_default();
    assert_eq!((of("onrecord.error.stage"), of("error.type")), (stage, kind), "{record:#}");
    assert!(!of("onrecord.error.message").is_empty(), "{record:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_real_servers_times_are_those_that_it_stated() {
    let Some(llama) = Llama::start(&[]).await else { return };
    let log = Log::new();
    let server = log.serve(&llama);
    for stream in [false, true] {
        let asked = json!({ "max_tokens": 24, "stream": stream, "timings_per_token": true });
        let record = log.show(&post(server.gateway, &[], chat("How do I read a file?", asked)).await.id());
        let of = |name: &str| field(&record, "performance", name);
        let stated: Value = serde_json::from_str(of("onrecord.upstream.timings").as_str().unwrap()).unwrap();
        for (name, member) in [("prefill", "prompt_ms"), ("decode", "predicted_ms")] {
            let us = of(&format!("onrecord.upstream.{name}_us")).as_f64().unwrap();
            assert!((us - stated[member].as_f64().unwrap() * 1e3).abs() <= 0.5, "{name}: {record:#}");
            assert!(
                us <= of("onrecord.duration_us").as_f64().unwrap(),
                "no part takes longer than the whole: {record:#}"
            );
        }
        assert_eq!(of("onrecord.upstream.tokens_per_second"), &stated["predicted_per_second"]);
        assert_eq!(of("onrecord.interval_max_us").is_i64(), stream, "{record:#}");
    }
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_and_load_of_a_real_server_while_it_computes() {
    let Some(llama) = Llama::start(&["--metrics"]).await else { return };
    let log = Log::with_config("[probe]\ninterval = \"1s\"\n");
    let server = log.serve(&llama);
    let asked = json!({ "max_tokens": 300, "ignore_eos": true });
    // The first call wakes what samples.
    post(server.gateway, &[], chat("How do I read a file?", asked.clone())).await;
    let record = log.show(&post(server.gateway, &[], chat("How do I write one?", asked)).await.id());
    let memory = field(&record, "performance", "onrecord.upstream.memory.peak").as_u64().unwrap();
    assert!((5 << 20..4 << 30).contains(&memory), "{memory}");
    let running = field(&record, "performance", "onrecord.upstream.running").as_u64().unwrap();
    assert!(running <= 4 && field(&record, "performance", "onrecord.upstream.waiting") == 0, "{record:#}");
    let rows = log.query("SELECT max(memory_peak) AS peak FROM interactions");
    assert!(rows[0]["peak"].as_u64().unwrap() >= memory);
    log.verify();
}
