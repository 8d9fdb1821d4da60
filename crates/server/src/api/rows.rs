//! The rows of a query as the body of an answer.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TRAILER};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use onrecord_lake::QueryResult;
use onrecord_lake::datafusion::arrow::array::RecordBatch;
use serde_json::json;

use super::encode::{Encoder, Format};

/// How many rows there are, in a trailer.
const ROWS: &str = "x-onrecord-rows";
/// Whether there were more, in a trailer.
const TRUNCATED: &str = "x-onrecord-truncated";

/// What becomes of more rows than may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// The answer breaks off, so that nobody takes half a result for a whole one.
    Error,
    /// They are left out, and the answer says so.
    LeftOut,
}

struct Rows {
    format: Format,
    encoder: Encoder,
    first: Option<RecordBatch>,
    result: QueryResult,
    rest: Rest,
    given: usize,
}

/// What comes next of a body.
enum Step {
    Begin(Rows),
    Batch(Rows),
    Trailers { given: usize, truncated: bool },
    BreakOff(anyhow::Error),
    Done,
}

type Piece = anyhow::Result<Frame<Bytes>>;

/// The answer with these rows.
pub(super) fn rows(
    format: Format,
    encoder: Encoder,
    first: Option<RecordBatch>,
    result: QueryResult,
    rest: Rest,
) -> Response {
    let begin = Step::Begin(Rows { format, encoder, first, result, rest, given: 0 });
    let trailers = HeaderValue::from_static("x-onrecord-rows, x-onrecord-truncated");
    let head = [(CONTENT_TYPE, HeaderValue::from_static(format.content_type())), (TRAILER, trailers)];
    (head, Body::new(StreamBody::new(pieces(begin)))).into_response()
}

fn pieces(begin: Step) -> impl Stream<Item = Piece> {
    stream::unfold(begin, |step| async move {
        Some(match step {
            Step::Begin(rows) => (Ok(data(rows.opening())), Step::Batch(rows)),
            Step::Batch(rows) => rows.next().await,
            Step::Trailers { given, truncated } => (Ok(Frame::trailers(trailers(given, truncated))), Step::Done),
            Step::BreakOff(error) => {
                // What was given before is sent when there is nothing more for the moment, and not after an error.
                tokio::task::yield_now().await;
                (Err(error), Step::Done)
            }
            Step::Done => return None,
        })
    })
}

fn data(bytes: impl Into<Bytes>) -> Frame<Bytes> {
    Frame::data(bytes.into())
}

fn trailers(given: usize, truncated: bool) -> HeaderMap {
    let truncated = HeaderValue::from_static(if truncated { "true" } else { "false" });
    HeaderMap::from_iter([
        (http::HeaderName::from_static(ROWS), given.into()),
        (http::HeaderName::from_static(TRUNCATED), truncated),
    ])
}

impl Rows {
    /// Few clients read trailers, so JSON with a limit says it in the body.
    fn wrapped(&self) -> bool {
        self.format == Format::Json && self.rest == Rest::LeftOut
    }

    fn opening(&self) -> &'static str {
        if self.wrapped() { "{\"rows\":" } else { "" }
    }

    async fn next(mut self) -> (Piece, Step) {
        let batch = match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.result.try_next().await,
        };
        let written = match batch {
            Ok(Some(batch)) => {
                self.given += batch.num_rows();
                self.encoder.write(&batch)
            }
            Ok(None) => return self.end(),
            Err(error) => Err(error.into()),
        };
        match written {
            Ok(bytes) => (Ok(data(bytes)), Step::Batch(self)),
            Err(error) => break_off(self.format, error),
        }
    }

    fn end(self) -> (Piece, Step) {
        let (truncated, wrapped, given, format) = (self.result.truncated(), self.wrapped(), self.given, self.format);
        if truncated && self.rest == Rest::Error {
            let problem = format!(
                "there are more than the {given} rows that a query may give; add a LIMIT, take fewer with `rows`, or raise `query_rows` in the configuration"
            );
            return break_off(format, anyhow::anyhow!(problem));
        }
        match self.encoder.finish() {
            Ok(bytes) if wrapped => {
                let array = bytes.trim_ascii_end();
                let body = [array, format!(",\"truncated\":{truncated}}}\n").as_bytes()].concat();
                (Ok(data(body)), Step::Trailers { given, truncated })
            }
            Ok(bytes) => (Ok(data(bytes)), Step::Trailers { given, truncated }),
            Err(error) => break_off(format, error),
        }
    }
}

/// The status is gone by then. Where an object more does no harm the reason comes before the end, which is none: the
/// connection closes in the middle of the body.
fn break_off(format: Format, error: anyhow::Error) -> (Piece, Step) {
    tracing::warn!(error = format!("{error:#}"), "the answer to a query breaks off");
    let reason = json!({ "error": { "code": "query_limit", "message": format!("{error:#}") } });
    let last = match format {
        Format::Json | Format::Jsonl => format!("{reason}\n"),
        Format::Csv | Format::Parquet | Format::Arrow => String::new(),
    };
    (Ok(data(last)), Step::BreakOff(error))
}
