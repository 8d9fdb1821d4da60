//! The body of a request, read before the model server is called: all of a small one, and of a large one as much as says which
//! model it names, where that decides which model server gets it.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use onrecord_capture::{Dialect, NamedModel};
use tokio::time::timeout;

use super::Gateway;
use super::call::Call;
use super::stop::{Stop, broken_off, too_large, too_slow};

/// A body up to here, in bytes, is read whole, so that its intent is written while the model computes, and token decisions
/// can be asked for. A larger one flows up as it comes in.
const READ_FIRST: u64 = 1 << 20;

/// What was read of a body.
#[derive(Default)]
pub(super) struct Read {
    pub pieces: VecDeque<Bytes>,
    /// Bytes of them.
    size: u64,
    /// The model that a large body names.
    pub model: Option<String>,
    /// Nothing more comes.
    pub is_whole: bool,
}

/// Looks for the model in what was read.
struct Looking {
    model: NamedModel,
    /// Pieces that were looked at.
    seen: usize,
}

impl Read {
    pub(super) fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() > 1 {
            Vec::from(self.pieces).concat().into()
        } else {
            self.pieces.pop_front().unwrap_or_default()
        }
    }

    /// Takes in what comes next.
    fn take(&mut self, frame: Option<Frame<Bytes>>, call: &mut Call) {
        let Some(frame) = frame else {
            self.is_whole = true;
            return;
        };
        if let Ok(piece) = frame.into_data() {
            self.size += piece.len() as u64;
            call.read(&piece);
            self.pieces.push_back(piece);
        }
    }
}

impl Looking {
    /// True once it is settled which model is named, or that none is.
    fn is_settled(&mut self, read: &mut Read) -> bool {
        let new = read.pieces.iter().skip(self.seen);
        let settled = new.fold(false, |_, piece| self.model.push(piece));
        self.seen = read.pieces.len();
        read.model = self.model.found().map(str::to_owned);
        settled
    }
}

/// Reads the body of `call` as far as it has to be known. Clients put `model` behind the messages, and these may hold images:
/// so as much is read for it as is kept of a body anyway (`max_captured_body`).
pub(super) async fn read(gateway: &Gateway, call: &mut Call, body: &mut Incoming) -> Result<Read, Stop> {
    let mut read = Read { is_whole: body.is_end_stream(), ..Read::default() };
    let first = read_first(call.dialect(), body);
    let mut looking: Option<Looking> = None;
    while !read.is_whole {
        if read.size > first || first == 0 {
            if call.upstream().is_some() {
                break;
            }
            let looking = looking.get_or_insert_with(|| Looking { model: NamedModel::new(call.body_head()), seen: 0 });
            if looking.is_settled(&mut read) {
                break;
            }
            if read.size > gateway.limits.body as u64 {
                return Err(not_named(gateway.limits.body));
            }
        }
        let frame = timeout(gateway.settings.client_timeout, body.frame()).await.map_err(|_| too_slow(gateway))?;
        read.take(frame.transpose().map_err(|error| broken_off(&error))?, call);
        read.is_whole |= body.is_end_stream();
        if read.size > gateway.settings.max_request_body {
            return Err(too_large(gateway.settings.max_request_body));
        }
    }
    Ok(read)
}

/// So many bytes are read before anything else is decided. A body of unknown length may be half of a conversation, in which
/// the model server answers before it ends, unless its dialect is known.
fn read_first(dialect: Dialect, body: &Incoming) -> u64 {
    match body.size_hint().upper() {
        Some(upper) if upper <= READ_FIRST => READ_FIRST,
        None if dialect != Dialect::Unknown => READ_FIRST,
        _ => 0,
    }
}

fn not_named(max: usize) -> Stop {
    let message = format!(
        "the first {max} bytes of the body do not say which `model` is asked for, so it is not known which model server it is \
         for; put `model` before the messages, raise `max_captured_body`, or use the `path_prefix` of the model server"
    );
    Stop::rejected(StatusCode::PAYLOAD_TOO_LARGE, "model_not_named", "client", message)
}
