//! Flipped bits in a small complete data folder: each is found, or does no harm for a reason that is written down here.
//!
//! A part of the bytes of each file is flipped by the ordinary tests. `cargo test … every_byte -- --ignored` flips one bit of
//! every byte of the large files and all eight of every byte of the others, which takes hours.

#![expect(clippy::disallowed_methods, reason = "a test's own files")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use onrecord_ledger::Committed;
use onrecord_proof::cosignature::{Cosigner, cosigned};
use onrecord_proof::{Kind, Record, field};
use tempfile::TempDir;

use super::keep::Erase;
use super::{Engine, Progress, Reading, Search, check_offline, fsck, new_record};
use crate::config::{self, Overrides};
use crate::local::model_file::Files;
use crate::timestamp::Timestamps;

/// Bytes of each file that are flipped by the ordinary tests.
const SAMPLE: usize = 4;
/// Of files larger than this one bit of each byte is flipped: whoever finds one finds all, since a digest is over them.
const LARGE: usize = 8 << 10;

/// Why a flipped bit does no harm although nothing tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Harmless {
    /// `lock`: the process id in it is for a message. What counts is the lock on the file.
    Lock,
    /// The newline that ends a key may be another white space.
    EndOfKey,
    /// A cosignature that does not hold, or is that of a stranger, counts as none. Only who knows the witness can tell.
    Cosignature,
    /// The search index is made from the rows. Each part of it is checked when it is read; a damaged one is built again.
    Index,
    /// Digests of model files are kept to save time. What does not fit its own digest is computed again.
    ModelDigests,
}

impl Harmless {
    fn of(name: &str, bytes: &[u8], at: usize) -> Option<Self> {
        match name {
            "ledger/lock" => Some(Self::Lock),
            "ledger/key" | "ledger/key.pub" => (at + 1 == bytes.len()).then_some(Self::EndOfKey),
            "model-digests.json" => Some(Self::ModelDigests),
            _ if name.starts_with("index/") => Some(Self::Index),
            _ if name.starts_with("ledger/cosigned/") => of_a_witness(bytes, at).then_some(Self::Cosignature),
            _ => None,
        }
    }
}

/// True in the line of a note that the witness has signed, and not at its end.
fn of_a_witness(bytes: &[u8], at: usize) -> bool {
    // The sixth line: origin, size, root, an empty line, the log's own signature; then the witness's, and an empty line.
    bytes[..at].split(|byte| *byte == b'\n').count() % 7 == 6 && bytes[at] != b'\n'
}

async fn engine(data: &Path) -> anyhow::Result<Arc<Engine>> {
    let flags = Overrides { data: Some(data.to_owned()), ..Overrides::default() };
    Engine::open(data, crate::server::engine_options(&config::load_only(&flags)?)?).await
}

fn call(number: usize) -> Record {
    let mut record = new_record(Kind::Interaction);
    record.set(&field::INPUT_TEXT, format!("Is article {number} in stock?"));
    record.set(&field::OUTPUT_TEXT, "Yes.");
    record.set(&field::OUTCOME, "completed");
    record
}

/// The first of them has an intent.
async fn calls(engine: &Engine, count: usize) {
    let mut begun = call(0);
    engine.ledger.begin(&mut begun).unwrap().await.unwrap();
    let appended: Vec<_> = std::iter::once(begun).chain((1..count).map(call)).collect();
    let appended: Vec<_> = appended.iter().map(|record| engine.ledger.append(record).unwrap()).collect();
    for pending in appended {
        pending.await.unwrap();
    }
}

/// Has the last checkpoint stamped, by OpenSSL.
async fn stamp(engine: &Engine, data: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tsa/authority.py")).arg(folder.path().join("tsa"));
    let mut authority = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(authority.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let url = format!("http://127.0.0.1:{}", port.trim());
    Timestamps::new(&url, Duration::from_secs(1), data).unwrap().stamp_if_new(checkpoint(engine)).await;
    authority.kill().unwrap();
    authority.wait().unwrap();
    assert!(data.join("timestamps").exists());
}

fn checkpoint(engine: &Engine) -> onrecord_ledger::Published {
    engine.reader().checkpoint_now().unwrap().unwrap()
}

fn witness() -> Cosigner {
    Cosigner::from_seed("example.org/witness", &[7; 32]).unwrap()
}

/// Sealed rows in several files, some with erased groups, indexed; hot rows behind them; two keys; a tree of two levels;
/// checkpoints, cosigned and stamped ones among them.
async fn written(data: &Path) {
    let log = engine(data).await.unwrap();
    calls(&log, 300).await;
    log.lake.seal_all().await.unwrap();
    checkpoint(&log);
    log.ledger.rotate_key(|_| new_record(Kind::System)).unwrap();
    calls(&log, 5).await;
    log.lake.seal_all().await.unwrap();
    let reading = Reading { principal: "p".into(), address: None, purpose: None, user: None };
    let erase = Erase {
        condition: "leaf_index = 7".into(),
        table: "interactions".into(),
        fields: vec!["input".into()],
        reason: "r".into(),
        by: None,
        dry_run: false,
    };
    log.erase(&reading, &erase).await.unwrap();
    for _ in 0..2 {
        let mut published = checkpoint(&log);
        published.note.signatures.push(witness().cosign(&published.note.text, 1_800_000_000));
        log.reader().keep_cosigned(published).unwrap();
        calls(&log, 1).await;
    }
    stamp(&log, data).await;
    log.lake.seal_all().await.unwrap();
    log.lake.mend_indexes().await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let log = engine(data).await.unwrap();
    calls(&log, 3).await;
    log.close().await.unwrap();
    let files = Files::open(data.join("model-digests.json"));
    files.look(&data.join("ledger/key.pub"), Duration::from_secs(30)).await.unwrap();
    files.has_news().await;
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (name, path) = (entry.file_name().into_string().unwrap(), entry.path());
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, path)| (format!("{name}/{below}"), path)));
        } else {
            found.push((name, path));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for (name, path) in files(from) {
        let copied = to.path().join(name);
        std::fs::create_dir_all(copied.parent().unwrap()).unwrap();
        std::fs::copy(path, copied).unwrap();
    }
    to
}

/// Whether anything tells that the folder is not what was written: `verify` and `fsck`, or else the start and a verification
/// of the running log.
async fn is_noticed(data: &Path) -> bool {
    let quiet: Progress = Arc::new(|_| ());
    if check_offline(data, &quiet).await.map_or(true, |report| !report.ok) {
        return true;
    }
    if fsck(data, false, &quiet).await.map_or(true, |report| !report.ok) {
        return true;
    }
    let started = copy(data);
    let Ok(engine) = engine(started.path()).await else { return true };
    let report = engine.verify(quiet).await;
    engine.close().await.unwrap();
    report.map_or(true, |report| !report.ok)
}

/// What is asked of a log.
#[derive(Debug, PartialEq)]
struct Answers {
    records: Vec<Committed>,
    hits: Vec<(u64, String)>,
    cosigned: usize,
}

impl Answers {
    /// Those of a copy, so that what the start puts right does not stay.
    async fn of(data: &Path) -> (Self, TempDir) {
        let started = copy(data);
        let log = engine(started.path()).await.unwrap();
        let size = log.reader().size();
        let records = log.lake.records(0..size).try_collect().await.unwrap();
        let search = Search { q: "\"article 3\"".into(), ..Search::default() };
        let hits = log.search(&search).await.unwrap().hits.into_iter().map(|hit| (hit.leaf_index, hit.id)).collect();
        let last = log.reader().cosigned().unwrap();
        let cosigned = cosigned(&last.note, &[witness().witness()]).len();
        log.lake.mend_indexes().await.unwrap();
        log.close().await.unwrap();
        (Self { records, hits, cosigned }, started)
    }
}

/// A flip that nothing told of: no answer is another one for it, and what is derived is made again.
async fn does_no_harm(data: &Path, why: Harmless, good: &(Answers, TempDir)) {
    let (answers, started) = Answers::of(data).await;
    assert_eq!((&answers.records, &answers.hits), (&good.0.records, &good.0.hits), "{why:?}");
    assert!(answers.cosigned == good.0.cosigned || why == Harmless::Cosignature, "{why:?}");
    match why {
        Harmless::Index => {
            for (name, path) in files(good.1.path()).into_iter().filter(|(name, _)| name.starts_with("index/")) {
                let again = std::fs::read(started.path().join(&name)).unwrap();
                assert!(again == std::fs::read(path).unwrap(), "{name} is not what it was");
            }
        }
        Harmless::ModelDigests => {
            let public = data.join("ledger/key.pub");
            let look =
                async |cache: PathBuf| Files::open(cache).look(&public, Duration::from_secs(30)).await.unwrap().sha256;
            let cache = started.path().join("model-digests.json");
            assert_eq!(look(cache).await, look(started.path().join("none")).await);
        }
        Harmless::Lock | Harmless::EndOfKey | Harmless::Cosignature => {}
    }
}

/// Which bits of a file are flipped: all, or those of a sample of its bytes.
fn flips(bytes: &[u8], every: bool) -> Vec<(usize, u8)> {
    let places: Vec<_> = if every || bytes.len() <= SAMPLE {
        (0..bytes.len()).collect()
    } else {
        (0..SAMPLE).map(|n| n * (bytes.len() - 1) / (SAMPLE - 1)).collect()
    };
    let all = every && bytes.len() <= LARGE;
    let bits = |at: usize| if all { 0..8 } else { at as u32 % 8..at as u32 % 8 + 1 };
    places.into_iter().flat_map(|at| bits(at).map(move |bit| (at, 1 << bit))).collect()
}

async fn sweep(every: bool) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    written(data).await;
    assert!(!is_noticed(data).await, "nothing is wrong yet");
    let good = Answers::of(data).await;
    assert!(good.0.cosigned == 1 && !good.0.hits.is_empty());
    let (mut missed, mut harmless, mut count) = (Vec::new(), std::collections::BTreeMap::new(), 0);
    for (name, path) in files(data) {
        let bytes = std::fs::read(&path).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for (at, mask) in flips(&bytes, every) {
            count += 1;
            file.write_all_at(&[bytes[at] ^ mask], at as u64).unwrap();
            if !is_noticed(data).await {
                match Harmless::of(&name, &bytes, at) {
                    None => missed.push(format!("{name}: byte {at} of {}, ^{mask:#04x}", bytes.len())),
                    Some(why) => {
                        let seen = harmless.entry(why).or_insert(0);
                        // To open the log takes longer than to check it.
                        if *seen < SAMPLE {
                            does_no_harm(data, why, &good).await;
                        }
                        *seen += 1;
                    }
                }
            }
            file.write_all_at(&[bytes[at]], at as u64).unwrap();
        }
        eprintln!("{name}: {} bytes, {count} flips so far", bytes.len());
    }
    eprintln!("{count} flips, of which did no harm: {harmless:?}");
    assert!(missed.is_empty(), "{} flips were not found:\n{}", missed.len(), missed.join("\n"));
    assert!(!is_noticed(data).await, "every byte is what it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_found_or_does_no_harm() {
    sweep(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes hours"]
async fn every_byte_that_flips_is_found_or_does_no_harm() {
    sweep(true).await;
}
