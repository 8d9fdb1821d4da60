//! Bit rot in the lake's folder is found and named.

use std::fs;

use super::records::calls;
use super::{Fixture, open};
use crate::storage::files;
use crate::{FileProblem, FileProblemKind, check_files};

#[tokio::test]
async fn one_flipped_bit_in_any_file_is_named() {
    let fixture = Fixture::new(calls(250)).await;
    while fixture.lake.seal().await.unwrap().is_some() {}
    let table = fixture.lake.table();
    assert_eq!(fixture.check_folder().await, []);
    let all = files(&table).unwrap();
    assert_eq!(all.len(), 3 + 4 + 4, "data files, commits, sidecars: {all:?}");
    for path in &all {
        let place = table.join(path);
        let bytes = fs::read(&place).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            fs::write(&place, &changed).unwrap();
            let problems = fixture.lake.check_files(|_| ()).await.unwrap();
            assert!(problems.iter().any(|problem| problem.path == *path), "{path}, byte {at}: {problems:?}");
            if !path.ends_with("sha256") {
                assert_eq!(problems, [FileProblem { path: path.clone(), kind: FileProblemKind::Changed }]);
            }
            let opened = open(&fixture.folder, &fixture.log).await;
            let refused = opened.is_err_and(|error| error.to_string().contains(path));
            assert_eq!(refused, path.starts_with("_delta_log"), "{path}: what the table is opened from is compared");
        }
        fs::write(&place, &bytes).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_gone_or_came_from_elsewhere_is_named() {
    let fixture = Fixture::new(calls(100)).await;
    fixture.lake.seal().await.unwrap();
    let table = fixture.lake.table();
    for path in files(&table).unwrap() {
        let bytes = fs::read(table.join(&path)).unwrap();
        fs::remove_file(table.join(&path)).unwrap();
        let problems = fixture.check_folder().await;
        let known = FileProblem { path: path.clone(), kind: FileProblemKind::Missing };
        // A crash may have come before the last sidecar; the files that it lists say that it is not there.
        let last = path.ends_with("1.sha256") && problems.iter().any(|p| p.kind == FileProblemKind::Unfinished);
        assert!(problems.contains(&known) || last, "{path}: {problems:?}");
        fs::write(table.join(&path), bytes).unwrap();
    }
    fs::write(table.join("stray.parquet"), "?").unwrap();
    let stray = FileProblem { path: "stray.parquet".into(), kind: FileProblemKind::Unlisted };
    assert_eq!(fixture.check_folder().await, [stray]);
}

#[tokio::test]
async fn what_a_crash_leaves_is_told_from_what_came_from_elsewhere() {
    let fixture = Fixture::new(calls(250)).await;
    while fixture.lake.seal().await.unwrap().is_some() {}
    let table = fixture.lake.table();
    let data = files(&table).unwrap().into_iter().find(|path| path.ends_with(".parquet")).unwrap();
    let beside = |from: u64, until: u64, end: &str| {
        let writer = data.rsplit('/').next().unwrap().split('-').next().unwrap();
        let folder = data.split('/').next().unwrap();
        format!("{folder}/{writer}-{from:020}-{until:020}{end}")
    };
    let left = [
        beside(250, 260, ".parquet"),
        beside(250, 260, ".parquet.tmp"),
        beside(0, 200, "-00000000000000000003.parquet"),
        beside(0, 200, "-00000000000000000003-019ac2f3b6d07c11a0de4f0b5a1c7e22.parquet"),
        "_delta_log/00000000000000000009.json.tmp".into(),
        "_delta_log/00000000000000000009.checkpoint.parquet".into(),
        "_onrecord/00000000000000000009.sha256.tmp".into(),
    ];
    let foreign = [
        beside(260, 270, ".parquet"),
        beside(200, 260, "-00000000000000000003.parquet"),
        beside(0, 200, "-00000000000000000003-copy.parquet"),
        "_delta_log/00000000000000000009.json".into(),
        "other.parquet".into(),
    ];
    for (path, kind) in left
        .iter()
        .map(|path| (path, FileProblemKind::Unfinished))
        .chain(foreign.iter().map(|path| (path, FileProblemKind::Unlisted)))
    {
        fs::write(table.join(path), "?").unwrap();
        assert_eq!(fixture.check_folder().await, [FileProblem { path: path.clone(), kind }]);
        fs::remove_file(table.join(path)).unwrap();
    }
}

#[tokio::test]
async fn sidecars_are_what_sha256sum_checks() {
    let fixture = Fixture::new(calls(100)).await;
    fixture.lake.seal().await.unwrap();
    let check = std::process::Command::new("sha256sum")
        .args(["--check", "--strict", "_onrecord/00000000000000000001.sha256"])
        .current_dir(fixture.lake.table())
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[tokio::test]
async fn the_check_says_how_far_it_is() {
    let fixture = Fixture::new(calls(100)).await;
    fixture.lake.seal().await.unwrap();
    let mut seen = Vec::new();
    let dir = fixture.folder.path().join("lake");
    check_files(&dir, |progress| seen.push((progress.files, progress.of_files))).await.unwrap();
    assert_eq!(seen, [(1, 3), (2, 3), (3, 3)]);
}
