//! Errors as the API words them: `{"error": {"message", "type", "param", "code"}}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::Error;

/// A request that is refused, or an answer that failed.
#[derive(Debug, Serialize)]
pub(super) struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The request field at fault.
    param: Option<String>,
    code: Option<&'static str>,
}

impl ApiError {
    fn invalid(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: "invalid_request_error",
            param: Some(param.to_owned()),
            code: Some(code),
        }
    }

    pub(super) fn missing(param: &str) -> Self {
        Self::invalid(param, "missing_required_parameter", format!("Missing required parameter: '{param}'."))
    }

    pub(super) fn wrong_type(param: &str, error: &serde_json::Error) -> Self {
        Self::invalid(param, "invalid_type", format!("Invalid type for '{param}': {error}."))
    }

    pub(super) fn wrong_value(param: &str, message: impl Into<String>) -> Self {
        Self::invalid(param, "invalid_value", message)
    }

    pub(super) fn unsupported(param: &str, message: impl Into<String>) -> Self {
        Self::invalid(param, "unsupported_value", message)
    }

    pub(super) fn not_json(error: &serde_json::Error) -> Self {
        let message = format!("The body of the request is not a JSON object: {error}.");
        Self { param: None, code: None, ..Self::invalid("", "", message) }
    }

    /// The body could not be received: too large, or cut off.
    pub(super) fn no_body(status: StatusCode, message: String) -> Self {
        Self { status, param: None, code: None, ..Self::invalid("", "", message) }
    }

    pub(super) fn no_such_model(name: &str) -> Self {
        let message = format!("The model '{name}' does not exist.");
        Self { status: StatusCode::NOT_FOUND, ..Self::invalid("model", "model_not_found", message) }
    }

    pub(super) fn no_such_path() -> Self {
        Self::no_body(StatusCode::NOT_FOUND, "Unknown request URL.".to_owned())
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::no_body(StatusCode::METHOD_NOT_ALLOWED, "This URL does not accept that method.".to_owned())
    }

    /// The generation ended without saying how.
    pub(super) fn broken_off() -> Self {
        Self::internal("The generation broke off.".to_owned())
    }

    fn internal(message: String) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, message, kind: "server_error", param: None, code: None }
    }

    /// The object as it stands in a body or an event.
    pub(super) fn body(&self) -> serde_json::Value {
        json!({ "error": self })
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::ContextExceeded { .. } => Self::invalid("messages", "context_length_exceeded", message),
            Error::Template(_) | Error::EmptyPrompt => Self::wrong_value("messages", message),
            _ => Self::internal(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body())).into_response()
    }
}
