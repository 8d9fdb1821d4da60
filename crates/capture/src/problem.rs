//! Why an answer could not be parsed, and how that is recorded.

use onrecord_proof::{Record, field};

/// What keeps an answer from being parsed, in words for the record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("the answer is empty")]
    Empty,
    #[error("the answer is not JSON: {0}")]
    NotJson(serde_json::Error),
    #[error("the answer has neither content nor an error")]
    NoAnswer,
    #[error("the stream ended without its last event and without a finish reason")]
    NoEnd,
    #[error("{count} of the events cannot be parsed; the first, event {first}: {why}")]
    Events { count: u64, first: u64, why: String },
    #[error("content encoding `{0}` is not supported")]
    Encoding(String),
    #[error("the compressed data is damaged")]
    Damaged,
    #[error("the answer is longer than the {0} bytes that are kept")]
    TooLong(usize),
}

impl Problem {
    /// True if everything that came was understood all the same.
    const fn is_remark(&self) -> bool {
        matches!(self, Self::NoEnd)
    }
}

/// Records if the answer was parsed, or that nobody tried. True if it was, so that the record has all of it.
pub(crate) fn record_capture(result: Option<Result<(), Problem>>, record: &mut Record) -> bool {
    let capture = match &result {
        None => "passthrough",
        Some(Err(problem)) if !problem.is_remark() => "unparsed",
        Some(_) => "parsed",
    };
    record.set(&field::CAPTURE, capture);
    if let Some(Err(problem)) = result {
        record.set(&field::CAPTURE_PROBLEM, problem.to_string());
    }
    capture == "parsed"
}
