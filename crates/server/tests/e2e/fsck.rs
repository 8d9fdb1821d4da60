//! `onrecord fsck`: what it says of a folder, what it repairs, and what it leaves alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::damage::{copy, files, sealed_and_hot};
use crate::support::log::{program, run};
use crate::support::{Log, Ran, upstream};

/// A copy of a data folder, elsewhere.
struct Copy(TempDir);

impl Copy {
    fn of(log: &Log) -> Self {
        let folder = TempDir::new().unwrap();
        copy(&log.data(), &folder.path().join("moved"));
        Self(folder)
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("moved")
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(program(self.0.path()).args(["--data", "moved"]).args(arguments))
    }

    /// The report, which must come with this exit code.
    #[track_caller]
    fn fsck(&self, code: i32, arguments: &[&str]) -> Value {
        let ran = self.run(&[&["fsck", "--json"], arguments].concat());
        assert_eq!(ran.code, Some(code), "{ran:?}");
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["ok"], code == 0, "{report:#}");
        report
    }

    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.data()).into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    }

    /// The last file whose path has this in it.
    fn find(&self, part: &str) -> PathBuf {
        files(&self.data()).into_iter().rfind(|path| path.to_string_lossy().contains(part)).unwrap()
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn verdicts(list: &Value) -> Vec<(String, String)> {
    let text = |problem: &Value, name: &str| problem[name].as_str().unwrap().to_owned();
    let all = list.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|problem| (text(problem, "verdict"), text(problem, "place"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_checked_where_it_is_and_repaired_from_its_rows() {
    let log = sealed_and_hot().await;
    whole(&log);
    damaged_tree(&log);
    damaged_public_key(&log);
    missing_checkpoints(&log);
    changed_row(&log);
    unfinished(&log);
    damaged_index(&log);
    missing_segment(&log);
    let server = log.serve(upstream::model().await);
    let ran = log.run(&["fsck"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("is in use by process"), "{ran:?}");
    server.stop();
}

/// Nothing is changed, not even a moment of a file.
fn whole(log: &Log) {
    let copy = Copy::of(log);
    let before = copy.contents();
    let report = copy.fsck(0, &[]);
    assert_eq!(report["verified"], report["leaves"], "{report:#}");
    assert!(report["leaves"].as_u64().unwrap() >= 5 && report["checkpoints"].as_u64().unwrap() > 0, "{report:#}");
    assert!(before == copy.contents(), "the check has changed the folder");
    let text = copy.run(&["fsck"]).good();
    assert!(text.contains("VERIFIED"), "{text}");
}

fn damaged_tree(log: &Log) {
    let copy = Copy::of(log);
    let (leaves, good) = (copy.data().join("ledger/tree/0"), copy.contents());
    flip(&leaves, 40);
    let report = copy.fsck(1, &[]);
    assert_eq!((&report["tampered"], &report["missing"]), (&0.into(), &0.into()), "{report:#}");
    assert_eq!(report["verified"], report["leaves"], "the rows are what was signed: {report:#}");
    let report = copy.fsck(0, &["--repair"]);
    assert!(report["repaired"][0].as_str().unwrap().contains("wrote the tree"), "{report:#}");
    assert!(std::fs::read(&leaves).unwrap() == good[&leaves], "the tree is what it was");
    // The folder is gone, a file is cut off, and one is gone.
    std::fs::remove_dir_all(leaves.parent().unwrap()).unwrap();
    let report = copy.fsck(1, &[]);
    assert_eq!((&report["tampered"], &report["missing"]), (&0.into(), &0.into()), "{report:#}");
    copy.fsck(0, &["--repair"]);
    assert!(std::fs::read(&leaves).unwrap() == good[&leaves], "the tree is what it was");
    std::fs::write(&leaves, &good[&leaves][..32]).unwrap();
    copy.fsck(0, &["--repair"]);
    std::fs::remove_file(&leaves).unwrap();
    copy.fsck(0, &["--repair"]);
    assert!(std::fs::read(&leaves).unwrap() == good[&leaves]);
    copy.run(&["verify"]).good();
}

fn damaged_public_key(log: &Log) {
    let copy = Copy::of(log);
    let public = copy.data().join("ledger/key.pub");
    let good = std::fs::read(&public).unwrap();
    flip(&public, 20);
    let report = copy.fsck(1, &[]);
    assert!(report["problems"][0]["why"].as_str().unwrap().contains("key.pub"), "{report:#}");
    let report = copy.fsck(0, &["--repair"]);
    assert_eq!(report["repaired"][0], "wrote the public key again", "{report:#}");
    assert!(std::fs::read(&public).unwrap() == good);
    std::fs::remove_file(&public).unwrap();
    let report = copy.fsck(1, &[]);
    assert!(report["problems"][0]["why"].as_str().unwrap().contains("key.pub"), "{report:#}");
    copy.fsck(0, &["--repair"]);
    assert!(std::fs::read(&public).unwrap() == good);
    copy.run(&["verify"]).good();
}

/// It is damaged, and not taken for a log that is somewhere else.
fn missing_checkpoints(log: &Log) {
    let copy = Copy::of(log);
    std::fs::remove_dir_all(copy.data().join("ledger/checkpoints")).unwrap();
    let report = copy.fsck(1, &[]);
    assert!(report["problems"][0]["why"].as_str().unwrap().contains("checkpoints"), "{report:#}");
}

/// What is not derived is named and left alone.
fn changed_row(log: &Log) {
    let copy = Copy::of(log);
    let data_file = copy.find(".parquet");
    flip(&data_file, std::fs::metadata(&data_file).unwrap().len() as usize / 3);
    flip(&copy.data().join("ledger/tree/0"), 1);
    let before = copy.contents();
    let report = copy.fsck(1, &["--repair"]);
    let places = verdicts(&report["problems"]);
    let name = data_file.file_name().unwrap().to_str().unwrap();
    assert!(places.iter().any(|(verdict, place)| verdict == "DAMAGED" && place.contains(name)), "{places:?}");
    assert!(before == copy.contents(), "a folder that is not whole was changed");
}

/// What a crash leaves between two steps of a seal.
fn unfinished(log: &Log) {
    let copy = Copy::of(log);
    let table = copy.data().join("lake/records");
    std::fs::remove_file(copy.find(".sha256")).unwrap();
    std::fs::write(table.join("_delta_log/00000000000000000099.json.tmp"), "{").unwrap();
    std::fs::write(copy.find(".parquet").with_extension("parquet.tmp"), "PAR1").unwrap();
    std::fs::write(copy.data().join("ledger/segments/00000000000000000099.seg"), [0; 4096]).unwrap();
    let report = copy.fsck(0, &[]);
    let left = verdicts(&report["unfinished"]);
    for name in ["99.json.tmp", "parquet.tmp", "99.seg"] {
        assert!(left.iter().any(|(verdict, place)| verdict == "UNFINISHED" && place.ends_with(name)), "{left:?}");
    }
    let verified = copy.run(&["verify"]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let copy = Copy::of(log);
    std::fs::remove_file(copy.find(".sha256")).unwrap();
    let report = copy.fsck(0, &["--repair"]);
    assert!(verdicts(&report["unfinished"]).iter().all(|(verdict, _)| verdict == "DERIVED"), "{report:#}");
    copy.find(".sha256");
}

fn damaged_index(log: &Log) {
    let copy = Copy::of(log);
    copy.fsck(0, &["--repair"]);
    let index = copy.find(".search");
    let good = std::fs::read(&index).unwrap();
    flip(&index, 5);
    let report = copy.fsck(0, &[]);
    let left = verdicts(&report["unfinished"]);
    assert!(left.iter().any(|(verdict, _)| verdict == "DERIVED"), "{report:#}");
    let report = copy.fsck(0, &["--repair"]);
    assert!(report["repaired"].to_string().contains("search index of 1"), "{report:#}");
    assert_eq!(verdicts(&report["unfinished"]), []);
    assert!(std::fs::read(&index).unwrap() == good);
}

/// The newest records are gone with their segment.
fn missing_segment(log: &Log) {
    let copy = Copy::of(log);
    let holds = |path: &PathBuf| std::fs::metadata(path).unwrap().len() > 1000;
    let segments: Vec<_> = files(&copy.data().join("ledger/segments")).into_iter().filter(holds).collect();
    for segment in &segments {
        std::fs::remove_file(segment).unwrap();
    }
    let report = copy.fsck(1, &[]);
    let missing = report["missing"].as_u64().unwrap();
    assert!(missing > 0, "{report:#}");
    assert_eq!(report["verified"].as_u64().unwrap() + missing, report["leaves"].as_u64().unwrap(), "{report:#}");
    assert!(verdicts(&report["problems"]).iter().any(|(verdict, _)| verdict == "MISSING"), "{report:#}");
}
