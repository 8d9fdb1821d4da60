//! The tour, and a real client: whatever it sent and got is on record, byte for byte.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::log::{field, program, run};
use crate::support::{Log, upstream};

#[test]
fn the_demo_shows_every_kind_of_ending_and_exits() {
    let folder = TempDir::new().unwrap();
    for _ in 0..2 {
        let out = run(program(folder.path()).args(["demo", "--once", "--data", "log"])).good();
        for shown in ["completed (stop)", "completed (length)", "client_disconnected", "completed 400", "VERIFIED"] {
            assert!(out.contains(shown), "{shown} is missing in {out}");
        }
        assert!(out.contains("onrecord.local/") && out.contains("\n— onrecord.local/"), "no signed checkpoint: {out}");
    }
    // What it says to try next works.
    let out = run(program(folder.path()).args(["demo", "--once", "--data", "log"])).good();
    let hints: Vec<_> = out.lines().filter_map(|line| line.trim().strip_prefix("onrecord ")).collect();
    let hint = |part: &str| hints.iter().find(|hint| hint.contains(part)).unwrap_or_else(|| panic!("{part}: {out}"));
    for part in [" show ", "--tokens", " prove ", "check "] {
        run(program(folder.path()).args(hint(part).split(' '))).good();
    }
    // The second run has gone on with the log of the first; --fresh begins with none.
    let count = || {
        let sql = "SELECT count(*) AS n FROM interactions";
        let out = run(program(folder.path()).args(["--data", "log", "query", sql, "--format", "json"])).good();
        serde_json::from_str::<Value>(&out).unwrap()[0]["n"].as_u64().unwrap()
    };
    let both = count();
    run(program(folder.path()).args(["demo", "--once", "--fresh", "--data", "log"])).good();
    assert_eq!(both, 3 * count());

    // Whoever reads only its beginning ends it, and leaves a whole log.
    let mut demo = program(folder.path());
    demo.args(["demo", "--once", "--data", "unread"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = demo.spawn().unwrap();
    drop(demo.stdout.take());
    let ended = demo.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    run(program(folder.path()).args(["--data", "unread", "verify"])).good();
}

/// A Python with the `openai` package: that of ONRECORD_TEST_PYTHON, or one in a folder that is made once. `None` if
/// there is none to be had.
fn python() -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("ONRECORD_TEST_PYTHON") {
        return Some(python.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let folder = cache.join("onrecord/venv");
    let python = folder.join("bin/python");
    if !has_openai(&python) {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).status();
        let installed = Command::new(&python).args(["-m", "pip", "install", "--quiet", "openai"]).status();
        eprintln!("installing the openai package: {made:?}, {installed:?}");
    }
    has_openai(&python).then_some(python)
}

fn has_openai(python: &Path) -> bool {
    Command::new(python).args(["-c", "import openai"]).output().is_ok_and(|output| output.status.success())
}

/// What the client says about a call.
struct Call(Value);

impl Call {
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    fn bytes(&self, name: &str) -> String {
        String::from_utf8(STANDARD.decode(self.text(name)).unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_real_client_sends_and_gets_is_on_record() {
    let Some(python) = python() else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no Python with the openai package");
        eprintln!("SKIPPED: there is no Python with the openai package; set ONRECORD_TEST_PYTHON to one");
        return;
    };
    let (log, model) = (Log::new(), upstream::model().await);
    let server = log.serve(&model);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/tour.py");
    let base = format!("http://{}/v1", server.gateway);
    let out = run(Command::new(python).args([script, &base, "tiny-pydoc"])).good();
    let calls: Vec<Call> = serde_json::from_str::<Vec<_>>(&out).unwrap().into_iter().map(Call).collect();
    assert_eq!(calls.len(), 6);
    log.only("request_id = 'request-cancelled'");
    check_calls(&log, &calls);
    server.stop();
    check_calls(&log, &calls);
    log.verify();
}

/// Each call is found in every way, and is what the client saw.
fn check_calls(log: &Log, calls: &[Call]) {
    let listed = log.json(&["list", "--session", "python-1", "--json"]);
    let mut listed: Vec<_> = listed.as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap()).collect();
    listed.reverse();
    assert_eq!(listed, calls.iter().map(|call| call.text("id")).collect::<Vec<_>>());
    let rows = log
        .query("SELECT id, outcome, request_id, tags FROM interactions WHERE session = 'python-1' ORDER BY leaf_index");
    assert_eq!(rows.len(), calls.len());
    for (call, row) in calls.iter().zip(rows) {
        let (name, id) = (call.text("name"), call.text("id"));
        let record = log.show(id);
        let cancelled = name == "cancelled";
        let outcome = if cancelled { "client_disconnected" } else { "completed" };
        assert_eq!((row["id"].as_str(), row["outcome"].as_str()), (Some(id), Some(outcome)), "{name}: {row}");
        assert_eq!(row["request_id"], format!("request-{name}"));
        assert_eq!(field(&record, "context", "onrecord.tags")["kind"], name);
        assert_eq!(field(&record, "who", "user.id"), "user-1");
        assert_eq!(field(&record, "outcome", "http.response.status_code"), &call.0["status"]);
        assert_eq!(field(&record, "input", "onrecord.input.body"), &call.bytes("sent"), "{name}");
        assert_eq!(log.json(&["list", "--request-id", &format!("request-{name}"), "--json"])[0]["id"], id);
        check_output(call, &record);
    }
    check_evidence(log, &calls[0]);
}

fn check_output(call: &Call, record: &Value) {
    let (name, text) = (call.text("name"), field(record, "output", "onrecord.output.text"));
    match name {
        "streamed" | "streamed-long" => {
            assert_eq!(text, call.text("text"), "{name}");
            let size = field(record, "output", "http.response.body.size");
            assert_eq!(size.as_u64(), Some(call.bytes("received").len() as u64), "{name}");
        }
        "cancelled" => {
            let (recorded, read) = (text.as_str().unwrap(), call.text("text"));
            assert!(!read.is_empty() && recorded.starts_with(read), "{read:?} {recorded:?}");
        }
        _ => {
            assert_eq!(field(record, "output", "onrecord.output.body"), &call.bytes("received"), "{name}");
            if name == "whole" {
                assert_eq!(text, call.text("text"));
            }
        }
    }
}

/// What is proved holds, with the log's key and no other.
fn check_evidence(log: &Log, call: &Call) {
    drop(std::fs::remove_file(log.folder().join("evidence.json")));
    let prove = ["prove", call.text("id"), "--reveal", "input,output", "-o", "evidence.json"];
    log.run(&prove).good();
    let key = log.run(&["key"]).good();
    let elsewhere = TempDir::new().unwrap();
    std::fs::copy(log.folder().join("evidence.json"), elsewhere.path().join("evidence.json")).unwrap();
    let check = |key: &str| run(program(elsewhere.path()).args(["check", "evidence.json", "--json", "--key", key]));
    let proved: Value = serde_json::from_str(&check(key.trim()).good()).unwrap();
    let groups = &proved["entries"][0]["groups"];
    assert_eq!(proved["ok"], true);
    assert_eq!(groups["input"]["onrecord.input.body"], call.bytes("sent"));
    assert_eq!(groups["output"]["onrecord.output.body"], call.bytes("received"));
    assert_eq!(groups["who"], "hidden");
    check_other_key(&check);
    check_changed(elsewhere.path(), key.trim());
}

fn check_other_key(check: &dyn Fn(&str) -> crate::support::Ran) {
    let other = Log::new();
    other.serve("http://127.0.0.1:9").stop();
    let refused = check(other.run(&["key"]).good().trim());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stdout.contains("\"ok\": false"), "{refused:?}");
}

/// Evidence of which one character was changed, in any of its parts, is refused.
fn check_changed(folder: &Path, key: &str) {
    let evidence: Value = serde_json::from_slice(&std::fs::read(folder.join("evidence.json")).unwrap()).unwrap();
    for part in ["/checkpoint", "/entries/0/leaf", "/entries/0/proof/0", "/entries/0/revealed/input"] {
        let mut changed = evidence.clone();
        change_one(changed.pointer_mut(part).unwrap_or_else(|| panic!("no {part} in {evidence}")));
        std::fs::write(folder.join("changed.json"), changed.to_string()).unwrap();
        let refused = run(program(folder).args(["check", "changed.json", "--key", key]));
        assert_eq!((refused.code, refused.stdout.starts_with("NOT PROVED")), (Some(1), true), "{part}: {refused:?}");
    }
}

/// Changes a letter in the middle of the first text that is found.
fn change_one(value: &mut Value) {
    match value {
        Value::String(text) => {
            let middle = text.len() / 2;
            let at = (middle..text.len()).find(|at| text.as_bytes()[*at].is_ascii_lowercase()).unwrap();
            let other = if text.as_bytes()[at] == b'a' { "b" } else { "a" };
            text.replace_range(at..=at, other);
        }
        Value::Object(fields) => fields.values_mut().take(1).for_each(change_one),
        other => panic!("no text: {other}"),
    }
}
