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
    pub(super) failure: Failure,
    /// The gateway refuses the request; else the model server has failed.
    is_rejected: bool,
}

impl Stop {
    pub(super) fn rejected(
        status: StatusCode,
        kind: &'static str,
        stage: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, failure: Failure::new(kind, stage, message), is_rejected: true }
    }

    pub(super) fn upstream(
        status: StatusCode,
        kind: &'static str,
        stage: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, failure: Failure::new(kind, stage, message), is_rejected: false }
    }

    pub(super) fn outcome(&self) -> Outcome {
        let failure = self.failure.clone();
        if self.is_rejected { Outcome::Rejected(failure) } else { Outcome::UpstreamError(failure) }
    }
}

/// The client did not go on with its body in time.
pub(super) fn too_slow(gateway: &Gateway) -> Stop {
    stopped(&Broken::Stopped(gateway.settings.client_timeout))
}

fn stopped(broken: &Broken) -> Stop {
    let message = format!("{broken}, the time that `client_timeout` sets");
    Stop::rejected(StatusCode::REQUEST_TIMEOUT, "client_timeout", "client", message)
}

/// The client did not send all of its body.
pub(super) fn broken_off(error: &hyper::Error) -> Stop {
    let message = format!("the request's body broke off: {}", root_cause(error));
    Stop::rejected(StatusCode::BAD_REQUEST, "body_incomplete", "client", message)
}

/// Why a request did not reach the model server, or no answer came.
pub(super) fn sending_failed(error: &SendError, max: u64, url: &Uri) -> Stop {
    match find::<Broken>(error) {
        Some(Broken::TooLarge(_)) => return too_large(max),
        Some(broken @ Broken::Stopped(_)) => return stopped(broken),
        Some(Broken::Client(error)) => return broken_off(error),
        None => {}
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
