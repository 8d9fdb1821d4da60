//! What others tell of themselves: spans over OTLP, model servers when they are asked, model files.

use onrecord_capture::otlp::{self, Span};
use onrecord_capture::serving::{Server, Told, gguf as file};
use onrecord_proof::{Kind, Record};
use prost::Message as _;
use uuid::Uuid;

use crate::capture::{check_stored, empty};

pub(crate) fn otlp_json(bytes: &[u8]) {
    if let Ok(request) = otlp::from_json(bytes) {
        otlp::spans(&request).for_each(|span| check_span(&span));
        // The same spans in the other encoding.
        otlp::from_protobuf(&request.encode_to_vec()).expect("what can be written can be read");
    }
}

pub(crate) fn otlp_protobuf(bytes: &[u8]) {
    if let Ok(request) = otlp::from_protobuf(bytes) {
        otlp::spans(&request).for_each(|span| check_span(&span));
    }
}

/// Whatever a span says becomes records that can be stored.
fn check_span(span: &Span<'_>) {
    let _ = (span.key(), span.parent(), span.is_model_call(), span.lacks_content(), span.origin(), span.started_at());
    let new = |kind| Record::new(Uuid::nil(), kind, 0, [7; 32]);
    for record in span.records(None, new) {
        check_stored(&record);
    }
    for evaluation in span.evaluations() {
        let mut record = new(Kind::Feedback);
        evaluation.record(Uuid::nil(), &mut record);
        check_stored(&record);
    }
}

/// The first byte chooses the server; behind it its answers in the order in which it is asked, with a zero between.
pub(crate) fn serving(bytes: &[u8]) {
    let Some((server, bodies)) = bytes.split_first() else { return };
    let server = Server::ALL[usize::from(*server) % Server::ALL.len()];
    let called = ["m".to_owned()];
    let mut bodies = bodies.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let mut told: Vec<_> = server.asks().into_iter().zip(&mut bodies).map(|(ask, body)| Told { ask, body }).collect();
    for told in &told {
        let _ = Server::detect(told);
    }
    let more = server.more(&told, &called);
    told.extend(more.into_iter().zip(bodies).map(|(ask, body)| Told { ask, body }));
    for setup in server.setups(&told, &called) {
        let mut record = empty();
        setup.record(&mut record);
        check_stored(&record);
    }
}

pub(crate) fn gguf(bytes: &[u8]) {
    if let Ok(header) = file::read(bytes) {
        assert!(header.parameters.is_none_or(|parameters| parameters >= 0));
    }
}
