//! One flipped byte in any file of the data folder is found, and the file is named.

use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::support::log::{program, run};
use crate::support::{Log, Ran, chat, post, upstream, wait_for};

/// A log of some sealed records and some that are still hot, closed in order.
pub(crate) async fn sealed_and_hot() -> Log {
    let log = Log::with_config("[lake]\nseal_after = \"1s\"\n");
    let model = upstream::model().await;
    let server = log.serve(&model);
    for round in 0..3 {
        post(server.gateway, &[], chat("Hello!", json!({ "seed": round }))).await;
        let records = log.json(&["stats", "--json"])["records"].as_u64().unwrap();
        wait_for("the seal", || {
            (log.json(&["stats", "--json"])["sealed_records"].as_u64().unwrap() >= records).then_some(())
        });
    }
    server.stop();
    std::fs::write(log.folder().join("onrecord.toml"), "data = \"data\"\n").unwrap();
    let server = log.serve(&model);
    for question in ["Hello!", "What is a list?"] {
        post(server.gateway, &[], chat(question, json!({}))).await;
    }
    server.stop();
    let stats = log.json(&["stats", "--json"]);
    assert!(stats["lake_files"].as_u64().unwrap() >= 3, "{stats}");
    assert!(stats["sealed_records"].as_u64() < stats["records"].as_u64(), "nothing is hot: {stats}");
    log.verify();
    log
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let copy = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        // Preallocated files are mostly holes, and stay so.
        let copied = std::process::Command::new("cp").arg("--sparse=always").arg(&file).arg(&copy).status().unwrap();
        assert!(copied.success());
    }
}

/// Where bytes are worth flipping: the first, some in the middle and the last of what was written. What a segment
/// has preallocated is not written yet, and the line break that ends a text says nothing.
fn places(bytes: &[u8]) -> Vec<usize> {
    let Some(last) = bytes.iter().rposition(|byte| !matches!(byte, 0 | b'\n')) else { return Vec::new() };
    let mut places = vec![0, last / 3, last / 2, last];
    places.dedup();
    places
}

/// The exit code and output of `verify` with one bit of a file flipped.
fn verify_flipped(data: &Path, file: &Path, at: usize) -> Ran {
    let good = std::fs::read(file).unwrap();
    let folder = TempDir::new().unwrap();
    copy(data, &folder.path().join("data"));
    let copied = folder.path().join("data").join(file.strip_prefix(data).unwrap());
    let mut bytes = good;
    bytes[at] ^= 0x01;
    std::fs::write(copied, bytes).unwrap();
    let before = files(&folder.path().join("data/ledger/segments"));
    let ran = run(program(folder.path()).args(["--data", "data", "verify"]));
    let lost: Vec<_> = before.into_iter().filter(|segment| ran.code != Some(0) && !segment.exists()).collect();
    assert!(lost.is_empty(), "{} at byte {at}: verify has removed {lost:?}", file.display());
    ran
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_flipped_byte_is_found_in_every_file() {
    let log = sealed_and_hot().await;
    let data = log.data();
    let newest = files(&data.join("ledger/segments")).pop().unwrap();
    let mut missed = Vec::new();
    let mut kinds = std::collections::BTreeSet::new();
    for file in files(&data) {
        let name = file.strip_prefix(&data).unwrap().to_string_lossy().into_owned();
        // The lock holds no data, what is spilled belongs to a query, and a damaged index is no index: it is built again.
        if name == "ledger/lock" || name.starts_with("tmp/") || name.starts_with("index/") {
            continue;
        }
        kinds.insert(kind(&name));
        if file == newest && holds_nothing(&file) {
            continue;
        }
        for at in places(&std::fs::read(&file).unwrap()) {
            let ran = verify_flipped(&data, &file, at);
            let base = file.file_name().unwrap().to_string_lossy().into_owned();
            if matches!(ran.code, Some(1 | 2)) && ran.output().contains(&base) {
                continue;
            }
            missed.push(format!("{name} at byte {at}: {ran:?}"));
        }
    }
    let expected = ["checkpoints", "delta log", "identity", "key", "parquet", "segment", "sidecar", "tree"];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected);
    assert!(missed.is_empty(), "{} flips were not found or not named:\n{}", missed.len(), missed.join("\n"));
}

/// True for a segment with nothing but its head. The newest one may be left like that by a crash while it was made,
/// so a head that is damaged is no sign of a change; no record is in it or behind it.
fn holds_nothing(segment: &Path) -> bool {
    const HEAD_MAX: usize = 128;
    std::fs::read(segment).unwrap().iter().skip(HEAD_MAX).all(|byte| *byte == 0)
}

/// What a file of the data folder is.
fn kind(name: &str) -> &'static str {
    match name {
        _ if name.starts_with("ledger/key") => "key",
        _ if name.starts_with("ledger/log.json") => "identity",
        _ if name.starts_with("ledger/segments/") => "segment",
        _ if name.starts_with("ledger/tree/") => "tree",
        _ if name.starts_with("ledger/checkpoints/") => "checkpoints",
        _ if name.ends_with(".parquet") => "parquet",
        _ if name.contains("/_delta_log/") => "delta log",
        _ if name.contains("/_onrecord/") => "sidecar",
        _ => panic!("{name} is of no kind that this test knows"),
    }
}
