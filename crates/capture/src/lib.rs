//! Wire dialects of model servers as parsers without I/O: bytes in, records out.
//!
//! A [`Request`] and a [`Response`] are fed the bytes of one body as they pass, in pieces of any size, and fill the
//! fields of a [`Record`](onrecord_proof::Record) at the end. Nothing here waits, opens or reads a clock, and nothing
//! that was sent can make it fail: what is not understood is kept as it came, and the record says why.
//!
//! The way of one body: [`Request::push`] and [`Response::push`] hash it and keep a bounded copy (`body`), undo
//! `Content-Encoding` (`coding`), cut a stream into events and decide how much of it may go on to the client (`stream`),
//! and hand the events to the dialect's reader (`wire`; one module for each dialect, listed in `dialect`), which puts
//! together what they add up to (`answer`).
//!
//! Spans come in whole and have a way of their own: [`otlp`]. An answer that is generated in the same process, without a
//! wire, is taken token by token: [`Generated`].
//!
//! Memory is bounded by [`Limits::body`]: a few times that number for one body, however long it is.

mod answer;
mod anthropic;
mod body;
mod budget;
mod coding;
mod decisions;
mod dialect;
mod error;
mod generated;
mod injection;
mod json;
mod list;
mod llamacpp;
mod lmstudio;
mod ollama;
mod openai;
pub mod otlp;
mod problem;
mod refusal;
mod request;
mod response;
mod scan;
pub mod serving;
mod sglang;
mod stream;
mod tgi;
mod timings;
mod wire;

pub use decisions::{Candidate, StoredDecisions, Token};
pub use dialect::Dialect;
pub use generated::Generated;
pub use injection::{Ask, Undo};
pub use request::plugins::{DECLARED, declare};
pub use request::{Media, NamedModel, Request, RequestFacts};
pub use response::Response;
pub use timings::{TIMING_HEADERS, record_timing_headers};

/// How much of a body is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that are kept of one body, of the decoded copy of a compressed one, and of what a stream adds up to, where
    /// token decisions have as many for themselves. Sizes and digests are of the whole body.
    pub body: usize,
    /// Keep the bytes of an event stream as well as what it added up to.
    pub keep_raw_stream: bool,
}

impl Default for Limits {
    /// 16 MiB, and streams only as what they added up to.
    fn default() -> Self {
        Self { body: 16 << 20, keep_raw_stream: false }
    }
}

/// What the head of a message says of its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyHead<'a> {
    /// `Content-Type`, as it was sent.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`, as it was sent.
    pub content_encoding: Option<&'a str>,
}

impl BodyHead<'_> {
    /// True if the body is a stream of events or lines, which flows as it comes, and not one value.
    pub fn announces_stream(&self) -> bool {
        self.content_type.and_then(stream::Framing::of).is_some()
    }
}

/// How a response ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model server sent all of it.
    Complete,
    /// The model server ended it early.
    CutOff,
    /// The client ended it early.
    Cancelled,
}
