//! The beginning of a large body, read for the model that it names where that decides which model server gets it.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use onrecord_capture::{BodyHead, NamedModel, Request};
use tokio::time::timeout;

use super::Gateway;
use super::stop::{Stop, too_large, too_slow};

/// What was read of a body.
#[derive(Default)]
pub(super) struct Peeked {
    pub pieces: VecDeque<Bytes>,
    /// Bytes of them.
    pub size: u64,
    pub model: Option<String>,
    /// Nothing more comes.
    pub is_whole: bool,
}

impl Peeked {
    pub(super) fn into_bytes(self) -> Bytes {
        Vec::from(self.pieces).concat().into()
    }
}

/// Reads a body until it is known which model it names, or that it names none. No more is read than is kept of a body
/// anyway (`max_captured_body`): clients put `model` behind the messages, and these may hold images.
pub(super) async fn read(
    gateway: &Gateway,
    body: &mut Incoming,
    copy: &mut Request,
    head: BodyHead<'_>,
) -> Result<Peeked, Stop> {
    let (mut peeked, mut looking) = (Peeked::default(), NamedModel::new(head));
    let (max, peek_max) = (gateway.settings.max_request_body, gateway.limits.body as u64);
    loop {
        let frame = timeout(gateway.settings.client_timeout, body.frame()).await.map_err(|_| too_slow(gateway))?;
        let frame = frame.transpose().map_err(|error| {
            let message = format!("the request's body broke off: {error}");
            Stop::rejected(StatusCode::BAD_REQUEST, "body_incomplete", "client", message)
        })?;
        let Some(frame) = frame else {
            peeked.is_whole = true;
            break;
        };
        let Ok(piece) = frame.into_data() else { continue };
        peeked.size += piece.len() as u64;
        copy.push(&piece);
        let settled = looking.push(&piece);
        peeked.pieces.push_back(piece);
        if peeked.size > max {
            return Err(too_large(max));
        }
        if settled {
            break;
        }
        if peeked.size > peek_max {
            return Err(not_named(peek_max));
        }
    }
    peeked.model = looking.found().map(str::to_owned);
    Ok(peeked)
}

fn not_named(max: u64) -> Stop {
    let message = format!(
        "the first {max} bytes of the body do not say which `model` is asked for, so it is not known which model server it is \
         for; put `model` before the messages, raise `max_captured_body`, or use the `path_prefix` of the model server"
    );
    Stop::rejected(StatusCode::PAYLOAD_TOO_LARGE, "model_not_named", "client", message)
}
