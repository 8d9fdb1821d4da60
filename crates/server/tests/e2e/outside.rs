//! What others have seen of a log: witnesses, and a copy of its last checkpoint elsewhere.

use std::path::Path;
use std::process::Command;

use onrecord_proof::note::Note;
use serde_json::json;

use crate::support::http::get;
use crate::support::upstream::{Upstream, answer, completion, script};
use crate::support::witness::Witness;
use crate::support::{Log, Ran, Server, chat, log, post, wait_for};

async fn model() -> Upstream {
    script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await
}

async fn calls(server: &Server, count: usize) {
    for _ in 0..count {
        assert_eq!(post(server.gateway, &[], chat("?", json!({}))).await.status, 200);
    }
}

/// A log that exists, and so has a key.
fn created(log: &Log, model: &Upstream) -> String {
    log.serve(model).stop();
    log.run(&["key"]).good().trim().to_owned()
}

fn configure(log: &Log, more: &str) {
    let text = format!("data = \"data\"\n[probe]\nenabled = false\n[log]\ncheckpoint_interval = \"100ms\"\n{more}");
    std::fs::write(log.folder().join("onrecord.toml"), text).unwrap();
}

fn copy(from: &Path, to: &Path) {
    drop(std::fs::remove_dir_all(to));
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// How a start ends that must not succeed.
fn refused(log: &Log, model: &Upstream) -> Ran {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream"];
    let ran = log::run(log::program(log.folder()).args(arguments).arg(model.to_string()));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    ran
}

async fn shown(server: &Server) -> Note {
    get(server.api, "/log/checkpoint", &[]).await.text().parse().unwrap()
}

fn size(note: &Note) -> u64 {
    note.text.lines().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_cosigns_and_what_it_cosigned_is_served_and_proved() {
    let (log, model) = (Log::new(), model().await);
    let key = created(&log, &model);
    let witness = Witness::start(log.folder(), &key);
    configure(&log, &witness.config());
    let server = log.serve(&model);
    calls(&server, 3).await;
    let id = log.query("SELECT id FROM interactions LIMIT 1")[0]["id"].as_str().unwrap().to_owned();
    log.run(&["prove", &id, "-o", "evidence.json"]).good();
    let checked = log.run(&["check", "evidence.json", "--key", &key, "--witness", &witness.key]).good();
    assert!(checked.contains("WITNESSED  by example.org/w, 20"), "{checked}");
    let stranger = witness_key(&log);
    let other = log.run(&["check", "evidence.json", "--key", &key, "--witness", &stranger]);
    assert!(other.code == Some(1) && other.output().contains("0 of 1 witnesses have cosigned"), "{other:?}");
    wait_for("a cosigned checkpoint", || {
        let folder = log.data().join("ledger/cosigned");
        let file = std::fs::read_dir(folder).ok()?.next()?.unwrap().path();
        std::fs::read_to_string(file).unwrap().contains("— example.org/w ").then_some(())
    });
    let note = shown(&server).await;
    assert_eq!(note.signatures.len(), 2, "{note}");
    assert!(size(&note) > 3);
    log.verify();

    // Without its witness the log goes on, and says what is missing.
    drop(witness);
    calls(&server, 1).await;
    let newest = &log.query("SELECT id FROM interactions ORDER BY leaf_index DESC LIMIT 1")[0]["id"];
    let proved = log.run(&["prove", newest.as_str().unwrap()]);
    assert!(proved.stderr.contains("UNWITNESSED  0 of 1 witnesses have cosigned its checkpoint, 1 must"), "{proved:?}");
    let messages = server.stop();
    assert_eq!(messages.matches("the witness does not cosign").count(), 1, "{messages}");
    log.verify();
}

/// The key of a witness that has cosigned nothing.
fn witness_key(log: &Log) -> String {
    let other = Log::new();
    let key = log.run(&["key"]).good();
    Witness::start(other.folder(), key.trim()).key.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_refuses_a_log_that_was_put_back_and_one_that_was_forked() {
    let (log, model) = (Log::new(), model().await);
    let key = created(&log, &model);
    let (data, older, newest) = (log.data(), log.folder().join("older"), log.folder().join("newest"));
    copy(&data, &older);
    let witness = Witness::start(log.folder(), &key);
    configure(&log, &witness.config());
    let server = log.serve(&model);
    calls(&server, 5).await;
    let grown = wait_for("the witness", || {
        let note = futures::executor::block_on(shown(&server));
        (note.signatures.len() == 2 && size(&note) > 5).then(|| size(&note))
    });
    server.stop();
    copy(&data, &newest);

    // It has forgotten nothing although it was killed.
    drop(witness);
    let witness = Witness::start(log.folder(), &key);
    assert!(witness.messages().contains(" leaves of onrecord.local/"), "{}", witness.messages());
    configure(&log, &witness.config());
    copy(&older, &data);
    let ran = refused(&log, &model);
    assert!(ran.stderr.contains("the witness example.org/w has cosigned"), "{ran:?}");
    assert!(ran.stderr.contains("it was put back to an older state"), "{ran:?}");

    // Another history of the same length and more, made where no witness was asked.
    configure(&log, "");
    let server = log.serve(&model);
    calls(&server, usize::try_from(grown).unwrap() + 5).await;
    server.stop();
    configure(&log, &witness.config());
    let ran = refused(&log, &model);
    assert!(ran.stderr.contains("has cosigned another tree of"), "{ran:?}");

    // The history that it knows goes on.
    copy(&newest, &data);
    log.serve(&model).stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_behind_its_anchor_is_refused() {
    let (log, model) = (Log::new(), model().await);
    created(&log, &model);
    let (data, older) = (log.data(), log.folder().join("older"));
    configure(&log, "[anchor]\npath = \"anchor\"\ninterval = \"100ms\"\n");
    copy(&data, &older);
    let server = log.serve(&model);
    calls(&server, 2).await;
    let anchor = log.folder().join("anchor");
    wait_for("the anchor", || anchor.exists().then_some(()));
    server.stop();
    let note: Note = std::fs::read_to_string(&anchor).unwrap().parse().unwrap();
    let records = log.json(&["stats", "--json"])["records"].as_u64().unwrap();
    assert_eq!(size(&note), records, "the last one is kept when the log is closed");

    let newest = log.folder().join("newest");
    copy(&data, &newest);
    copy(&older, &data);
    for ran in [refused(&log, &model), log.run(&["list"])] {
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(
            ran.stderr.contains("the checkpoint in anchor has") && ran.stderr.contains("put back to an older state"),
            "{ran:?}"
        );
    }
    copy(&newest, &data);
    log.run(&["list"]).good();
    std::fs::write(&anchor, "rubbish").unwrap();
    assert!(refused(&log, &model).stderr.contains("leave [anchor] out or name another place"));
}
