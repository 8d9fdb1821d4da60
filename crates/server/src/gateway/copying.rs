//! The copy of a request's body that its record is made of. The call has it, whatever becomes of the request; while a large
//! body flows up, whoever sends it goes on with the copy.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use onrecord_capture::{BodyHead, Limits, Request};

use super::forward::str_of;

/// A body as far as it has come, and what its head says of it.
pub(super) struct Copying {
    copy: Copy,
    pub(super) head: Head,
}

/// A [`BodyHead`] of its own.
pub(super) struct Head {
    content_type: Option<HeaderValue>,
    content_encoding: Option<HeaderValue>,
}

enum Copy {
    Own(Request),
    Shared(Shared),
}

/// A copy that two have. Empty once it is in the record.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Option<Request>>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Request>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next bytes of the body have come.
    pub(crate) fn push(&self, piece: &[u8]) {
        if let Some(request) = self.lock().as_mut() {
            request.push(piece);
        }
    }
}

impl Head {
    pub(super) fn borrow(&self) -> BodyHead<'_> {
        BodyHead {
            content_type: str_of(self.content_type.as_ref()),
            content_encoding: str_of(self.content_encoding.as_ref()),
        }
    }
}

impl Copying {
    /// Nothing has come of a body with these headers.
    pub(super) fn new(limits: Limits, headers: &HeaderMap) -> Self {
        let of = |name| headers.get(name).cloned();
        let head = Head { content_type: of(CONTENT_TYPE), content_encoding: of(CONTENT_ENCODING) };
        Self { copy: Copy::Own(Request::new(limits)), head }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        match &mut self.copy {
            Copy::Own(request) => request.push(piece),
            Copy::Shared(shared) => shared.push(piece),
        }
    }

    /// The same with a copy that somebody else goes on with.
    pub(super) fn share(self) -> (Self, Shared) {
        let shared = match self.copy {
            Copy::Own(request) => Shared(Arc::new(Mutex::new(Some(request)))),
            Copy::Shared(shared) => shared,
        };
        (Self { copy: Copy::Shared(shared.clone()), head: self.head }, shared)
    }

    /// The copy as far as it has come, to be put into the record. What comes later is in none.
    pub(super) fn end(self) -> Option<(Request, Head)> {
        let request = match self.copy {
            Copy::Own(request) => Some(request),
            Copy::Shared(shared) => shared.lock().take(),
        };
        request.map(|request| (request, self.head))
    }
}
