//! Transcripts of real servers, taken apart, and records written out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use onrecord_capture::{BodyHead, Dialect, End, Limits, Request, RequestFacts, Response};
use onrecord_proof::{GroupState, Kind, Record, Value, field};
use uuid::Uuid;

/// One message off the wire.
pub(crate) struct Message {
    pub(crate) dialect: Dialect,
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
    let mut message = parse(&std::fs::read(testdata().join(format!("{case}.{kind}"))).unwrap());
    message.dialect = dialect(case);
    message
}

/// The dialect of a case by its request; of the answers that are kept without one all but one are of chat completions.
fn dialect(case: &str) -> Dialect {
    if case == "llama-server/special_error_mid_stream" {
        return Dialect::LlamaCompletion;
    }
    let Ok(bytes) = std::fs::read(testdata().join(format!("{case}.req"))) else { return Dialect::OpenAiChat };
    let Message { start_line: line, body, .. } = parse(&bytes);
    let [method, path, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let of_body = |dialect: Dialect| dialect.spoken(&String::from_utf8_lossy(&body));
    if method == "POST" { of_body(Dialect::of(method, path)) } else { Dialect::OpenAiChat }
}

pub(crate) fn answer(case: &str) -> Message {
    message(case, "resp")
}

/// Every case whose answer is a stream.
pub(crate) fn streams() -> Vec<String> {
    ["text/event-stream", "application/x-ndjson"].into_iter().flat_map(cases).collect()
}

/// Every streamed case of chat completions.
pub(crate) fn chats() -> Vec<String> {
    let mut cases = cases("text/event-stream");
    cases.retain(|case| answer(case).dialect == Dialect::OpenAiChat);
    cases
}

/// Every case that has an answer of that content type.
pub(crate) fn cases(content_type: &str) -> Vec<String> {
    let mut found = Vec::new();
    let servers = std::fs::read_dir(testdata()).unwrap().map(|server| server.unwrap().path());
    for server in servers.filter(|path| path.is_dir()) {
        for file in std::fs::read_dir(server).unwrap() {
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
    let dialect = Dialect::Unknown;
    let mut message =
        Message { dialect, start_line, headers, body: bytes[head_len + 4..].to_vec(), end: End::Complete };
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
        feed(self.dialect, self.status(), self.head(), Limits::default(), &pieces, self.end).record
    }

    /// Where the event begins that ends this stream, or else where the stream ends: up to there its bytes may flow.
    pub(crate) fn last_event(&self) -> usize {
        let text = std::str::from_utf8(&self.body).unwrap();
        let mut at = 0;
        let mut perhaps = None;
        for event in text.split_inclusive(self.separator()) {
            match ends(self.dialect, event) {
                Some(true) => return perhaps.unwrap_or(at),
                Some(false) => perhaps = perhaps.or(Some(at)),
                // What a line that has no end would have said nobody knows.
                None if self.separator() == "\n" && !event.ends_with('\n') => return at,
                None if event.contains("data:") => perhaps = None,
                None => {}
            }
            at += event.len();
        }
        perhaps.unwrap_or(at)
    }

    /// What stands between the events of this stream.
    pub(crate) fn separator(&self) -> &'static str {
        if self.header("content-type") == Some("application/x-ndjson") { "\n" } else { "\n\n" }
    }
}

/// If an event is the last one, for certain or perhaps, looked for with nothing clever.
fn ends(dialect: Dialect, event: &str) -> Option<bool> {
    let any = |words: &[&str]| words.iter().any(|word| event.contains(word));
    let certain = match dialect {
        Dialect::OpenAiResponses => any(&["event: response.completed", "event: response.incomplete"]),
        Dialect::OllamaChat | Dialect::OllamaGenerate => any(&["\"done\":true"]),
        Dialect::TgiGenerateStream => any(&["\"generated_text\":\""]),
        Dialect::LmStudioChat => any(&["event: chat.end"]),
        Dialect::AnthropicMessages => any(&["event: message_stop"]),
        _ => false,
    };
    if dialect == Dialect::LlamaCompletion && any(&["\"stop\":true"]) {
        return Some(false);
    }
    (certain || event.starts_with("data: [DONE]")).then_some(true)
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
pub(crate) const LINES: BodyHead<'_> = BodyHead { content_type: Some("application/x-ndjson"), content_encoding: None };
pub(crate) const JSON: BodyHead<'_> = BodyHead { content_type: Some("application/json"), content_encoding: None };

/// The record of a chat answer that came in one piece.
pub(crate) fn record_of(status: u16, head: BodyHead<'_>, body: impl AsRef<[u8]>) -> Record {
    feed(Dialect::OpenAiChat, status, head, Limits::default(), &[body.as_ref()], End::Complete).record
}

/// The record of a chat request.
pub(crate) fn request(head: BodyHead<'_>, body: &[u8], record: Record) -> (RequestFacts, Record) {
    request_in(Dialect::OpenAiChat, head, body, record)
}

/// The record of a request in any dialect.
pub(crate) fn request_in(
    dialect: Dialect,
    head: BodyHead<'_>,
    body: &[u8],
    mut record: Record,
) -> (RequestFacts, Record) {
    let mut request = Request::new(Limits::default());
    body.chunks(7).for_each(|piece| request.push(piece));
    (request.finish(dialect, head, &mut record), record)
}

/// What a request in JSON asks for.
pub(crate) fn asked(dialect: Dialect, body: &str) -> (RequestFacts, Record) {
    request_in(dialect, JSON, body.as_bytes(), record())
}

/// The record of a whole answer in JSON.
pub(crate) fn whole(dialect: Dialect, body: &str) -> Record {
    feed(dialect, 200, JSON, Limits::default(), &[body.as_bytes()], End::Complete).record
}

/// The record of a stream that came in one piece.
pub(crate) fn streamed(dialect: Dialect, head: BodyHead<'_>, body: &str) -> Fed {
    feed(dialect, 200, head, Limits::default(), &[body.as_bytes()], End::Complete)
}

/// The JSON that a field holds.
pub(crate) fn json_of(record: &Record, field: &onrecord_proof::Field) -> serde_json::Value {
    serde_json::from_slice(record.get(field).unwrap().as_bytes().unwrap()).unwrap()
}

pub(crate) fn record() -> Record {
    Record::new(Uuid::nil(), Kind::Interaction, 0, [7; 32])
}

/// A stream of these data lines and `[DONE]`.
pub(crate) fn events(data: &[&str]) -> String {
    data.iter().chain(&["[DONE]"]).fold(String::new(), |all, data| all + "data: " + data + "\n\n")
}

/// A stream of these events, each named as its data says.
pub(crate) fn named(events: &[serde_json::Value]) -> String {
    let name = |event: &serde_json::Value| event["type"].as_str().unwrap().to_owned();
    events.iter().fold(String::new(), |all, event| all + &format!("event: {}\ndata: {event}\n\n", name(event)))
}

/// The record with a zero for what depends on when the pieces of a stream came.
pub(crate) fn without_times(mut record: Record) -> Record {
    for field in [&field::FIRST_TOKEN, &field::INTERVAL_P50, &field::INTERVAL_P95, &field::INTERVAL_MAX] {
        if record.get(field).is_some() {
            record.set(field, 0_i64);
        }
    }
    // Of a stream that came at once there is no such number.
    if record.get(&field::INTERVAL_P50).is_some() {
        record.set(&field::TOKENS_PER_SECOND, 0.0);
    }
    if record.get(&field::TOKEN_TIMES).is_some() {
        record.set(&field::TOKEN_TIMES, Vec::<u8>::new());
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
            let value = if name == field::TOKEN_TIMES.name {
                hex(value.as_bytes().unwrap())
            } else if is_body {
                format!("{} bytes", value.as_bytes().unwrap().len())
            } else {
                show(value)
            };
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
