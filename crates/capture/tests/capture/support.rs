//! Transcripts of real servers, taken apart, and records written out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use onrecord_capture::{BodyHead, Dialect, End, Limits, Request, RequestFacts, Response};
use onrecord_proof::{GroupState, Kind, Record, Value, field};
use uuid::Uuid;

/// One message off the wire.
pub(crate) struct Message {
    pub(crate) start_line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Reads `testdata/{case}.{kind}`, with its chunk framing undone.
pub(crate) fn message(case: &str, kind: &str) -> Message {
    parse(&std::fs::read(testdata().join(format!("{case}.{kind}"))).unwrap())
}

pub(crate) fn answer(case: &str) -> Message {
    message(case, "resp")
}

/// Every case that has an answer of that content type.
pub(crate) fn cases(content_type: &str) -> Vec<String> {
    let mut found = Vec::new();
    for server in std::fs::read_dir(testdata()).unwrap() {
        for file in std::fs::read_dir(server.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let case = path.strip_prefix(testdata()).unwrap().with_extension("");
            let case = case.to_str().unwrap().to_owned();
            let is_answer = path.extension().is_some_and(|kind| kind == "resp");
            if is_answer && answer(&case).header("content-type").is_some_and(|have| have.starts_with(content_type)) {
                found.push(case);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there are answers of type {content_type}");
    found
}

fn parse(bytes: &[u8]) -> Message {
    let head_len = find(bytes, b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..head_len]).unwrap();
    let mut lines = head.split("\r\n");
    let start_line = lines.next().unwrap().to_owned();
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let headers = lines.filter_map(header).collect();
    let mut message = Message { start_line, headers, body: bytes[head_len + 4..].to_vec(), end: End::Complete };
    if message.header("transfer-encoding") == Some("chunked") {
        (message.body, message.end) = dechunk(&message.body);
    }
    message
}

/// Undoes chunk framing (RFC 9112 §7.1).
fn dechunk(mut framed: &[u8]) -> (Vec<u8>, End) {
    let mut body = Vec::new();
    while let Some(line) = find(framed, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&framed[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, End::Complete);
        }
        let chunk = &framed[line + 2..];
        body.extend_from_slice(&chunk[..size.min(chunk.len())]);
        framed = chunk.get(size + 2..).unwrap_or_default();
    }
    (body, End::CutOff)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn head(&self) -> BodyHead<'_> {
        BodyHead { content_type: self.header("content-type"), content_encoding: self.header("content-encoding") }
    }

    pub(crate) fn status(&self) -> u16 {
        self.start_line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The record of this answer, which came whole.
    pub(crate) fn recorded(&self) -> Record {
        let pieces = [self.body.as_slice()];
        feed(Dialect::OpenAiChat, self.status(), self.head(), Limits::default(), &pieces, self.end).record
    }
}

/// A record, and what of the answer could flow before it was durable.
pub(crate) struct Fed {
    pub(crate) record: Record,
    pub(crate) released: Vec<u8>,
    pub(crate) held: Vec<u8>,
}

/// Feeds an answer as the gateway does: what a call holds back flows with the next byte that does. The n-th piece,
/// counted from 0, comes after n microseconds.
pub(crate) fn feed(
    dialect: Dialect,
    status: u16,
    head: BodyHead<'_>,
    limits: Limits,
    pieces: &[&[u8]],
    end: End,
) -> Fed {
    let mut response = Response::new(dialect, status, head, limits);
    let mut fed = Fed { record: record(), released: Vec::new(), held: Vec::new() };
    for (at, piece) in pieces.iter().enumerate() {
        let free = response.push(piece, i64::try_from(at).unwrap());
        if free > 0 {
            fed.released.append(&mut fed.held);
        }
        fed.released.extend_from_slice(&piece[..free]);
        fed.held.extend_from_slice(&piece[free..]);
    }
    response.finish(end, &mut fed.record);
    fed
}

pub(crate) const EVENTS: BodyHead<'_> = BodyHead { content_type: Some("text/event-stream"), content_encoding: None };
pub(crate) const JSON: BodyHead<'_> = BodyHead { content_type: Some("application/json"), content_encoding: None };

/// The record of a chat answer that came in one piece.
pub(crate) fn record_of(status: u16, head: BodyHead<'_>, body: impl AsRef<[u8]>) -> Record {
    feed(Dialect::OpenAiChat, status, head, Limits::default(), &[body.as_ref()], End::Complete).record
}

/// The record of a chat request.
pub(crate) fn request(head: BodyHead<'_>, body: &[u8], mut record: Record) -> (RequestFacts, Record) {
    let mut request = Request::new(Limits::default());
    body.chunks(7).for_each(|piece| request.push(piece));
    (request.finish(Dialect::OpenAiChat, head, &mut record), record)
}

pub(crate) fn record() -> Record {
    Record::new(Uuid::nil(), Kind::Interaction, 0, [7; 32])
}

/// A stream of these data lines and `[DONE]`.
pub(crate) fn events(data: &[&str]) -> String {
    data.iter().chain(&["[DONE]"]).fold(String::new(), |all, data| all + "data: " + data + "\n\n")
}

pub(crate) fn without_first_token(mut record: Record) -> Record {
    if record.get(&field::FIRST_TOKEN).is_some() {
        record.set(&field::FIRST_TOKEN, 0_i64);
    }
    record
}

/// A record as lines of text, a field a line; whole bodies only by their length.
pub(crate) fn written(record: &Record) -> String {
    let mut text = String::new();
    for (group, state) in record.groups() {
        let GroupState::Open(map) = state else { continue };
        writeln!(text, "[{group}]").unwrap();
        for (name, value) in map.iter() {
            let is_body = name == field::INPUT_BODY.name || name == field::OUTPUT_BODY.name;
            let value = if is_body { format!("{} bytes", value.as_bytes().unwrap().len()) } else { show(value) };
            writeln!(text, "{name} = {value}").unwrap();
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn show(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) if bytes.len() == 32 => hex(bytes),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Text(text) => format!("{text:?}"),
        Value::Int(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(", "),
        other => format!("{other:?}"),
    }
}
