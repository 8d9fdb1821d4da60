//! Where a stream is cut makes no difference, and its end never flows early.

use std::sync::LazyLock;

use onrecord_capture::{Dialect, End, Limits};
use onrecord_proof::Record;
use proptest::prelude::*;

use crate::support::{EVENTS, Message, answer, feed, streams, without_times};

static STREAMS: LazyLock<Vec<String>> = LazyLock::new(streams);

/// Feeds an answer in pieces and checks all that must not depend on them.
fn check(case: &str, message: &Message, expect: &Record, pieces: &[&[u8]]) {
    let fed = feed(message.dialect, message.status(), message.head(), Limits::default(), pieces, message.end);
    assert!(&without_times(fed.record) == expect, "{case}: pieces change the record");
    assert_eq!([fed.released.as_slice(), &fed.held].concat(), message.body, "{case}");
    assert_eq!(fed.released.len(), message.last_event(), "{case}: all before the last event, no more");
}

#[test]
fn cut_once_at_every_byte() {
    for case in streams() {
        let message = answer(&case);
        let expect = without_times(message.recorded());
        // Long streams repeat themselves; their ends are what differs.
        let from = message.body.len().saturating_sub(if message.body.len() > 5000 { 200 } else { 600 });
        for at in from..=message.body.len() {
            let (one, other) = message.body.split_at(at);
            check(&case, &message, &expect, &[one, other]);
        }
    }
}

#[test]
fn cut_at_every_byte() {
    for case in streams() {
        let message = answer(&case);
        let pieces: Vec<_> = message.body.chunks(1).collect();
        check(&case, &message, &without_times(message.recorded()), &pieces);
    }
}

/// A gateway moves them between threads.
#[test]
fn parsers_can_be_sent() {
    fn sent<T: Send>() {}
    sent::<onrecord_capture::Request>();
    sent::<onrecord_capture::Response>();
}

#[test]
fn no_token_waits() {
    let message = answer("vllm/chat_stream");
    let lines: Vec<_> = message.body.split_inclusive(|byte| *byte == b'\n').collect();
    let mut response = onrecord_capture::Response::new(Dialect::OpenAiChat, 200, EVENTS, Limits::default());
    for line in lines {
        let is_token = line.starts_with(b"data: {");
        let free = response.push(line, 0);
        assert!(!is_token || free == line.len());
        assert!(!line.starts_with(b"data: [DONE]") || (free == 0 && response.has_ended()));
    }
}

#[test]
fn every_line_ending_gives_the_same_messages() {
    let message = answer("llama-server/chat_stream_tools");
    let text = String::from_utf8(message.body.clone()).unwrap();
    let feed = |text: String| {
        let pieces: Vec<_> = text.as_bytes().chunks(10).collect();
        let fed = feed(Dialect::OpenAiChat, 200, EVENTS, Limits::default(), &pieces, End::Complete);
        assert!(fed.held.starts_with(b"data: [DONE]"));
        fed.record.get(&onrecord_proof::field::OUTPUT_MESSAGES).cloned().unwrap()
    };
    let expect = feed(text.clone());
    assert_eq!(feed(text.replace('\n', "\r\n")), expect);
    assert_eq!(feed(text.replace('\n', "\r")), expect);
    assert_eq!(feed("\u{feff}: hello\n".to_owned() + &text.replace("data: {", "id: 1\ndata:{")), expect);
}

proptest! {
    #[test]
    fn cut_anywhere(which in any::<prop::sample::Index>(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20)) {
        let case = &STREAMS[which.index(STREAMS.len())];
        let message = answer(case);
        let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(message.body.len() + 1)).collect();
        at.extend([0, message.body.len()]);
        at.sort_unstable();
        let pieces: Vec<_> = at.windows(2).map(|ends| &message.body[ends[0]..ends[1]]).collect();
        check(case, &message, &without_times(message.recorded()), &pieces);
    }
}
