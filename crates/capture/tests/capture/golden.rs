//! The records of real calls, written out.

use std::fmt::Write as _;

use onrecord_capture::Dialect;

use crate::support::{answer, cases, message, record, request, testdata, written};

#[test]
fn every_transcript_is_recorded_as_before() {
    for case in ["application/json", "text/event-stream", "text/plain"].into_iter().flat_map(cases) {
        let mut text = String::new();
        if testdata().join(format!("{case}.req")).exists() {
            let sent = message(&case, "req");
            let (_, record) = request(sent.head(), &sent.body, record());
            writeln!(text, "{}\n{}", sent.start_line, written(&record)).unwrap();
        }
        let got = answer(&case);
        write!(text, "{} {:?}\n{}", got.start_line, got.end, written(&got.recorded())).unwrap();
        insta::assert_snapshot!(case.replace('/', "__"), text);
    }
}

#[test]
fn the_dialect_is_found_in_the_request() {
    for case in cases("text/event-stream").iter().filter(|case| testdata().join(format!("{case}.req")).exists()) {
        let line = message(case, "req").start_line;
        let [method, path, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!(Dialect::of(method, path), Dialect::OpenAiChat, "{line}");
    }
}
