//! `onrecord monitor`: follows a log, and finds what is wrong with it.

use serde_json::json;

use crate::support::log::Ran;
use crate::support::upstream::{Upstream, answer, completion, script};
use crate::support::{Log, Server, chat, post, wait_for};

async fn model() -> Upstream {
    script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await
}

fn look(log: &Log, server: &Server, key: &str, more: &[&str]) -> Ran {
    let url = format!("http://{}", server.api);
    log.run(&[&["monitor", &url, "--once", "--key", key], more].concat())
}

async fn grow(server: &Server, calls: usize) {
    let before = crate::support::http::get(server.api, "/log/checkpoint", &[]).await.text();
    for _ in 0..calls {
        assert_eq!(post(server.gateway, &[], chat("?", json!({}))).await.status, 200);
    }
    wait_for("a checkpoint", || {
        let now = futures::executor::block_on(crate::support::http::get(server.api, "/log/checkpoint", &[])).text();
        (now != before && !now.contains("error")).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_followed_through_growth_and_a_new_key_and_a_change_of_its_history_is_found() {
    let log = Log::with_config("[log]\ncheckpoint_interval = \"100ms\"\n[lake]\nseal_after = \"1s\"\n");
    let model = model().await;
    let server = log.serve(&model);
    grow(&server, 3).await;
    let key = log.run(&["key"]).good().trim().to_owned();
    let first = look(&log, &server, &key, &[]).good();
    assert!(first.starts_with("GOOD  ") && first.contains("nothing new"), "{first}");
    grow(&server, 300).await;
    let more = look(&log, &server, &key, &[]).good();
    assert!(more.contains("new: ") && more.contains(" interaction"), "{more}");
    log.run(&["key", "rotate"]).good();
    grow(&server, 2).await;
    assert!(look(&log, &server, &key, &["--tiles-only"]).good().starts_with("GOOD"));
    let seen = std::fs::read_to_string(log.folder().join("onrecord-monitor.json")).unwrap();
    assert!(seen.contains("onrecord/v1/key-rotation"), "{seen}");

    // A witness that nobody asked, and a log that is silent.
    let unwitnessed = look(
        &log,
        &server,
        &key,
        &["--witness", "example.org/witness+40ada13c+BJY/lr65PvpB4iZUtdxIdtyhNH7V53T5/u1UYMn27iEF"],
    );
    assert!(unwitnessed.code == Some(1) && unwitnessed.stderr.contains("UNWITNESSED  0 of 1"), "{unwitnessed:?}");
    let command = "echo \"$ONRECORD_FINDING\" > found";
    let stalled = look(&log, &server, &key, &["--stall", "1ms", "--command", command]);
    assert!(stalled.code == Some(1) && stalled.stderr.contains("STALLED  its newest record is of"), "{stalled:?}");
    assert!(std::fs::read_to_string(log.folder().join("found")).unwrap().starts_with("STALLED"));

    // What is remembered is of a tree that this log does not have.
    let (state, size) =
        (log.folder().join("onrecord-monitor.json"), log.json(&["stats", "--json"])["checkpoint_size"].clone());
    let signer: onrecord_proof::note::Signer =
        std::fs::read_to_string(log.data().join("ledger/key")).unwrap().parse().unwrap();
    let origin = signer.verifier().name().to_owned();
    for (other, finding) in [(size.as_u64().unwrap(), "do not begin with"), (1 << 40, "put back to an older state")] {
        let checkpoint = onrecord_proof::Checkpoint { origin: origin.clone(), size: other, root: [7; 32] };
        let mut changed: serde_json::Value = serde_json::from_str(&seen).unwrap();
        changed["checkpoint"] = json!(checkpoint.sign(&signer).to_string());
        std::fs::write(&state, changed.to_string()).unwrap();
        for how in [&[][..], &["--tiles-only"]] {
            let found = look(&log, &server, &key, how);
            assert!(found.code == Some(1) && found.stderr.contains("CHANGED  "), "{found:?}");
            assert!(found.stderr.contains(finding), "{found:?}");
        }
        assert!(std::fs::read_to_string(&state).unwrap().contains("\"checkpoint\""), "it is kept");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_log_has_a_heartbeat_and_a_log_that_is_gone_cannot_be_asked() {
    let log = Log::with_config("[log]\nheartbeat = \"200ms\"\ncheckpoint_interval = \"100ms\"\n");
    let server = log.serve(&model().await);
    let beats = "SELECT count(*) AS beats FROM records WHERE kind = 'heartbeat'";
    wait_for("a heartbeat", || {
        // To ask is an access on record: who asks all the time sees no idle log.
        std::thread::sleep(std::time::Duration::from_secs(1));
        (log.query(beats)[0]["beats"].as_u64() > Some(0)).then_some(())
    });
    let key = log.run(&["key"]).good().trim().to_owned();
    let url = format!("http://{}", server.api);
    look(&log, &server, &key, &["--stall", "30s"]).good();
    server.stop();
    let gone = log.run(&["monitor", &url, "--once", "--key", &key]);
    assert_eq!(gone.code, Some(2), "{gone:?}");
}
