//! Answers that the gateway gives itself, in the shape that clients of each dialect already read.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use onrecord_capture::Dialect;

use super::body::ReplyBody;
use super::headers;

/// A body that is there already.
pub(crate) fn full(bytes: Bytes) -> ReplyBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Trailers need a body whose length is not told before.
pub(crate) fn with_trailers(bytes: Bytes, trailers: HeaderMap) -> ReplyBody {
    let frames = [Frame::data(bytes), Frame::trailers(trailers)];
    StreamBody::new(futures::stream::iter(frames.map(Ok))).boxed_unsync()
}

/// An error of the gateway's own. `code` is for programs, which find it in a header too, since not all dialects have one;
/// `message` says what to do.
pub(crate) fn error(dialect: Dialect, status: StatusCode, code: &'static str, message: &str) -> Response<ReplyBody> {
    let body = dialect.refusal(status.as_u16(), code, message);
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(headers::ERROR, HeaderValue::from_static(code));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
