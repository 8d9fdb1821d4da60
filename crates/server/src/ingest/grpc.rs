//! OTLP over gRPC. Logs and metrics are refused.

use std::sync::Arc;

use axum::extract::Request as HttpRequest;
use onrecord_ledger::Error;
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

use super::{Ingest, SPANS_ALONE, TAKES};
use crate::auth::{Denied, Identity, Role};

struct Service(Arc<Ingest>);

#[async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let identity: &Identity =
            extensions.get().ok_or_else(|| Status::unauthenticated("who sends it is not known"))?;
        self.0.export(request, &identity.name).await.map(Response::new).map_err(|error| unavailable(&error))
    }
}

fn denied(denied: Denied) -> Status {
    match denied {
        Denied::Role { .. } => Status::permission_denied(denied.to_string()),
        Denied::Missing | Denied::Unknown => Status::unauthenticated(denied.to_string()),
    }
}

/// Exporters try again after this status.
fn unavailable(error: &Error) -> Status {
    Status::unavailable(format!("the spans cannot be put on record: {error}"))
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
    let service = TraceServiceServer::new(Service(ingest))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(max);
    let routes = Routes::new(service).into_axum_router().fallback(async move |request: HttpRequest| {
        other.warn_of_other_signals(request.uri().path());
        Status::unimplemented(SPANS_ALONE).into_http::<axum::body::Body>()
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
