//! OTLP over gRPC: spans, and the log events that are taken in. Metrics are refused.

use std::sync::Arc;

use axum::extract::Request as HttpRequest;
use onrecord_ledger::Error;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::service::InterceptorLayer;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, async_trait};

use super::evaluations::NotTaken;
use super::{Ingest, NOT_TAKEN_IN, TAKES};
use crate::auth::{Denied, Identity, Role};

struct Service(Arc<Ingest>);

#[async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (identity, request) = parts(request)?;
        self.0.export_spans(request, &identity.name).await.map(Response::new).map_err(|error| unavailable(&error))
    }
}

#[async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let (identity, request) = parts(request)?;
        self.0.export_logs(request, &identity.name).await.map(Response::new).map_err(|error| match error {
            // Exporters do not try again after this status.
            NotTaken::Refused => Status::invalid_argument(error.to_string()),
            NotTaken::Log(error) => unavailable(&error),
        })
    }
}

/// Who sends what.
fn parts<T>(request: Request<T>) -> Result<(Identity, T), Status> {
    let (_, mut extensions, request) = request.into_parts();
    let identity = extensions.remove().ok_or_else(|| Status::unauthenticated("who sends it is not known"))?;
    Ok((identity, request))
}

fn denied(denied: Denied) -> Status {
    match denied {
        Denied::Role { .. } => Status::permission_denied(denied.to_string()),
        Denied::Missing | Denied::Unknown => Status::unauthenticated(denied.to_string()),
    }
}

/// Exporters try again after this status.
fn unavailable(error: &Error) -> Status {
    Status::unavailable(format!("it cannot be put on record: {error}"))
}

/// Serves until `stop`; what is being taken in is finished. A message has at most `max` bytes.
pub(crate) async fn serve(ingest: Arc<Ingest>, listener: TcpListener, max: usize, stop: CancellationToken) {
    let (room, tokens) = (ingest.layer(), Arc::clone(&ingest.tokens));
    // Before there is a place for a message and anything of it is read.
    let authorize = move |mut request: Request<()>| {
        let headers = request.metadata().clone().into_headers();
        let identity = tokens.authorize(&headers, Role::Ingest).map_err(denied)?;
        request.extensions_mut().insert(identity);
        Ok(request)
    };
    let other = Arc::clone(&ingest);
    let spans = TraceServiceServer::new(Service(Arc::clone(&ingest)))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(max);
    let logs = LogsServiceServer::new(Service(ingest))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(max);
    let routes = Routes::new(spans).add_service(logs).into_axum_router().fallback(async move |request: HttpRequest| {
        other.warn_of_other_signals(request.uri().path());
        Status::unimplemented(NOT_TAKEN_IN).into_http::<axum::body::Body>()
    });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = Server::builder()
        .timeout(TAKES)
        .layer(InterceptorLayer::new(authorize))
        .layer(room)
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(incoming, async move { stop.cancelled().await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "OTLP over gRPC has stopped");
    }
}
