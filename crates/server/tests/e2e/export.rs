//! Exports: files in every format, a manifest that proves them, and what a changed file comes to.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Log, chat, post, upstream};

const QUESTIONS: [&str; 5] = ["=1+1", "one", "two, \"three\"\nfour", "@five", "six"];

async fn asked(log: &Log) -> Vec<String> {
    let model = upstream::model().await;
    let server = log.serve(&model);
    let mut ids = Vec::new();
    for (n, question) in QUESTIONS.into_iter().enumerate() {
        let headers = [("x-onrecord-session", if n < 3 { "first" } else { "second" })];
        ids.push(post(server.gateway, &headers, chat(question, json!({}))).await.id());
        // What is on record between the calls is no part of their export.
        log.run(&["show", &ids[n]]).good();
    }
    server.stop();
    ids
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with("part-"));
    files.sort();
    files
}

fn text(folder: &Path) -> String {
    files(folder).iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

fn lines(folder: &Path) -> Vec<Value> {
    text(folder).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check(log: &Log, folder: &str) -> crate::support::Ran {
    let key = log.run(&["key"]).good();
    log.run(&["check", &format!("{folder}/manifest.json"), "--key", key.trim()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_is_tied_to_the_log() {
    let log = Log::new();
    let ids = asked(&log).await;
    for format in ["jsonl", "parquet", "csv", "chat", "ocsf"] {
        let said = log.run(&["export", "-o", format, "--format", format, "--rows-per-file", "2"]).good();
        assert!(said.contains("exported 5 rows in "), "{said}");
        let checked = check(&log, format).good();
        assert!(checked.starts_with("PROVED  5 rows of `interactions` are of as many leaves"), "{checked}");
        let listed = std::process::Command::new("sha256sum")
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(log.folder().join(format))
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
    }
    let folder = |format: &str| log.folder().join(format);
    let exported: Vec<_> = lines(&folder("jsonl")).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(exported, ids);

    let csv = text(&folder("csv"));
    assert!(csv.contains("'=1+1") && csv.contains("'@five") && csv.contains("\"two, \"\"three\"\"\nfour\""), "{csv}");

    let conversations = lines(&folder("chat"));
    let question = |row: &Value| row["messages"][0]["content"].as_str().unwrap().to_owned();
    assert_eq!(conversations.iter().map(question).collect::<Vec<_>>(), QUESTIONS);
    assert!(conversations.iter().all(|row| row["messages"][1]["role"] == "assistant"), "{conversations:?}");

    let events = lines(&folder("ocsf"));
    let uids: Vec<_> = events.iter().map(|event| event["metadata"]["uid"].as_str().unwrap()).collect();
    assert_eq!(uids, ids);
    assert!(events.iter().all(|event| event["class_uid"] == 6003 && event["status"] == "Success"), "{events:?}");
    let said = log.query("SELECT count(*) AS n, sum(row_count) AS rows FROM accesses WHERE event = 'exported'");
    assert_eq!((&said[0]["n"], &said[0]["rows"]), (&json!(5), &json!(25)));
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_after_an_export_is_not_proved() {
    let log = Log::new();
    asked(&log).await;
    let condition = "session = 'first' -- and no other";
    log.run(&["export", "-o", "out", "--where", condition, "--columns", "id, prompt"]).good();
    let folder = log.folder().join("out");
    let checked = check(&log, "out").good();
    assert!(checked.contains("as local exported them"), "{checked}");
    assert!(checked.contains("PROVED  3 rows") && checked.contains("where session = 'first'"), "{checked}");
    let part = &files(&folder)[0];
    let (good, manifest) = (std::fs::read_to_string(part).unwrap(), folder.join("manifest.json"));
    assert_eq!(good.lines().map(|line| line.matches("\":").count()).collect::<Vec<_>>(), [3, 3, 3], "{good}");

    std::fs::write(part, good.replace("one", "two")).unwrap();
    let refused = check(&log, "out");
    assert!(refused.code == Some(1) && refused.output().contains("is not the file that was exported"), "{refused:?}");
    std::fs::write(part, &good).unwrap();

    let whole = std::fs::read_to_string(&manifest).unwrap();
    let mut changed: Value = serde_json::from_str(&whole).unwrap();
    changed["contents"]["leaves"][0][0] = json!(changed["contents"]["leaves"][0][0].as_u64().unwrap() - 1);
    std::fs::write(&manifest, changed.to_string()).unwrap();
    let refused = check(&log, "out");
    assert!(refused.code == Some(1) && refused.output().contains("NOT PROVED"), "{refused:?}");
    std::fs::write(&manifest, whole).unwrap();
    check(&log, "out").good();

    for (arguments, says) in [
        (&["-o", "out"][..], "is not empty; name another one"),
        (&["-o", "none", "--where", "session = 'third'"], "nothing was exported"),
        (&["-o", "new", "--view", "sessions"], "leaf_index"),
        (&["-o", "new2", "--view", "steps", "--format", "chat"], "leave --view out"),
        (&["-o", "new3", "--where", "no such thing"], "such"),
        (&["-o", "new3", "--columns", "id, nothing"], "nothing"),
        (&["-o", "new4", "--resume"], "no unfinished export"),
    ] {
        let refused = log.run(&[&["export"], arguments].concat());
        assert!(refused.code == Some(2) && refused.output().contains(says), "{arguments:?}: {refused:?}");
    }
    // None of them has left anything that stands in the way of the right one.
    log.run(&["export", "-o", "new3"]).good();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_goes_on_where_it_broke_off() {
    let log = Log::new();
    asked(&log).await;
    log.run(&["export", "-o", "whole"]).good();
    // The folder of an export that was killed after its first file: its state, and a file that has not its name yet.
    log.run(&["export", "-o", "out", "--where", "session = 'first'"]).good();
    let folder = log.folder().join("out");
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let mut contents = manifest["contents"].clone();
    contents.as_object_mut().unwrap().remove("condition");
    let next = contents["leaves"].as_array().unwrap().last().unwrap()[0].as_u64().unwrap() + 1;
    let state = json!({
        "origin": log.run(&["key"]).good().split('+').next().unwrap(), "rows": "jsonl", "rows_per_file": 100, "columns": "*", "total": 5, "contents": contents,
        "windows": { "next": next, "end": 1_000, "width": 1 }
    });
    std::fs::write(folder.join("export.json"), state.to_string()).unwrap();
    std::fs::write(folder.join("part-00001.jsonl.new"), "{\"torn").unwrap();
    std::fs::remove_file(folder.join("manifest.json")).unwrap();
    let refused = log.run(&["export", "-o", "out"]);
    assert!(refused.output().contains("--resume goes on"), "{refused:?}");
    let other = Log::new();
    asked(&other).await;
    let refused = other.run(&["export", "-o", folder.to_str().unwrap(), "--resume"]);
    assert!(refused.output().contains("is of the log"), "{refused:?}");
    let said = log.run(&["export", "-o", "out", "--resume", "--json"]).good();
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["rows"], 5);
    assert_eq!(text(&folder), text(&log.folder().join("whole")));
    check(&log, "out").good();
    assert!(!folder.join("export.json").exists() && !folder.join("part-00001.jsonl.new").exists());
}
