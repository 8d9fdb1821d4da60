//! Requests and answers of model servers.
//!
//! The first byte chooses the dialect, the second one the pieces in which the rest comes. Whatever comes, its bytes flow on
//! as they are, are counted, and the record does not depend on how they were cut.

use onrecord_capture::{
    Ask, BodyHead, Dialect, End, Limits, NamedModel, Request, RequestFacts, Response, StoredDecisions,
};
use onrecord_proof::{Field, Kind, Record, Value, field};
use uuid::Uuid;

/// A new record to fill.
pub(crate) fn empty() -> Record {
    Record::new(Uuid::nil(), Kind::Interaction, 0, [7; 32])
}

/// A record is stored and read again. By its bytes: a sender can say NaN, which is not equal to itself.
pub(crate) fn check_stored(record: &Record) {
    let bytes = record.to_bytes();
    assert_eq!(Record::from_bytes(&bytes).map(|record| record.to_bytes()), Ok(bytes));
}

/// What the first bytes of an input choose.
struct Chosen<'b> {
    dialect: Dialect,
    piece: usize,
    status: u16,
    body: &'b [u8],
}

impl<'b> Chosen<'b> {
    fn of(bytes: &'b [u8]) -> Option<Self> {
        let ([dialect, shape], body) = bytes.split_first_chunk::<2>()?;
        let dialect = Dialect::ALL[usize::from(*dialect) % Dialect::ALL.len()];
        let status = if shape & 0x80 == 0 { 200 } else { 500 };
        Some(Self { dialect, piece: usize::from(shape & 0x3f) + 1, status, body })
    }

    /// The record of the answer in pieces of so many bytes, after it was seen that they flow.
    fn answer(&self, head: BodyHead<'_>, piece: usize) -> Record {
        let mut response = Response::new(self.dialect, self.status, head, Limits::default());
        let (mut sent, mut kept) = (0, 0);
        for piece in self.body.chunks(piece) {
            let free = response.push(piece, 0);
            assert!(free <= piece.len());
            if free > 0 {
                sent += kept + free;
                kept = 0;
            }
            kept += piece.len() - free;
        }
        assert_eq!(sent + kept, self.body.len());
        let mut record = empty();
        response.finish(End::Complete, &mut record);
        assert_eq!(record.int(&field::OUTPUT_SIZE), i64::try_from(self.body.len()).ok());
        assert!(record.text(&field::CAPTURE).is_some());
        record
    }

    fn requested(&self, dialect: Dialect, content_type: &str) -> RequestFacts {
        let mut record = empty();
        let mut request = Request::new(Limits::default());
        self.body.chunks(self.piece).for_each(|piece| request.push(piece));
        let facts = request.finish(dialect, of_type(content_type), &mut record);
        assert_eq!(record.int(&field::INPUT_SIZE), i64::try_from(self.body.len()).ok());
        check_stored(&record);
        facts
    }

    fn check(&self, head: BodyHead<'_>) {
        let record = self.answer(head, self.piece);
        check_stored(&record);
        let whole = self.answer(head, self.body.len().max(1));
        // How much of damaged data a decoder gives before it sees the damage depends on how much it is given at once.
        if ![&record, &whole].into_iter().any(is_damaged) {
            assert_eq!(without_pace(record.clone()), without_pace(whole), "pieces change the record");
        }
        check_decisions(&record);
    }
}

fn is_damaged(record: &Record) -> bool {
    record.text(&field::CAPTURE_PROBLEM).is_some_and(|problem| problem.contains("damaged"))
}

/// The record without what says how the pieces came.
fn without_pace(mut record: Record) -> Record {
    for field in [&field::FIRST_TOKEN, &field::INTERVAL_P50, &field::INTERVAL_P95, &field::INTERVAL_MAX] {
        if record.get(field).is_some() {
            record.set(field, 0_i64);
        }
    }
    if record.get(&field::INTERVAL_P50).is_some() {
        record.set(&field::TOKENS_PER_SECOND, 0.0);
    }
    if record.get(&field::TOKEN_TIMES).is_some() {
        record.set(&field::TOKEN_TIMES, Vec::<u8>::new());
    }
    record
}

/// Decisions are read again when somebody asks for them.
fn check_decisions(record: &Record) {
    let bytes = |field: &Field| record.get(field).and_then(Value::as_bytes);
    let stored = StoredDecisions {
        dialect: record.text(&field::DIALECT).unwrap_or("openai-chat"),
        logprobs: bytes(&field::LOGPROBS),
        times: bytes(&field::TOKEN_TIMES),
        body: bytes(&field::OUTPUT_BODY),
        encoding: record.text(&field::OUTPUT_ENCODING),
        messages: bytes(&field::OUTPUT_MESSAGES),
    };
    let _ = stored.tokens();
}

const fn of_type(content_type: &str) -> BodyHead<'_> {
    BodyHead { content_type: Some(content_type), content_encoding: None }
}

pub(crate) fn request(bytes: &[u8]) {
    let Some(chosen) = Chosen::of(bytes) else { return };
    chosen.requested(chosen.dialect, "application/json");
    let is_json = serde_json::from_slice::<serde_json::Value>(chosen.body).is_ok();
    for (content_type, is_whole) in [("application/json", is_json), ("multipart/form-data; boundary=b", true)] {
        let mut named = NamedModel::new(of_type(content_type));
        chosen.body.chunks(chosen.piece).any(|piece| named.push(piece));
        let facts = chosen.requested(Dialect::Unknown, content_type);
        assert!(!is_whole || facts.model.as_deref() == named.found(), "a call goes where its record says");
    }
}

pub(crate) fn answer(bytes: &[u8]) {
    if let Some(chosen) = Chosen::of(bytes) {
        chosen.check(of_type("application/json"));
    }
}

pub(crate) fn sse(bytes: &[u8]) {
    if let Some(chosen) = Chosen::of(bytes) {
        chosen.check(of_type("text/event-stream"));
    }
}

pub(crate) fn ndjson(bytes: &[u8]) {
    if let Some(chosen) = Chosen::of(bytes) {
        chosen.check(of_type("application/x-ndjson"));
    }
}

/// The third byte chooses type and coding.
pub(crate) fn compressed(bytes: &[u8]) {
    let Some(mut chosen) = Chosen::of(bytes) else { return };
    let Some((kind, body)) = chosen.body.split_first() else { return };
    chosen.body = body;
    let coding = ["gzip", "deflate", "br", "gzip, gzip"][usize::from(kind % 4)];
    let content_type = ["application/json", "text/event-stream", "application/x-ndjson"][usize::from(kind / 4 % 3)];
    chosen.check(BodyHead { content_type: Some(content_type), content_encoding: Some(coding) });
}

/// A request that was asked for decisions on the client's behalf, and behind a zero the answer, out of which they are taken.
pub(crate) fn injection(bytes: &[u8]) {
    let Some(chosen) = Chosen::of(bytes) else { return };
    let mut parts = chosen.body.splitn(2, |byte| *byte == 0);
    let (request, answer) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ask::Injected(changed, undo) = Ask::for_decisions(chosen.dialect, request, 5) else { return };
    let before: serde_json::Result<serde_json::Value> = serde_json::from_slice(request);
    if before.is_ok() {
        serde_json::from_slice::<serde_json::Value>(&changed).expect("a request that was JSON still is");
    }
    let content_type = if chosen.status == 200 { "text/event-stream" } else { "application/json" };
    let mut response = Response::new(chosen.dialect, 200, of_type(content_type), Limits::default()).with_undo(undo);
    let mut sent = 0;
    for piece in answer.chunks(chosen.piece) {
        let mut out = Vec::new();
        let free = response.pass(piece, 0, &mut out);
        assert!(free <= out.len());
        sent += out.len();
    }
    let mut out = Vec::new();
    response.pass_end(0, &mut out);
    sent += out.len();
    // An empty value that is not the last becomes null.
    let grows = answer.windows(2).filter(|value| matches!(*value, b"{}" | b"[]")).count() * 2;
    assert!(sent <= answer.len() + grows, "things are taken out, none are put in");
    let mut record = empty();
    response.finish(End::Complete, &mut record);
    check_stored(&record);
}
