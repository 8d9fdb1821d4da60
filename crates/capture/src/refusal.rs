//! An error as the servers of a dialect would say it, for a call that none of them gets.

use serde_json::json;

use crate::Dialect;

impl Dialect {
    /// The JSON of an error in the shape that clients of this dialect read. `code` is a short name, for programs.
    pub fn refusal(self, status: u16, code: &str, message: &str) -> String {
        let json = match self {
            Self::AnthropicMessages => {
                json!({ "type": "error", "error": { "type": anthropic(status), "message": message } })
            }
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed => json!({ "error": message }),
            Self::LlamaCompletion | Self::LlamaInfill | Self::LlamaTemplate | Self::LlamaControl => {
                json!({ "error": { "code": status, "message": message, "type": llama(status) } })
            }
            Self::TgiGenerate | Self::TgiGenerateStream => json!({ "error": message, "error_type": code }),
            _ => json!({ "error": { "message": message, "type": "onrecord_error", "code": code, "param": null } }),
        };
        json.to_string()
    }
}

/// The kinds of errors that Anthropic's API documents.
const fn anthropic(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

/// Those of llama.cpp's server.
const fn llama(status: u16) -> &'static str {
    match status {
        400 | 408 | 413 => "invalid_request_error",
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        503 => "unavailable_error",
        _ => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;
    use onrecord_proof::{Kind, Record, field};

    #[test]
    fn every_dialect_is_read_back_as_it_is_meant() {
        for dialect in Dialect::ALL {
            let mut record = Record::new(uuid::Uuid::nil(), Kind::Interaction, 0, [0; 32]);
            let json = dialect.refusal(404, "model_not_found", "there is no \"m\"");
            Failure::of_body(&json).record("gateway", 404, &mut record);
            assert_eq!(record.text(&field::ERROR_MESSAGE), Some("there is no \"m\""), "{dialect:?}: {json}");
        }
    }
}
