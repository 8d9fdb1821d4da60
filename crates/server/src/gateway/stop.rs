//! Why a call goes no further.

use http::StatusCode;
use http::uri::Uri;

use super::Gateway;
use super::body::Broken;
use super::call::{Failure, Outcome};
use super::upstream::SendError;

/// What the client gets of a call that goes no further, and what is on record of it.
pub(super) struct Stop {
    pub(super) status: StatusCode,
    pub(super) outcome: Outcome,
}

impl Stop {
    pub(super) fn rejected(
        status: StatusCode,
        kind: &'static str,
        stage: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, outcome: Outcome::Rejected(Failure::new(kind, stage, message)) }
    }

    pub(super) fn upstream(
        status: StatusCode,
        kind: &'static str,
        stage: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, outcome: Outcome::UpstreamError(Failure::new(kind, stage, message)) }
    }
}

/// The client did not send its body in time.
pub(super) fn too_slow(gateway: &Gateway) -> Stop {
    let message = format!("the request's body did not arrive within {} s", gateway.settings.client_timeout.as_secs());
    Stop::rejected(StatusCode::REQUEST_TIMEOUT, "client_timeout", "client", message)
}

/// Why a request did not reach the model server, or no answer came.
pub(super) fn sending_failed(error: &SendError, max: u64, url: &Uri) -> Stop {
    match find::<Broken>(error) {
        Some(Broken::TooLarge(_)) => return too_large(max),
        Some(stopped @ Broken::Stopped(_)) => {
            return Stop::rejected(StatusCode::REQUEST_TIMEOUT, "client_timeout", "client", stopped.to_string());
        }
        _ => {}
    }
    let cause = root_cause(error);
    if matches!(error, SendError::Connect(_)) {
        let message = format!(
            "the model server at {url} cannot be reached: {cause}. Is it running? The address is `upstream` in the configuration"
        );
        return Stop::upstream(StatusCode::BAD_GATEWAY, "upstream_unreachable", "connect", message);
    }
    let message = format!("the model server at {url} broke the call off: {cause}");
    Stop::upstream(StatusCode::BAD_GATEWAY, "upstream_closed", "upstream", message)
}

pub(super) fn too_large(max: u64) -> Stop {
    let message = format!("the request's body is larger than {max} bytes, the limit that `max_request_body` sets");
    Stop::rejected(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "client", message)
}

fn find<'e, E: std::error::Error + 'static>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost error, which is the one that says something.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
