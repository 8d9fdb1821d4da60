//! Answers that the gateway gives itself, in the error shape of the OpenAI API, which clients already read.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::json;

use super::body::ReplyBody;

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> ReplyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Trailers need a body whose length is not told before.
pub(crate) fn with_trailers(bytes: Bytes, trailers: HeaderMap) -> ReplyBody {
    let frames = [Frame::data(bytes), Frame::trailers(trailers)];
    StreamBody::new(futures::stream::iter(frames.map(Ok))).boxed_unsync()
}

/// An error of the gateway's own. `code` is for programs, `message` says what to do.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response<ReplyBody> {
    let body = json!({ "error": { "message": message, "type": "onrecord_error", "code": code, "param": null } });
    let mut response = Response::new(full(body.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
