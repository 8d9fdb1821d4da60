//! OTLP over HTTP: `POST /v1/traces` and `/v1/logs`, protobuf or JSON, as it is or compressed with gzip. Metrics are refused.

use std::io::Read as _;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::post;
use flate2::read::MultiGzDecoder;
use onrecord_capture::otlp;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use prost::Message;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::evaluations::NotTaken;
use super::{Ingest, NOT_TAKEN_IN, TAKES};
use crate::auth::{Denied, Role, names_this_machine};

/// The encodings of OTLP over HTTP. An answer is in that of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

/// `google.rpc.Status`, the body of an answer that says no.
#[derive(Clone, PartialEq, Message, serde::Serialize)]
pub(crate) struct Problem {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
}

/// What the handler knows.
#[derive(Clone)]
struct Receiver {
    ingest: Arc<Ingest>,
    max: usize,
}

impl Encoding {
    const fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let name = content_type.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json].into_iter().find(|encoding| name.eq_ignore_ascii_case(encoding.name()))
    }

    fn answer<T: Message + serde::Serialize>(self, status: StatusCode, message: &T) -> Response {
        let body = match self {
            Self::Protobuf => message.encode_to_vec(),
            // Structures of texts and numbers always have a JSON.
            Self::Json => serde_json::to_vec(message).unwrap_or_default(),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.name()));
        response
    }

    fn problem(self, status: StatusCode, code: tonic::Code, message: impl Into<String>) -> Response {
        self.answer(status, &Problem { code: code.into(), message: message.into() })
    }
}

/// A kind of export request.
trait Signal: Message + serde::de::DeserializeOwned + Default + Send + 'static {
    type Answer: Message + serde::Serialize;

    /// Puts it on record, in the name of `principal`.
    fn take(self, ingest: &Arc<Ingest>, principal: &str)
    -> impl Future<Output = Result<Self::Answer, NotTaken>> + Send;
}

impl Signal for ExportTraceServiceRequest {
    type Answer = ExportTraceServiceResponse;

    async fn take(self, ingest: &Arc<Ingest>, principal: &str) -> Result<Self::Answer, NotTaken> {
        Ok(ingest.export_spans(self, principal).await?)
    }
}

impl Signal for ExportLogsServiceRequest {
    type Answer = ExportLogsServiceResponse;

    async fn take(self, ingest: &Arc<Ingest>, principal: &str) -> Result<Self::Answer, NotTaken> {
        ingest.export_logs(self, principal).await
    }
}

async fn export<T: Signal>(State(receiver): State<Receiver>, request: Request) -> Response {
    let headers = request.headers().clone();
    let Some(encoding) = Encoding::of(&headers) else {
        let message = "the content type must be application/x-protobuf or application/json";
        return Encoding::Json.problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, tonic::Code::InvalidArgument, message);
    };
    if receiver.ingest.tokens.is_empty()
        && let Err(problem) = names_this_machine(&headers)
    {
        return encoding.problem(StatusCode::FORBIDDEN, tonic::Code::PermissionDenied, problem);
    }
    let identity = match receiver.ingest.tokens.authorize(&headers, Role::Ingest) {
        Ok(identity) => identity,
        Err(denied @ Denied::Role { .. }) => {
            return encoding.problem(StatusCode::FORBIDDEN, tonic::Code::PermissionDenied, denied.to_string());
        }
        Err(denied) => {
            return encoding.problem(StatusCode::UNAUTHORIZED, tonic::Code::Unauthenticated, denied.to_string());
        }
    };
    let refuse = |(status, problem)| encoding.problem(status, tonic::Code::InvalidArgument, problem);
    let body = match timeout(TAKES, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            return refuse(too_large(receiver.max));
        }
        Ok(Err(rejection)) => return refuse((rejection.status(), rejection.body_text())),
        Err(_) => return refuse((StatusCode::REQUEST_TIMEOUT, format!("the body did not come within {TAKES:?}"))),
    };
    // Some MiB take longer than other tasks should wait.
    let decoded = tokio::task::spawn_blocking(move || decode::<T>(encoding, &headers, body, receiver.max)).await;
    let request = match decoded {
        Ok(Ok(request)) => request,
        Ok(Err(problem)) => return refuse(problem),
        Err(_) => return refuse((StatusCode::BAD_REQUEST, "the body cannot be decoded".to_owned())),
    };
    match request.take(&receiver.ingest, &identity.name).await {
        Ok(answer) => encoding.answer(StatusCode::OK, &answer),
        // Exporters do not try again after 400.
        Err(refused @ NotTaken::Refused) => refuse((StatusCode::BAD_REQUEST, refused.to_string())),
        Err(NotTaken::Log(error)) => {
            let message = format!("it cannot be put on record: {error}");
            let mut response = encoding.problem(StatusCode::SERVICE_UNAVAILABLE, tonic::Code::Unavailable, message);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

/// Metrics. Exporters do not try again after 404, and write it down, some without the message.
async fn other_signals(State(receiver): State<Receiver>, request: Request) -> Response {
    receiver.ingest.warn_of_other_signals(request.uri().path());
    refuse_path(request.headers(), NOT_TAKEN_IN)
}

async fn elsewhere(request: Request) -> Response {
    let path = request.uri().path();
    refuse_path(
        request.headers(),
        format!("there is nothing at {path:?}; spans are taken in at /v1/traces, evaluation results at /v1/logs"),
    )
}

fn refuse_path(headers: &HeaderMap, message: impl Into<String>) -> Response {
    let encoding = Encoding::of(headers).unwrap_or(Encoding::Json);
    encoding.problem(StatusCode::NOT_FOUND, tonic::Code::Unimplemented, message)
}

/// The status of an answer and why it is none of success.
type Refusal = (StatusCode, String);

fn too_large(max: usize) -> Refusal {
    let why =
        format!("the body is larger than {max} bytes, the limit that `ingest.max_body` sets; send smaller batches");
    (StatusCode::PAYLOAD_TOO_LARGE, why)
}

fn decode<T: Signal>(encoding: Encoding, headers: &HeaderMap, body: Bytes, max: usize) -> Result<T, Refusal> {
    let body = match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => body,
        Some(b"gzip") => unpack(&body, max)?.into(),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            let why = format!("the content encoding {other:?} is not understood; send it as it is, or with gzip");
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
    };
    let request = match encoding {
        Encoding::Protobuf => otlp::from_protobuf(&body),
        Encoding::Json => otlp::from_json(&body),
    };
    request.map_err(|problem| (StatusCode::BAD_REQUEST, problem.to_string()))
}

/// Undoes gzip, up to `max` bytes.
fn unpack(body: &[u8], max: usize) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::new();
    let read = MultiGzDecoder::new(body).take(max as u64 + 1).read_to_end(&mut unpacked);
    read.map_err(|error| (StatusCode::BAD_REQUEST, format!("the body is not what gzip makes: {error}")))?;
    if unpacked.len() > max { Err(too_large(max)) } else { Ok(unpacked) }
}

/// Serves until `stop`; what is being taken in is finished. A body has at most `max` bytes, packed or not.
pub(crate) async fn serve(ingest: Arc<Ingest>, listener: TcpListener, max: usize, stop: CancellationToken) {
    let room = ingest.layer();
    let router = Router::new()
        .route("/v1/traces", post(export::<ExportTraceServiceRequest>))
        .route("/v1/logs", post(export::<ExportLogsServiceRequest>))
        .route("/v1/metrics", post(other_signals))
        .fallback(elsewhere)
        .layer(DefaultBodyLimit::max(max))
        .layer(room)
        .with_state(Receiver { ingest, max });
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await }).await;
    if let Err(error) = served {
        tracing::error!(%error, "OTLP over HTTP has stopped");
    }
}
