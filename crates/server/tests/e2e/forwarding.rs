//! Records on their way to log aggregation: a real rsyslog, and a receiver of OTLP made of opentelemetry-proto.

mod receivers;

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::http::get;
use crate::support::upstream::{Upstream, answer, completion, script};
use crate::support::{Log, Server, chat, post, wait_for};
use receivers::{Collector, Rsyslog};

const SECRET: &str = "my-number-is-4711";

async fn model() -> Upstream {
    script([answer("200 OK", "content-type: application/json\r\n", completion(&format!("the answer to {SECRET}")))])
        .await
}

async fn calls(server: &Server, count: usize) {
    for _ in 0..count {
        let headers = [("x-onrecord-user", "alice"), ("x-onrecord-tags", "team=red")];
        assert_eq!(post(server.gateway, &headers, chat(SECRET, json!({}))).await.status, 200);
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn config(to: &str, more: &str) -> String {
    format!("[[forward]]\nname = \"siem\"\n{to}\nfrom = \"beginning\"\ninterval = \"50ms\"\n{more}\n")
}

fn otlp(port: u16) -> String {
    format!("to = \"otlp\"\nurl = \"http://127.0.0.1:{port}\"")
}

fn status(log: &Log) -> Value {
    log.json(&["forward", "status", "--json"])[0].clone()
}

/// Waits until the destination has everything that the log has.
fn caught_up(log: &Log) -> Value {
    wait_for("everything to be forwarded", || Some(status(log)).filter(|status| status["lag_records"] == 0))
}

fn size(log: &Log) -> u64 {
    log.json(&["stats", "--json"])["records"].as_u64().unwrap()
}

/// Each of `expected` came, and for the first time in their order.
#[track_caller]
fn complete(came: &[u64], expected: impl IntoIterator<Item = u64>) {
    let mut seen = BTreeSet::new();
    let firsts: Vec<_> = came.iter().copied().filter(|leaf| seen.insert(*leaf)).collect();
    assert_eq!(firsts, expected.into_iter().collect::<Vec<_>>(), "{came:?}");
}

fn set_config(log: &Log, text: &str) {
    std::fs::write(
        log.folder().join("onrecord.toml"),
        format!("data = \"data\"\n[probe]\nenabled = false\n[lake]\nseal_after = \"1s\"\n{text}"),
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn otlp_gets_every_record_although_it_was_down_and_the_program_was_killed() {
    let (log, model, port) = (Log::new(), model().await, free_port());
    set_config(&log, &config(&otlp(port), "batch = 7"));
    let server = log.serve(&model);
    calls(&server, 20).await;
    let down = wait_for("the failure", || Some(status(&log)).filter(|status| status["error"].is_string()));
    assert!(down["lag_records"].as_u64() >= Some(20) && down["lag_seconds"].as_f64() > Some(0.0), "{down}");
    assert!(down["failing_since"].is_string() && down["sent"] == 0, "{down}");
    assert!(get(server.api, "/metrics", &[]).await.text().contains("onrecord_forward_up{destination=\"siem\"} 0"));
    let shown = log.run(&["forward", "status"]).good();
    assert!(shown.contains("fails since 20"), "{shown}");
    server.kill();

    let Some(collector) = Collector::start(&log, port) else { return };
    let server = log.serve(&model);
    calls(&server, 5).await;
    wait_for("some of them", || (collector.leaves().len() > 7).then_some(()));
    // In the middle of it, as likely as not.
    server.kill();
    let server = log.serve(&model);
    calls(&server, 10).await;
    let good = caught_up(&log);
    assert_eq!((&good["error"], &good["refused"], &good["missing"]), (&Value::Null, &json!(0), &json!(0)));
    complete(&collector.leaves(), 0..size(&log));
    let metrics = get(server.api, "/metrics", &[]).await.text();
    assert!(metrics.contains("onrecord_forward_lag_records{destination=\"siem\"} 0"), "{metrics}");
    server.stop();

    let records = collector.records();
    let call = records.iter().find(|record| record["event_name"] == "onrecord.interaction").unwrap();
    let stored = log.show(call["attributes"]["onrecord.id"].as_str().unwrap());
    assert_eq!(call["attributes"]["onrecord.leaf_index"], stored["leaf_index"]);
    assert_eq!(call["trace_id"], stored["groups"]["context"]["trace_id"].as_str().unwrap_or_default());
    assert_eq!(call["attributes"]["onrecord.tags"], json!({ "team": "red" }));
    assert_eq!(call["attributes"]["user.id"], "alice");
    assert_eq!(call["body"], "interaction chat m completed");
    assert_eq!((&call["severity"], &call["resource"]["service.name"]), (&json!(9), &json!("onrecord")));
    assert!(call["attributes"]["http.request.body.size"].as_u64() > Some(50), "{call}");
    assert!(!collector.text().contains(SECRET), "content leaves the log without having been asked for");
    assert_eq!(log.query("SELECT id FROM accesses WHERE event = 'forward'"), Vec::<Value>::new());
    let stopped = log.run(&["forward", "status"]).good();
    assert!(stopped.contains("no server is running"), "{stopped}");
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_of_otlp_answers_decides_what_becomes_of_a_batch() {
    let (log, model, port) = (Log::new(), model().await, free_port());
    let Some(collector) = Collector::start(&log, port) else { return };
    let header = "headers_file = \"key\"";
    std::fs::write(log.folder().join("key"), "authorization: Bearer right\n").unwrap();
    set_config(&log, &config(&otlp(port), header));
    collector.plan(&json!({ "authorization": "Bearer other" }));
    let server = log.serve(&model);
    calls(&server, 12).await;
    let refused = wait_for("the refusal", || Some(status(&log)).filter(|status| status["error"].is_string()));
    assert_eq!(refused["error"], "it answered 401: who are you?");
    assert!(server.messages().contains("nothing is forwarded until the destination or its configuration is changed"));

    // A server that refuses every record gets them all once it does not.
    collector.plan(&json!({ "authorization": "Bearer right", "status": 400, "message": "malformed" }));
    wait_for("the other refusal", || {
        status(&log)["error"].as_str().filter(|error| error.starts_with("it refuses everything")).map(drop)
    });
    collector.plan(&json!({ "status": 503, "retry_after": 1, "message": "busy" }));
    wait_for("the pause", || (status(&log)["error"] == "it answered 503: busy").then_some(()));
    assert_eq!(collector.leaves(), Vec::<u64>::new());

    // Only small requests, and two records not at all.
    collector.plan(&json!({ "max": 4000, "refuse": [5, 8] }));
    let good = caught_up(&log);
    assert_eq!((&good["refused"], &good["error"]), (&json!(2), &Value::Null), "{good}");
    complete(&collector.leaves(), (0..size(&log)).filter(|leaf| ![5, 8].contains(leaf)));
    let messages = server.messages();
    assert_eq!(messages.matches("the destination refuses this record, which it will not get").count(), 2, "{messages}");

    let next = size(&log);
    collector.plan(&json!({ "lose": [next] }));
    calls(&server, 2).await;
    let good = wait_for("the loss", || Some(caught_up(&log)).filter(|status| status["refused"] == 3));
    complete(&collector.leaves(), (0..size(&log)).filter(|leaf| ![5, 8, next].contains(leaf)));
    assert_eq!(good["sent"].as_u64().unwrap() + 3, size(&log));
    let messages = server.stop();
    assert!(messages.contains("it has not kept some records") && messages.contains("the attributes are too many"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_leaves_the_log_only_when_asked_for_and_what_is_erased_does_not() {
    let (log, model, port) = (Log::new(), model().await, free_port());
    let server = log.serve(&model);
    calls(&server, 6).await;
    log.json(&["erase", "--where", "true", "--fields", "input", "--reason", "asked for", "--json"]);
    calls(&server, 3).await;
    server.stop();
    let Some(collector) = Collector::start(&log, port) else { return };
    set_config(&log, &config(&otlp(port), "content = \"all\"\nwhere = \"kind = 'interaction' -- calls\""));
    let server = log.serve(&model);
    let good = caught_up(&log);
    assert_eq!((&good["sent"], &good["erased"]), (&json!(9), &json!(6)), "{good}");
    let expect = log.query("SELECT leaf_index FROM interactions ORDER BY 1");
    complete(&collector.leaves(), expect.iter().map(|row| row["leaf_index"].as_u64().unwrap()));
    let (old, new): (Vec<_>, Vec<_>) =
        collector.records().into_iter().partition(|record| record["attributes"]["onrecord.erased"] == json!(["input"]));
    assert_eq!((old.len(), new.len()), (6, 3));
    for record in &old {
        assert_eq!(record["attributes"]["onrecord.input.body"], Value::Null, "{record}");
        assert_eq!(record["attributes"]["onrecord.output.text"], format!("the answer to {SECRET}"));
    }
    assert_eq!(new[0]["attributes"]["onrecord.input.text"], SECRET);
    let accesses = log.query("SELECT principal, statement, row_count FROM accesses WHERE event = 'forward'");
    assert_eq!(accesses.iter().map(|access| access["row_count"].as_i64().unwrap()).sum::<i64>(), 9, "{accesses:?}");
    assert!(accesses[0]["statement"].as_str().unwrap().ends_with(&format!("to http://127.0.0.1:{port}/v1/logs")));
    // The record of an access is no payload, so that one does not follow on the other for ever.
    let before = log.query("SELECT count(*) AS n FROM accesses WHERE event = 'forward'");
    calls(&server, 1).await;
    caught_up(&log);
    let after = log.query("SELECT count(*) AS n FROM accesses WHERE event = 'forward'");
    assert_eq!(after[0]["n"].as_i64().unwrap(), before[0]["n"].as_i64().unwrap() + 1);
    server.stop();
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_destination_begins_where_it_is_told_to_and_its_place_is_that_of_this_log() {
    let (log, model, port) = (Log::new(), model().await, free_port());
    let Some(collector) = Collector::start(&log, port) else { return };
    log.serve(&model).stop();
    let before = size(&log);
    set_config(&log, &config(&otlp(port), "").replace("beginning", "end"));
    let server = log.serve(&model);
    calls(&server, 2).await;
    caught_up(&log);
    complete(&collector.leaves(), before..size(&log));
    server.stop();
    let file = log.data().join("forward/siem.json");
    let cursor: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let ahead = json!({ "next": 1_000_000 });
    let wrong = |change: &Value| {
        let mut cursor = cursor.clone();
        cursor.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        std::fs::write(&file, cursor.to_string()).unwrap();
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream"];
        let ran =
            crate::support::log::run(crate::support::log::program(log.folder()).args(arguments).arg(model.to_string()));
        assert_eq!(ran.code, Some(2), "{ran:?}");
        ran.stderr
    };
    assert!(wrong(&ahead).contains("it was put back to an older state"));
    assert!(wrong(&json!({ "origin": "other" })).contains("is a place in the log other"));
    std::fs::write(&file, cursor.to_string()).unwrap();
    set_config(&log, &config(&otlp(port), "where = \"nothing = 1\""));
    let unknown = wrong(&json!({}));
    assert!(unknown.contains("the destination \"siem\": its `where`") && unknown.contains("nothing"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_gets_every_record_although_it_was_killed() {
    let (log, model, port) = (Log::new(), model().await, free_port());
    let Some(rsyslog) = Rsyslog::start(&log, port, "tcp") else { return };
    let more = "batch = 5\nwhere = \"kind = 'interaction'\"\nhostname = \"gw\"\nfacility = \"local3\"";
    set_config(&log, &config(&format!("to = \"syslog\"\naddress = \"tcp://127.0.0.1:{port}\""), more));
    let server = log.serve(&model);
    calls(&server, 12).await;
    caught_up(&log);
    // What it has read and not written goes with it; a batch of that comes again.
    wait_for("rsyslog to write", || (rsyslog.leaves().len() > 7).then_some(()));
    rsyslog.kill();
    calls(&server, 12).await;
    wait_for("the failure", || status(&log)["error"].is_string().then_some(()));
    server.kill();
    let server = log.serve(&model);
    let rsyslog = Rsyslog::start(&log, port, "tcp").unwrap();
    calls(&server, 3).await;
    caught_up(&log);
    let leaves = log.query("SELECT leaf_index FROM interactions ORDER BY 1");
    let expected: Vec<_> = leaves.iter().map(|row| row["leaf_index"].as_u64().unwrap()).collect();
    assert_eq!(expected.len(), 27);
    wait_for("rsyslog to write", || (rsyslog.leaves().last() == expected.last()).then_some(()));
    complete(&rsyslog.leaves(), expected);

    let message = &rsyslog.messages()[0];
    let leaf = rsyslog.leaves()[0];
    let stored = log.show(&leaf.to_string());
    assert_eq!(
        (&message["msgid"], &message["app"], &message["host"]),
        (&json!("interaction"), &json!("onrecord"), &json!("gw"))
    );
    // local3 is 19, and an informational message 6.
    assert_eq!((&message["pri"], &message["msg"]), (&json!("158"), &json!("interaction chat m completed")));
    assert_eq!(message["time"].as_str().unwrap(), stored["captured_at"].as_str().unwrap());
    let data = message["data"].as_str().unwrap();
    assert!(data.starts_with("[onrecord@32473 leaf_index=\"") && data.contains(" user.id=\"alice\""), "{data}");
    assert!(data.contains(" tags=\"team=red\"") && data.contains(" outcome=\"completed\""), "{data}");
    assert!(!rsyslog.text().contains(SECRET));
    server.stop();
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_takes_messages_over_tls_udp_and_its_local_socket() {
    let (log, model) = (Log::new(), model().await);
    let ports = [free_port(), free_port()];
    let Some(tls) = Rsyslog::start(&log, ports[0], "tls") else { return };
    let udp = Rsyslog::start(&log, ports[1], "udp").unwrap();
    let local = Rsyslog::start(&log, 0, "local").unwrap();
    let to = |name: &str, address: &str, more: &str| {
        format!(
            "[[forward]]\nname = \"{name}\"\nto = \"syslog\"\naddress = \"{address}\"\ncontent = \"all\"\nmax_record = \"700 B\"\n\
             from = \"beginning\"\ninterval = \"50ms\"\nwhere = \"kind = 'interaction'\"\n{more}\n"
        )
    };
    let destinations = [
        to("tls", &format!("tls://localhost:{}", ports[0]), "ca = \"cert.pem\""),
        to("udp", &format!("udp://127.0.0.1:{}", ports[1]), "enterprise = 4711"),
        to("local", &format!("unix://{}", log.folder().join("local.sock").display()), ""),
    ];
    set_config(&log, &destinations.concat());
    let server = log.serve(&model);
    calls(&server, 3).await;
    for (rsyslog, number) in [(&tls, 32473), (&udp, 4711), (&local, 32473)] {
        wait_for("the messages", || {
            let leaves: BTreeSet<_> = rsyslog.leaves().into_iter().collect();
            (leaves.len() == 3).then_some(())
        });
        for message in rsyslog.messages() {
            assert_eq!(message["msgid"], "interaction", "{message}");
            let data = message["data"].as_str().unwrap();
            assert!(data.starts_with(&format!("[onrecord@{number} ")) && data.contains(" truncated=\""), "{data}");
            assert!(message["raw"].as_str().unwrap().len() <= 700, "{message}");
        }
    }
    server.stop();

    // Whoever has no reason to believe the certificate sends nothing.
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(log.folder().join("other.pem"), other.cert.pem()).unwrap();
    set_config(&log, &to("wary", &format!("tls://localhost:{}", ports[0]), "ca = \"other.pem\""));
    let server = log.serve(&model);
    let wary = wait_for("the refusal", || status(&log)["error"].as_str().map(str::to_owned));
    assert!(wary.contains("certificate"), "{wary}");
    server.stop();
}
