//! Where fuzzing begins: the test vectors and the transcripts of real servers in `testdata/` of the crates.

use std::fs;
use std::path::{Path, PathBuf};

use onrecord_capture::Dialect;
use onrecord_capture::serving::Server;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use serde_json::Value as Json;

/// A transcript is used up to here: longer ones repeat themselves, and cost a fuzzer its speed.
const SEED_MAX: usize = 8 << 10;

/// Spans in which is left out what is empty.
const LEFT_OUT: &[u8] =
    br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":{"arrayValue":{}}},
    {"value":{"kvlistValue":{"values":[{"value":{"doubleValue":"NaN"}}]}}},{"key":"b","value":null}]}]}]}]}"#;
/// A form that names a model.
const FORM: &[u8] =
    b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; \
    name=\"file\"; filename=\"model\"\r\n\r\nRIFF\r\n--b--\r\n";

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a target begins with.
///
/// # Panics
///
/// If `testdata/` is not there.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let mut seeds = match target {
        "cbor" => vectors("cbor.json", &["cbor"], unhex),
        "leaf" => vectors("leaves.json", &["leaf"], unhex),
        "record" => vectors("records.json", &["record", "intent", "completion", "bytes"], unhex),
        "note" => vectors("notes.json", &["note"], text),
        "checkpoint" => vectors("notes.json", &["note"], text).iter().filter_map(|note| signed_text(note)).collect(),
        "key" => vectors("notes.json", &["public_key", "key"], text),
        "tile_path" => vectors("tiles.json", &["path"], text),
        "evidence" => files(&crates().join("proof/testdata/v1/evidence"), "json"),
        "segment" => files(&crates().join("ledger/tests/v1/segments"), "seg"),
        "add_checkpoint" => vectors("notes.json", &["note"], text).iter().map(|note| request(note)).collect(),
        "serving" => {
            files(&crates().join("capture/testdata/serving"), "resp").iter().flat_map(|told| servers(told)).collect()
        }
        "gguf" => vec![gguf_header()],
        "otlp_json" => vec![include_bytes!("../seeds/spans.json").to_vec(), LEFT_OUT.to_vec()],
        "otlp_protobuf" => vec![spans_in_protobuf()],
        "otlp_logs" => vec![include_bytes!("../seeds/logs.json").to_vec(), logs_in_protobuf()],
        "injection" => injections(),
        "request" => [bodies("request"), vec![[&[0, 6], FORM].concat()]].concat(),
        of_body => bodies(of_body),
    };
    assert!(!seeds.is_empty(), "there is nothing to begin with for {target}");
    seeds.sort();
    seeds.dedup();
    seeds
}

/// The values of these members, anywhere in a file of vectors.
fn vectors(file: &str, members: &[&str], read: fn(&str) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let json = fs::read(crates().join("proof/testdata/v1").join(file)).expect("there are vectors");
    let mut found = Vec::new();
    collect(&serde_json::from_slice(&json).expect("vectors are JSON"), members, &mut |value| found.extend(read(value)));
    found
}

fn collect(json: &Json, members: &[&str], found: &mut dyn FnMut(&str)) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| collect(item, members, found)),
        Json::Object(object) => object.iter().for_each(|(name, value)| match value.as_str() {
            Some(text) if members.contains(&name.as_str()) => found(text),
            _ => collect(value, members, found),
        }),
        _ => {}
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of the ways in which a vector is written")]
fn text(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn signed_text(note: &[u8]) -> Option<Vec<u8>> {
    let end = note.windows(2).position(|pair| pair == b"\n\n")?;
    Some(note[..=end].to_vec())
}

fn request(note: &[u8]) -> Vec<u8> {
    [b"old 7\nWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=\n\n", note].concat()
}

/// The files below a folder whose names end so, in order.
fn files(dir: &Path, end: &str) -> Vec<Vec<u8>> {
    paths(dir, end).iter().map(|path| fs::read(path).expect("a file can be read")).collect()
}

fn paths(dir: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("a folder can be read").path()) {
        if path.is_dir() {
            found.extend(paths(&path, end));
        } else if path.extension().is_some_and(|have| have == end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Head and body of an HTTP message; one in chunks keeps their framing, which is as good to begin with.
fn split(message: &[u8]) -> (String, Vec<u8>) {
    let at = message.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(message.len(), |at| at + 4);
    let body = message[at..].iter().take(SEED_MAX).copied().collect();
    (String::from_utf8_lossy(&message[..at]).to_lowercase(), body)
}

/// The transcripts: dialect, request, answer.
fn transcripts() -> Vec<(u8, Vec<u8>, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for path in paths(&crates().join("capture/testdata"), "req") {
        let request = fs::read(&path).expect("a file can be read");
        let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
        let mut words = line.split(' ');
        let dialect = Dialect::of(words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let dialect = dialect.spoken(&String::from_utf8_lossy(&split(&request).1));
        let at = Dialect::ALL.iter().position(|known| *known == dialect).unwrap_or_default();
        found.push((at as u8, request, fs::read(path.with_extension("resp")).ok()));
    }
    found
}

/// Bodies of transcripts behind the bytes that choose dialect and pieces.
fn bodies(target: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for (dialect, request, answer) in transcripts() {
        let message = if target == "request" { Some(request) } else { answer };
        let Some((head, body)) = message.map(|message| split(&message)) else { continue };
        let has = |content_type: &str| head.contains(content_type);
        let shape: &[u8] = match target {
            "request" => &[6],
            "answer" if has("application/json") => &[12],
            "sse" if has("text/event-stream") => &[9],
            "ndjson" if has("application/x-ndjson") => &[9],
            "compressed" if has("text/event-stream") => {
                found.push([&[dialect, 9, 4][..], &gzip(&body)].concat());
                continue;
            }
            "compressed" if has("application/json") => {
                found.push([&[dialect, 9, 0][..], &gzip(&body)].concat());
                continue;
            }
            _ => continue,
        };
        found.push([&[dialect][..], shape, &body].concat());
    }
    found
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut out = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(bytes, flate2::Compression::fast());
    encoder.read_to_end(&mut out).expect("memory does not fail");
    out
}

fn injections() -> Vec<Vec<u8>> {
    let pairs = transcripts().into_iter().filter_map(|(dialect, request, answer)| {
        let (head, answer) = split(&answer?);
        let shape = if head.contains("text/event-stream") { 9 } else { 0x89 };
        Some([&[dialect, shape][..], &split(&request).1, &[0], &answer].concat())
    });
    pairs.collect()
}

/// What a server told, as told by each server.
fn servers(told: &[u8]) -> Vec<Vec<u8>> {
    let (_, body) = split(told);
    (0..Server::ALL.len() as u8).map(|server| [&[server][..], &body, &[0], &body, &[0], &body].concat()).collect()
}

/// The begin of the demo's model file.
fn gguf_header() -> Vec<u8> {
    let file = fs::read(crates().join("demo-model/model/tiny-pydoc.gguf")).expect("there is a model");
    file[..file.len().min(SEED_MAX)].to_vec()
}

fn spans_in_protobuf() -> Vec<u8> {
    in_protobuf::<ExportTraceServiceRequest>(include_bytes!("../seeds/spans.json"))
}

fn logs_in_protobuf() -> Vec<u8> {
    in_protobuf::<ExportLogsServiceRequest>(include_bytes!("../seeds/logs.json"))
}

fn in_protobuf<T: serde::de::DeserializeOwned + prost::Message>(json: &[u8]) -> Vec<u8> {
    onrecord_capture::otlp::from_json::<T>(json).expect("the seed is OTLP").encode_to_vec()
}
