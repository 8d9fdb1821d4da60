//! What others tell of themselves: spans over OTLP, model servers when they are asked, model files.

use onrecord_capture::otlp::{self, LogEvent, Span};
use onrecord_capture::serving::{Server, Told, gguf as file};
use onrecord_proof::{Kind, Record};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use uuid::Uuid;

use crate::capture::{check_stored, empty};

pub(crate) fn otlp_json(bytes: &[u8]) {
    if let Ok(request) = otlp::from_json(bytes) {
        otlp::spans(&request).for_each(|span| check_span(&span));
        // The same spans in the other encoding.
        let _: ExportTraceServiceRequest =
            otlp::from_protobuf(&request.encode_to_vec()).expect("what can be written can be read");
    }
}

pub(crate) fn otlp_protobuf(bytes: &[u8]) {
    if let Ok(request) = otlp::from_protobuf(bytes) {
        otlp::spans(&request).for_each(|span| check_span(&span));
    }
}

pub(crate) fn otlp_logs(bytes: &[u8]) {
    if let Ok(request) = otlp::from_json::<ExportLogsServiceRequest>(bytes) {
        otlp::log_events(&request).for_each(|event| check_event(&event));
        let again: ExportLogsServiceRequest =
            otlp::from_protobuf(&request.encode_to_vec()).expect("what can be written can be read");
        assert!(
            otlp::log_events(&request).map(|event| event.key()).eq(otlp::log_events(&again).map(|event| event.key()))
        );
    }
    if let Ok(request) = otlp::from_protobuf::<ExportLogsServiceRequest>(bytes) {
        otlp::log_events(&request).for_each(|event| check_event(&event));
    }
}

fn check_event(event: &LogEvent<'_>) {
    let Some(evaluation) = event.evaluation() else { return };
    let _ = (evaluation.span(), evaluation.response_id(), evaluation.made_at());
    let mut record = Record::new(Uuid::nil(), Kind::Feedback, 0, [7; 32]);
    evaluation.record(Some(Uuid::nil()), &mut record);
    event.record_rest(&mut record);
    check_stored(&record);
}

/// Whatever a span says becomes records that can be stored.
fn check_span(span: &Span<'_>) {
    let _ = (span.key(), span.parent(), span.is_model_call(), span.lacks_content(), span.origin(), span.started_at());
    let new = |kind| Record::new(Uuid::nil(), kind, 0, [7; 32]);
    for record in span.records(None, new) {
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
