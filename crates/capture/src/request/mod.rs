//! One request body.

pub(crate) mod asked;
mod form;
mod media;
mod model;
pub(crate) mod plugins;

use std::borrow::Cow;

use onrecord_proof::Record;

pub use media::Media;
pub use model::NamedModel;

use crate::body::{Body, INPUT};
use crate::{BodyHead, Dialect, Limits, coding, json};

/// Bytes of a form that are looked at at once. Clients put what is short before the file.
const PIECE: usize = 16 << 10;

/// A request body that is being received.
pub struct Request {
    body: Body,
    limits: Limits,
}

/// What a request says that decides how it is handled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The dialect that it is in, where its path alone does not tell.
    pub dialect: Dialect,
    /// True if a stream was asked for.
    pub stream: bool,
    /// The model that was asked for. Of an unknown dialect too, if its body is a JSON object or a form with a `model`.
    pub model: Option<String>,
}

impl RequestFacts {
    /// What any JSON object says; most dialects agree on these two names.
    pub(crate) fn of(json: &str) -> Self {
        let mut facts = Self::default();
        // Called for every body there is; an error only says that this one is no JSON object.
        let _ = json::members(json, |name, value| match &*name {
            "stream" => facts.stream = json::boolean(value).unwrap_or(false),
            "model" if facts.model.is_none() => {
                facts.model = json::text(value).filter(|_| model::is_name(value)).map(Into::into);
            }
            _ => {}
        });
        facts
    }
}

impl Request {
    /// An empty body.
    pub fn new(limits: Limits) -> Self {
        Self { body: Body::new(limits.body), limits }
    }

    /// Takes the next bytes of the body, as they were sent.
    pub fn push(&mut self, piece: &[u8]) {
        self.body.push(piece);
    }

    /// Records the body and what it says. A member that is not there or of another type is not set; a body that is
    /// no JSON, or cut, gives what was readable and is kept as it came. Fields that are set already and name a
    /// person or a session are left alone.
    pub fn finish(self, dialect: Dialect, head: BodyHead<'_>, record: &mut Record) -> RequestFacts {
        let decoded = coding::decode(head.content_encoding, self.body.kept(), self.limits.body);
        let read = |body: Cow<'_, [u8]>| {
            if head.content_type.is_some_and(form::is_form) {
                return RequestFacts { dialect, model: named(head.content_type, &body), ..RequestFacts::default() };
            }
            let json = json::utf8(&body);
            let dialect = dialect.spoken(&json);
            if dialect != Dialect::Unknown {
                media::record(&json, record);
            }
            RequestFacts { dialect, ..dialect.request(&json, record) }
        };
        let facts = decoded.map_or_else(|_| RequestFacts { dialect, ..RequestFacts::default() }, read);
        self.body.record(&INPUT, head, true, record);
        facts
    }
}

/// The model that a body names.
fn named(content_type: Option<&str>, body: &[u8]) -> Option<String> {
    let mut model = NamedModel::new(BodyHead { content_type, content_encoding: None });
    body.chunks(PIECE).any(|piece| model.push(piece));
    model.found().map(Into::into)
}
