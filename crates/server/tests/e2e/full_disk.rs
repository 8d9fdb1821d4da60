//! A disk that is full: what clients get, what the log has and says of what it does not have, and that all goes on by
//! itself once there is space again.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::http::{chat, post, raw, status};
use crate::support::log::field;
use crate::support::upstream::{Upstream, answer, completion, script};
use crate::support::{Log, Reply, Server, wait_for};

/// A small file system of its own for a log, unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// On the data folder of `log`. None if this user may not mount; CI may.
    fn on(log: &Log) -> Option<Self> {
        std::fs::create_dir(log.data()).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(log.data()).output();
        if mounted.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(log.data()));
        }
        assert!(std::env::var_os("CI").is_none(), "no file system can be mounted: {mounted:?}");
        eprintln!("SKIPPED: mounting a small file system needs root: {mounted:?}");
        None
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut size = 1 << 20;
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        while size > 0 {
            if std::io::Write::write_all(&mut filler, &vec![1; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmount = |path: &Path| Command::new("umount").arg("--lazy").arg(path).status();
        drop(unmount(&self.0));
    }
}

/// A question that fills a segment of 1 MiB after a few calls.
fn long_question() -> String {
    chat(&"Why? ".repeat(50_000), json!({}))
}

fn log(on_log_failure: &str) -> Log {
    // Without sealing, so that nothing but the log decides what happens.
    let keys = format!("[log]\nsegment_size = \"1 MiB\"\non_log_failure = \"{on_log_failure}\"\n");
    Log::with_config(&format!("{keys}[lake]\nseal_after = \"24h\"\nseal_bytes = \"1 GiB\"\n"))
}

async fn model() -> Upstream {
    script([answer("200 OK", "content-type: application/json\r\n", completion("Because."))]).await
}

/// A call from where nothing can be awaited.
fn call_now(server: &Server, body: String) -> Reply {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| runtime.block_on(post(server.gateway, &[], body)))
}

/// Calls until one ends as `ended` says; gives the answers of those before it that were recorded.
async fn call_until(server: &Server, ended: impl Fn(&Reply) -> bool) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..100 {
        let reply = post(server.gateway, &[], long_question()).await;
        if ended(&reply) {
            return ids;
        }
        assert_eq!(reply.status, 200, "{reply:?}");
        ids.push(reply.id());
    }
    panic!("100 calls fit on a full disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_are_refused_before_the_model_and_go_on_when_there_is_space() {
    let log = log("refuse");
    let Some(disk) = SmallDisk::on(&log) else { return };
    let model = model().await;
    let server = log.serve(&model);
    disk.fill();
    let recorded = call_until(&server, |reply| reply.status == 503).await;
    // From now on the log is known to fail, so the model is not asked, nor by a question that flows up as it comes in.
    let asked = model.requests.lock().unwrap().len();
    let flowing = chat(&"Why? ".repeat(500_000), json!({}));
    for body in [long_question(), flowing.clone(), long_question(), flowing, long_question()] {
        let refused = post(server.gateway, &[], body).await;
        assert_eq!((refused.status, refused.code().as_str()), (503, "log_unavailable"), "{refused:?}");
        assert!(refused.text().contains("cannot be put on record"), "{refused:?}");
        assert_eq!(refused.headers["retry-after"], "1");
    }
    let question = long_question();
    let chunks = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
         {:x}\r\n{question}\r\n0\r\n\r\n",
        question.len()
    );
    assert_eq!(status(&raw(server.gateway, chunks.as_bytes()).await), 503);
    assert_eq!(model.requests.lock().unwrap().len(), asked, "the model was called for calls that were refused");
    disk.free();
    let after = wait_for("the log to go on", || {
        let reply = call_now(&server, long_question());
        (reply.status == 200).then(|| reply.id())
    });
    for id in recorded.iter().chain([&after]) {
        assert_eq!(field(&log.show(id), "outcome", "onrecord.outcome"), "completed");
    }
    log.verify();
    server.stop();
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_that_pass_unrecorded_are_counted_in_the_log() {
    let log = log("forward");
    let Some(disk) = SmallDisk::on(&log) else { return };
    let model = model().await;
    let server = log.serve(&model);
    disk.fill();
    let before = std::time::SystemTime::now();
    for _ in 0..20 {
        let passed = post(server.gateway, &[], long_question()).await;
        assert_eq!(passed.status, 200, "{passed:?}");
    }
    disk.free();
    // The log tries again with the next call that can be recorded, and then owns up to those that were not.
    let gap = wait_for("the gap to be on record", || {
        call_now(&server, chat("Short.", json!({})));
        log.query("SELECT onrecord_gap_calls AS calls, onrecord_gap_from AS first, onrecord_gap_until AS last FROM records WHERE kind = 'gap'").pop()
    });
    let number = |name: &str| gap[name].as_i64().unwrap();
    assert!(number("calls") > 0, "{gap}");
    assert_eq!(accounted_for(&log), model.requests.lock().unwrap().len(), "{gap}");
    let started = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert!(number("first") >= i64::try_from(started).unwrap() && number("first") <= number("last"), "{gap}");
    // Without a call that follows, the end of the server is the time.
    disk.fill();
    for _ in 0..20 {
        assert_eq!(post(server.gateway, &[], long_question()).await.status, 200);
    }
    disk.free();
    server.stop();
    assert_eq!(accounted_for(&log), model.requests.lock().unwrap().len());
    log.verify();
}

/// Calls that are on record, and those of which the log says that it does not have them.
fn accounted_for(log: &Log) -> usize {
    let calls =
        "(SELECT count(*) FROM interactions) + (SELECT sum(onrecord_gap_calls) FROM records WHERE kind = 'gap')";
    let row = log.query(&format!("SELECT {calls} AS n")).remove(0);
    usize::try_from(row["n"].as_u64().unwrap()).unwrap()
}
