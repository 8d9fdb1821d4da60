//! Compressed bodies: recorded as they came, parsed as what they mean.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use onrecord_capture::{BodyHead, Dialect, End, Limits, RequestFacts};
use onrecord_proof::{Record, field};

use crate::support::{JSON, answer, cases, feed, message, record, record_of, request, streams};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn brotli(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    brotli::CompressorWriter::new(&mut bytes, 4096, 5, 22).write_all(body).unwrap();
    bytes
}

/// A stream as servers compress it: flushed after each event. The pieces, one an event.
fn gzip_events(body: &[u8], separator: &str) -> Vec<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut pieces = Vec::new();
    for event in String::from_utf8(body.to_vec()).unwrap().split_inclusive(separator) {
        encoder.write_all(event.as_bytes()).unwrap();
        encoder.flush().unwrap();
        pieces.push(std::mem::take(encoder.get_mut()));
    }
    pieces.push(encoder.finish().unwrap());
    pieces
}

fn with<'a>(content_type: &'a str, encoding: &'a str) -> BodyHead<'a> {
    BodyHead { content_type: Some(content_type), content_encoding: Some(encoding) }
}

/// The fields that say what an answer means, and not how it came.
fn meaning(record: &Record) -> Vec<Option<onrecord_proof::Value>> {
    let fields = [
        &field::OUTPUT_MESSAGES,
        &field::OUTPUT_TEXT,
        &field::OUTPUT_REASONING,
        &field::FINISH_REASONS,
        &field::LOGPROBS,
        &field::OUTPUT_TOKENS,
        &field::RESPONSE_ID,
        &field::TIMINGS,
        &field::ERROR_MESSAGE,
        &field::CAPTURE,
    ];
    fields.into_iter().map(|field| record.get(field).cloned()).collect()
}

#[test]
fn whole_answers() {
    for case in cases("application/json") {
        let plain = answer(&case);
        let zstd = zstd::encode_all(&plain.body[..], 3).unwrap();
        for (encoding, body) in [("gzip", gzip(&plain.body)), ("br", brotli(&plain.body)), ("zstd", zstd)] {
            let (head, pieces) = (with("application/json", encoding), [body.as_slice()]);
            let record = feed(plain.dialect, plain.status(), head, Limits::default(), &pieces, End::Complete).record;
            assert_eq!(meaning(&record), meaning(&plain.recorded()), "{case}");
            assert_eq!(record.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(&body[..]), "{case}");
            assert_eq!(record.text(&field::OUTPUT_ENCODING), Some(encoding));
        }
    }
}

/// A stream as servers compress it with each of these: flushed after each event.
fn events_in(encoding: &str, body: &[u8], separator: &str) -> Vec<Vec<u8>> {
    match encoding {
        "br" => flushed(brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22), body, separator, |writer| {
            std::mem::take(writer.get_mut())
        }),
        _ => flushed(zstd::Encoder::new(Vec::new(), 3).unwrap(), body, separator, |writer| {
            std::mem::take(writer.get_mut())
        }),
    }
}

/// The pieces, one an event.
fn flushed<W: std::io::Write>(
    mut encoder: W,
    body: &[u8],
    separator: &str,
    mut take: impl FnMut(&mut W) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    for event in String::from_utf8(body.to_vec()).unwrap().split_inclusive(separator) {
        encoder.write_all(event.as_bytes()).unwrap();
        encoder.flush().unwrap();
        pieces.push(take(&mut encoder));
    }
    pieces
}

#[test]
fn streams_in_brotli_and_zstd_flow_too() {
    for case in streams() {
        let plain = answer(&case);
        for encoding in ["br", "zstd"] {
            let pieces = events_in(encoding, &plain.body, plain.separator());
            let refs: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
            let head = with(plain.header("content-type").unwrap(), encoding);
            let fed = feed(plain.dialect, 200, head, Limits::default(), &refs, plain.end);
            assert_eq!(meaning(&fed.record), meaning(&plain.recorded()), "{case} in {encoding}");
            assert_eq!(fed.held.is_empty(), plain.last_event() == plain.body.len(), "{case} in {encoding}");
        }
    }
}

#[test]
fn streams_flow_up_to_the_piece_with_the_end() {
    for case in streams() {
        let plain = answer(&case);
        let start = std::str::from_utf8(&plain.body[..plain.last_event()]).unwrap();
        let free = start.matches(plain.separator()).count();
        let pieces = gzip_events(&plain.body, plain.separator());
        let refs: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
        let head = with(plain.header("content-type").unwrap(), "gzip");
        let fed = feed(plain.dialect, 200, head, Limits::default(), &refs, plain.end);
        assert_eq!(meaning(&fed.record), meaning(&plain.recorded()), "{case}");
        let free = if plain.last_event() < plain.body.len() { free } else { refs.len() };
        assert_eq!(fed.released, refs[..free].concat(), "{case}");
        assert_eq!(fed.held, refs[free..].concat(), "{case}");
    }
}

#[test]
fn a_stream_whose_end_cannot_be_seen_is_held() {
    let body = answer("vllm/chat_stream").body;
    for (encoding, problem) in
        [("compress", "content encoding `compress` is not supported"), ("gzip", "the compressed data is damaged")]
    {
        let head = with("text/event-stream", encoding);
        let fed = feed(Dialect::OpenAiChat, 200, head, Limits::default(), &[&body], End::Complete);
        assert_eq!((fed.released.len(), fed.held.len()), (0, body.len()));
        assert_eq!(fed.record.text(&field::CAPTURE), Some("unparsed"));
        assert_eq!(fed.record.text(&field::CAPTURE_PROBLEM), Some(problem));
        assert_eq!(fed.record.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(&body[..]));
    }
}

#[test]
fn requests() {
    let sent = message("vllm/chat_stream", "req").body;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&sent).unwrap();
    let zstd = zstd::encode_all(&sent[..], 3).unwrap();
    for (encoding, body) in
        [("gzip", gzip(&sent)), ("deflate", zlib.finish().unwrap()), ("zstd", zstd), ("br", brotli(&sent))]
    {
        let (facts, record) = request(with("application/json", encoding), &body, record());
        assert!(facts.stream);
        assert_eq!(record.text(&field::REQUEST_MODEL), Some("tiny-pydoc"));
        assert_eq!(record.text(&field::INPUT_TEXT), Some("Hello!"));
        assert_eq!(record.get(&field::INPUT_BODY).unwrap().as_bytes(), Some(&body[..]));
        assert_eq!(record.text(&field::INPUT_ENCODING), Some(encoding));
    }
}

#[test]
fn a_bomb_does_not_go_off() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let (facts, sent) = request(with("application/json", "gzip"), &bomb, record());
    assert_eq!(
        (facts, sent.int(&field::INPUT_SIZE)),
        (RequestFacts { dialect: Dialect::OpenAiChat, ..RequestFacts::default() }, i64::try_from(bomb.len()).ok())
    );
    let whole = record_of(200, with("application/json", "gzip"), &bomb);
    let problem = whole.text(&field::CAPTURE_PROBLEM).unwrap();
    assert_eq!(problem, "the answer is longer than the 16777216 bytes that are kept");
    let limits = Limits { body: 1 << 10, ..Limits::default() };
    let head = with("text/event-stream", "gzip");
    let fed = feed(Dialect::OpenAiChat, 200, head, limits, &[&bomb], End::Complete);
    assert_eq!((fed.released.len(), fed.record.text(&field::CAPTURE)), (0, Some("unparsed")));
    assert_eq!(record_of(200, JSON, "").text(&field::CAPTURE_PROBLEM), Some("the answer is empty"));
}
