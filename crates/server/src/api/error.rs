//! Errors of the API: a text for the caller, and another for the operator where the caller can do nothing about it.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::auth::Denied;
use crate::engine::Refused;

/// An error of the API.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(crate) fn denied(denied: Denied) -> Self {
        match denied {
            Denied::Role { .. } => Self::new(StatusCode::FORBIDDEN, "forbidden", denied.to_string()),
            _ => Self::new(StatusCode::UNAUTHORIZED, "unauthorized", denied.to_string()),
        }
    }

    /// The caller cannot do anything about it; what happened is in the log of the program.
    pub(crate) fn internal(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        tracing::error!(error = format!("{error:#}"), "a request to the API failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", format!("{error:#}"))
    }
}

impl From<onrecord_lake::Error> for ApiError {
    fn from(error: onrecord_lake::Error) -> Self {
        use onrecord_lake::Error as E;
        match &error {
            E::Query(_) => Self::new(StatusCode::BAD_REQUEST, "bad_query", error.to_string()),
            E::QueryMemory { .. } | E::QueryTime { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "query_limit", error.to_string())
            }
            _ => Self::internal(error),
        }
    }
}

/// What the log says to whoever has it take a record.
impl From<onrecord_ledger::Error> for ApiError {
    fn from(error: onrecord_ledger::Error) -> Self {
        use onrecord_ledger::Error as E;
        match error {
            E::Unavailable(_) | E::Busy | E::Closed => Self::unavailable(error.to_string()),
            _ => Self::internal(error),
        }
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::bad_request(rejection.body_text())
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large(format!("{}; send less at a time", rejection.body_text())),
            _ => Self::bad_request(rejection.body_text()),
        }
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Self::unsupported_media_type(rejection.body_text()),
            JsonRejection::BytesRejection(rejection) => rejection.into(),
            _ => Self::bad_request(rejection.body_text()),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::Held { .. } => "held",
            Refused::Floor { .. } => "floor",
            Refused::Wrong(_) => return Self::bad_request(refused.to_string()),
            Refused::Missing(_) => return Self::not_found(refused.to_string()),
        };
        Self::new(StatusCode::CONFLICT, code, refused.to_string())
    }
}

impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        let error = match error.downcast::<Refused>() {
            Ok(refused) => return refused.into(),
            Err(error) => error,
        };
        let error = match error.downcast::<onrecord_ledger::Error>() {
            Ok(error) => return error.into(),
            Err(error) => error,
        };
        match error.downcast::<onrecord_lake::Error>() {
            Ok(error) => error.into(),
            Err(error) => Self::internal(error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": { "code": self.code, "message": self.message } }))).into_response()
    }
}

pub(super) async fn method_not_allowed() -> ApiError {
    let says = "this path does not answer that method; the header `allow` names those that it does";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", says)
}

pub(super) async fn not_found() -> ApiError {
    ApiError::not_found("there is no such path; the API is below /api/v1")
}
