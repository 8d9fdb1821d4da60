//! Nothing that is sent makes a parser panic or lose count.

use std::sync::LazyLock;

use onrecord_capture::{BodyHead, Dialect, End, Limits};
use onrecord_proof::{Record, field};
use proptest::prelude::*;

use crate::support::{answer, cases, feed, record, request_in, streams};

static CASES: LazyLock<Vec<String>> =
    LazyLock::new(|| streams().into_iter().chain(cases("application/json")).collect());

fn head() -> impl Strategy<Value = (Option<&'static str>, Option<&'static str>)> {
    let types = [
        None,
        Some("text/event-stream"),
        Some("application/json"),
        Some("Text/Event-Stream; charset=x"),
        Some("application/x-ndjson"),
    ];
    let encodings = [None, Some("gzip"), Some("deflate"), Some("br")];
    (prop::sample::select(types.to_vec()), prop::sample::select(encodings.to_vec()))
}

/// Bytes that look a little like an answer.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "data:",
        "data: ",
        "\n",
        "\n\n",
        "\r\n",
        "[DONE]",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "null",
        "1e9",
        "\"",
        "\\",
        "\\ud800",
        "\"choices\":",
        "\"delta\":",
        "\"content\":",
        "\"tool_calls\":",
        "\"index\":",
        "\"usage\":",
        "\"error\":",
        "\"x\"",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n",
        "event: error\n",
        "event: message_stop\n",
        "event: response.completed\n",
        "event: response.output_text.delta\n",
        "event: content_block_delta\n",
        "\"type\":\"text\"",
        "\"response\":",
        "\"message\":",
        "\"output\":",
        "\"item\":",
        "\"content_block\":",
        "\"embeddings\":",
        "\"stop\":true",
        "\"done\":true",
        "event: chat.end\n",
        "event: message.delta\n",
        "event: tool_call.start\n",
        "\"result\":",
        "\"generated_text\":",
        "\"token\":",
        "{\"message\":{\"content\":\"a\"},\"done\":false}\n",
        "\u{feff}",
        "ü",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn check(record: &Record, body: &[u8]) {
    assert_eq!(record.int(&field::OUTPUT_SIZE), i64::try_from(body.len()).ok());
    assert!(record.text(&field::CAPTURE).is_some());
    assert_eq!(&Record::from_bytes(&record.to_bytes()).unwrap(), record);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_answer(
        (content_type, content_encoding) in head(),
        body in bytes(),
        size in 1_usize..40,
        status in prop::sample::select(vec![200_u16, 204, 400, 500]),
        limit in prop::sample::select(vec![0_usize, 1, 50, 1 << 20]),
        cut_off in any::<bool>(),
    ) {
        let head = BodyHead { content_type, content_encoding };
        let end = if cut_off { End::CutOff } else { End::Complete };
        let limits = Limits { body: limit, keep_raw_stream: cut_off };
        let pieces: Vec<_> = body.chunks(size).collect();
        for dialect in Dialect::ALL {
            let fed = feed(*dialect, status, head, limits, &pieces, end);
            prop_assert_eq!([fed.released, fed.held].concat(), body.clone());
            check(&fed.record, &body);
        }
    }

    #[test]
    fn any_request((content_type, content_encoding) in head(), body in bytes()) {
        for dialect in Dialect::ALL {
            let (_, record) = request_in(*dialect, BodyHead { content_type, content_encoding }, &body, record());
            prop_assert_eq!(record.int(&field::INPUT_SIZE), i64::try_from(body.len()).ok());
        }
    }

    #[test]
    fn a_real_answer_with_a_byte_changed(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut message = answer(&CASES[which.index(CASES.len())]);
        let at = at.index(message.body.len());
        message.body[at] = byte;
        check(&message.recorded(), &message.body);
    }
}

/// Deep nesting would use up the stack of a parser that recurses.
#[test]
fn deep_nesting() {
    for open in ["[", "{\"error\":", "{\"choices\":[", "{\"choices\":[{\"delta\":", "{\"messages\":["] {
        let deep = open.repeat(50_000);
        for dialect in Dialect::ALL {
            let (_, _) = request_in(*dialect, BodyHead::default(), deep.as_bytes(), record());
            for (content_type, body) in [
                ("text/event-stream", format!("data: {deep}\n\n")),
                ("application/x-ndjson", format!("{deep}\n")),
                ("application/json", deep.clone()),
            ] {
                let head = BodyHead { content_type: Some(content_type), content_encoding: None };
                let fed = feed(*dialect, 200, head, Limits::default(), &[body.as_bytes()], End::Complete);
                check(&fed.record, body.as_bytes());
            }
        }
    }
}
