//! The folder of a log is what `FORMAT.md` says: read here byte by byte, with nothing of the ledger's own code, both a
//! log that was just written and the one in `tests/v1/`, which every later version must open. With `UPDATE_VECTORS=1` a
//! `tests/v1/` that is not there is written.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use onrecord_ledger::disk::{Disk, FaultyDisk, RealDisk};
use onrecord_ledger::{Ledger, Options, check};
use onrecord_proof::merkle::{Frontier, leaf_hash};
use onrecord_proof::note::Verifier;
use onrecord_proof::{Checkpoint, Hash, Kind, Record, field};
use sha2::{Digest, Sha256};
use uuid::Uuid;

type Files = BTreeMap<String, Vec<u8>>;

/// CRC-32C bit by bit, with the register beginning at `start`.
fn crc(start: u32, bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(start, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The mark of the frames behind the head, which the head holds.
fn mark(segment: &[u8]) -> (u32, u32) {
    (u32_at(segment, 17 + 76), u32_at(segment, 17 + 80))
}

/// The contents of the frame at `at`, and its kind.
fn frame(segment: &[u8], at: usize, mark: (u32, u32)) -> Option<(u8, &[u8])> {
    let header = segment.get(at..at + 17)?;
    let contents = segment.get(at + 17..at + 17 + u32_at(header, 0) as usize)?;
    let whole = crc(mark.0, &header[..9]) == u32_at(header, 9) && crc(mark.1, contents) == u32_at(header, 13);
    (whole && u32_at(header, 4) as usize <= at).then_some((header[8], contents))
}

/// What the segments hold: leaf hashes in order, and the ids of intents that have no leaf.
#[derive(Debug, Default)]
struct Read {
    leaves: Vec<Hash>,
    open: BTreeSet<Uuid>,
}

fn read_segments(files: &Files, origin: &str) -> Read {
    let mut read = Read::default();
    let segments: Vec<_> = files.iter().filter(|(name, _)| name.starts_with("segments/")).collect();
    let mut before = (0, 0);
    for (name, bytes) in segments {
        let (kind, head) = frame(bytes, 0, (!0, !0)).expect("a head");
        assert_eq!((kind, head.len(), &head[..8], u32_at(head, 8)), (1, 84, &b"onrecord"[..], 1));
        assert_eq!(*name, format!("segments/{:020}.seg", u64_at(head, 12)));
        assert_eq!((u64_at(head, 20), u64_at(head, 28)), before);
        assert_eq!(u64_at(head, 36), read.leaves.len() as u64);
        assert_eq!(head[44..76], Sha256::digest(origin)[..]);
        let mut at = 17 + head.len();
        while let Some((kind, contents)) = frame(bytes, at, mark(bytes)) {
            match kind {
                2 => assert!(read.open.insert(Record::from_bytes(contents).unwrap().id)),
                3 => read_leaf(&mut read, files, contents),
                other => panic!("a frame of kind {other}"),
            }
            at += 17 + contents.len();
        }
        before = (u64_at(head, 12), at as u64);
    }
    read
}

fn read_leaf(read: &mut Read, files: &Files, contents: &[u8]) {
    assert_eq!(u64_at(contents, 0), read.leaves.len() as u64);
    let mut record = Record::from_bytes(&contents[28..]).unwrap();
    let (segment, offset) = (u64_at(contents, 16), u32_at(contents, 24));
    if segment > 0 {
        let bytes = &files[&format!("segments/{segment:020}.seg")];
        let (kind, intent) = frame(bytes, offset as usize, mark(bytes)).unwrap();
        assert_eq!(kind, 2);
        record = Record::from_bytes(intent).unwrap().completed_by(record).unwrap();
        assert!(read.open.contains(&record.id));
    }
    read.open.remove(&record.id);
    let committed_at = u64_at(contents, 8).cast_signed();
    read.leaves.push(leaf_hash(&record.leaf(committed_at).to_bytes()));
}

/// The checkpoints: each note is followed by a newline, and holds one empty line.
fn read_checkpoints(files: &Files, key: &Verifier) -> Vec<Checkpoint> {
    let days = files.iter().filter(|(name, _)| name.starts_with("checkpoints/"));
    let notes = days.flat_map(|(_, bytes)| {
        let parts: Vec<_> = std::str::from_utf8(bytes).unwrap().split_terminator("\n\n").collect();
        parts.chunks(2).map(|note| format!("{}\n\n{}\n", note[0], note[1])).collect::<Vec<_>>()
    });
    notes.map(|note| Checkpoint::open(&note.parse().unwrap(), key).unwrap()).collect()
}

/// Reads a whole log and compares its parts. Gives the number of leaves and of open calls.
fn examine(files: &Files) -> (usize, usize) {
    let text = |name: &str| std::str::from_utf8(&files[name]).unwrap();
    let key: Verifier = text("key.pub").parse().unwrap();
    let log: serde_json::Value = serde_json::from_str(text("log.json")).unwrap();
    assert_eq!(log, serde_json::json!({"format": 1, "origin": key.name()}));
    let read = read_segments(files, key.name());
    let (mut levels, mut frontier, mut checkpoints) = (vec![], Frontier::default(), read_checkpoints(files, &key));
    assert_eq!(checkpoints.last().map(|last| last.size), Some(read.leaves.len() as u64));
    checkpoints.reverse();
    for leaf in &read.leaves {
        frontier.push(*leaf, |level, hash| {
            levels.resize(levels.len().max(level as usize + 1), Vec::new());
            levels[level as usize].extend(hash);
        });
        if let Some(signed) = checkpoints.pop_if(|checkpoint| checkpoint.size == frontier.size()) {
            assert_eq!(signed.root, frontier.root());
        }
    }
    assert!(checkpoints.is_empty(), "sizes that were never reached or are out of order: {checkpoints:?}");
    for level in 0..8 {
        assert_eq!(files.get(&format!("tree/{level}")), levels.get(level), "tree level {level}");
    }
    (read.leaves.len(), read.open.len())
}

fn record(n: u128) -> Record {
    let mut record = Record::new(Uuid::from_u128(n), Kind::Interaction, n as i64, [n as u8; 32]);
    record.set(&field::INPUT_TEXT, format!("question {n}"));
    record
}

/// Calls in several segments, with an intent that is completed in another one, and one that is not.
fn write(ledger: &Ledger, calls: u128) {
    let mut long = record(u128::MAX);
    ledger.begin(&mut long).unwrap().wait().unwrap();
    for n in 0..calls {
        let mut record = record(n);
        if n % 3 > 0 {
            ledger.begin(&mut record).unwrap().wait().unwrap();
        }
        record.set(&field::OUTCOME, "completed");
        ledger.append(&record).unwrap().wait().unwrap();
        if n == calls / 2 {
            ledger.reader().checkpoint_now().unwrap();
        }
    }
    long.set(&field::OUTPUT_TEXT, "x".repeat(300));
    ledger.append(&long).unwrap().wait().unwrap();
    drop(ledger.begin(&mut record(calls)).unwrap().wait());
}

fn options() -> Options {
    Options { segment_size: 4096, origin: Some("example.org/log".into()), ..Options::default() }
}

#[test]
fn a_log_is_as_the_format_says() {
    let disk = FaultyDisk::new();
    let ledger = Ledger::open_on(Arc::new(disk.clone()), Path::new(""), &options()).unwrap();
    write(&ledger, 299);
    // A call that ends with a record that was not made from its intent, and so has nothing of it.
    ledger.begin(&mut record(1000)).unwrap().wait().unwrap();
    let _ = ledger.append(&record(1000)).unwrap().wait().unwrap();
    ledger.close().unwrap();
    let files: Files = disk.files().iter().map(|(path, _)| (name(path), disk.read(path).unwrap())).collect();
    assert_eq!(examine(&files), (301, 1));
}

fn name(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/v1")
}

/// The files of a log on the disk, without the lock.
fn files_in(root: &Path) -> Files {
    let mut files = Files::new();
    for folder in ["", "segments", "tree", "checkpoints"] {
        for entry in fs::read_dir(root.join(folder)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() && entry.file_name() != "lock" {
                let path = Path::new(folder).join(entry.file_name());
                files.insert(name(&path), fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a copy for the test, not a log in use")]
fn a_log_of_version_1_opens() {
    if std::env::var_os("UPDATE_VECTORS").is_some() && !fixture().exists() {
        let ledger = Ledger::open(&fixture(), &options()).unwrap();
        write(&ledger, 30);
        ledger.close().unwrap();
        fs::remove_file(fixture().join("lock")).unwrap();
    }
    let files = files_in(&fixture());
    assert_eq!(examine(&files), (31, 1));

    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in &files {
        let path = copy.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let ledger = Ledger::open(copy.path(), &options()).unwrap();
    assert_eq!(ledger.interrupted(), 1);
    let last = ledger.reader().read(31, 32, usize::MAX).unwrap().remove(0);
    assert_eq!(last.record.text(&field::OUTCOME), Some("interrupted"));
    assert_eq!(last.record.text(&field::INPUT_TEXT), Some("question 30"));
    ledger.close().unwrap();
    assert_eq!(examine(&files_in(copy.path())), (32, 0));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    assert_eq!(check(&disk, copy.path(), &mut |_, _| ()).unwrap().problems, []);
}
