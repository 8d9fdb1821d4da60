//! A chat completion request: what is read, checked and refused.
//!
//! Fields that would change the answer but cannot be honoured are refused, so that nobody takes an answer for something
//! it is not. Unknown fields are ignored, as the API does.

use minijinja::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::ApiError;
use super::fields::Fields;
use super::messages;
use crate::sampling::{MAX_TOP_LOGPROBS, Sampling};
use crate::template::Conversation;

/// As many stop strings as the API allows.
const MAX_STOP: usize = 4;

/// A checked request.
pub(super) struct ChatRequest {
    pub(super) conversation: Conversation,
    pub(super) sampling: Sampling,
    /// Whether to report the log-probability of each token.
    pub(super) logprobs: bool,
    pub(super) stream: bool,
    /// Whether a stream ends with a usage chunk.
    pub(super) include_usage: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct TemplateArguments {
    enable_thinking: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

impl ChatRequest {
    /// Reads a body that is meant for the model called `name`.
    pub(super) fn parse(body: &[u8], name: &str) -> Result<Self, ApiError> {
        let fields = Fields::parse(body)?;
        let asked: String = fields.required("model")?;
        if asked != name {
            return Err(ApiError::no_such_model(&asked));
        }
        refuse_unsupported(&fields)?;
        let options: Option<StreamOptions> = fields.optional("stream_options")?;
        Ok(Self {
            conversation: conversation(&fields)?,
            sampling: sampling(&fields)?,
            logprobs: fields.optional("logprobs")?.unwrap_or(false),
            stream: fields.optional("stream")?.unwrap_or(false),
            include_usage: options.and_then(|options| options.include_usage).unwrap_or(false),
        })
    }
}

fn conversation(fields: &Fields) -> Result<Conversation, ApiError> {
    let arguments: Option<TemplateArguments> = fields.optional("chat_template_kwargs")?;
    Ok(Conversation {
        messages: messages::parse(fields)?,
        tools: tools(fields)?,
        enable_thinking: arguments.and_then(|arguments| arguments.enable_thinking),
    })
}

fn tools(fields: &Fields) -> Result<Vec<Value>, ApiError> {
    let tools: Option<Vec<Value>> = fields.optional("tools")?;
    let choice: Option<Box<RawValue>> = fields.optional("tool_choice")?;
    match choice.as_ref().map(|choice| choice.get()) {
        None | Some(r#""auto""#) => Ok(tools.unwrap_or_default()),
        Some(r#""none""#) => Ok(Vec::new()),
        Some(_) => {
            let message = "This model cannot be made to call a tool: 'tool_choice' is 'auto' or 'none'.";
            Err(ApiError::unsupported("tool_choice", message))
        }
    }
}

fn sampling(fields: &Fields) -> Result<Sampling, ApiError> {
    let default = Sampling::default();
    let max_tokens = fields.count("max_completion_tokens")?.or(fields.count("max_tokens")?);
    // The API's seed is a signed number; any distinct bits will do.
    let seed = fields.optional::<i64>("seed")?.map(i64::cast_unsigned);
    Ok(Sampling {
        temperature: fields.within("temperature", 0.0..=2.0)?.unwrap_or(default.temperature),
        top_p: fields.within("top_p", 0.0..=1.0)?.unwrap_or(default.top_p),
        seed: seed.unwrap_or_else(rand::random),
        max_tokens: max_tokens.unwrap_or(default.max_tokens),
        stop: stop(fields)?,
        top_logprobs: top_logprobs(fields)?,
        ignore_eos: fields.optional("ignore_eos")?.unwrap_or(false),
    })
}

fn stop(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let stop = match fields.optional("stop")? {
        None => Vec::new(),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stop)) => stop,
    };
    if stop.len() > MAX_STOP {
        return Err(ApiError::wrong_value("stop", format!("'stop' holds at most {MAX_STOP} strings.")));
    }
    Ok(stop)
}

fn top_logprobs(fields: &Fields) -> Result<usize, ApiError> {
    let top = fields.within("top_logprobs", 0..=MAX_TOP_LOGPROBS as i64)?;
    let logprobs: Option<bool> = fields.optional("logprobs")?;
    if top.is_some() && logprobs != Some(true) {
        return Err(ApiError::wrong_value("top_logprobs", "'top_logprobs' needs 'logprobs' to be true."));
    }
    Ok(top.unwrap_or(0) as usize)
}

fn refuse_unsupported(fields: &Fields) -> Result<(), ApiError> {
    if fields.count("n")?.is_some_and(|n| n > 1) {
        return Err(ApiError::unsupported("n", "This model gives one answer to a request: 'n' must be 1."));
    }
    for name in ["presence_penalty", "frequency_penalty"] {
        if fields.within(name, -2.0..=2.0)?.is_some_and(|penalty: f32| penalty != 0.0) {
            return Err(ApiError::unsupported(name, format!("This model has no '{name}'.")));
        }
    }
    let bias: Option<serde_json::Map<_, _>> = fields.optional("logit_bias")?;
    if bias.is_some_and(|bias| !bias.is_empty()) {
        return Err(ApiError::unsupported("logit_bias", "This model has no 'logit_bias'."));
    }
    let format: Option<ResponseFormat> = fields.optional("response_format")?;
    match format {
        Some(format) if format.kind != "text" => {
            Err(ApiError::unsupported("response_format", "This model answers in text only."))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(change: &Value) -> Result<ChatRequest, Value> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
        let changes = change.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(changes);
        ChatRequest::parse(body.to_string().as_bytes(), "m").map_err(|error| error.body()["error"].take())
    }

    #[test]
    fn defaults_are_those_of_the_api() {
        let request = parse(&json!({ "seed": 0 })).ok().unwrap();
        assert_eq!(request.sampling, Sampling::default());
        assert!(!request.stream && !request.logprobs && !request.include_usage);
    }

    #[test]
    fn null_counts_as_left_out() {
        let change = json!({ "temperature": null, "stop": null, "max_tokens": null, "tools": null, "seed": 0 });
        assert_eq!(parse(&change).ok().unwrap().sampling, Sampling::default());
    }

    #[test]
    fn both_names_of_the_limit_are_read() {
        let limit = |change: Value| parse(&change).ok().unwrap().sampling.max_tokens;
        assert_eq!(limit(json!({ "max_tokens": 3 })), 3);
        assert_eq!(limit(json!({ "max_tokens": 3, "max_completion_tokens": 4 })), 4);
    }

    #[test]
    fn bad_fields_are_named() {
        let check = |change: Value, param: &str, code: &str| {
            let Err(error) = parse(&change) else { panic!("{change} was accepted") };
            assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!(code)), "{change}: {error}");
            assert_eq!(error["type"], "invalid_request_error");
        };
        check(json!({ "temperature": 2.1 }), "temperature", "invalid_value");
        check(json!({ "temperature": "hot" }), "temperature", "invalid_type");
        check(json!({ "top_p": -0.1 }), "top_p", "invalid_value");
        check(json!({ "max_tokens": 0 }), "max_tokens", "invalid_value");
        check(json!({ "max_tokens": 1.5 }), "max_tokens", "invalid_type");
        check(json!({ "seed": "x" }), "seed", "invalid_type");
        check(json!({ "stop": 5 }), "stop", "invalid_type");
        check(json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop", "invalid_value");
        check(json!({ "logprobs": true, "top_logprobs": 21 }), "top_logprobs", "invalid_value");
        check(json!({ "top_logprobs": 2 }), "top_logprobs", "invalid_value");
        check(json!({ "messages": null }), "messages", "missing_required_parameter");
        check(json!({ "messages": [] }), "messages", "invalid_value");
        check(json!({ "messages": "Hi" }), "messages", "invalid_type");
        check(json!({ "messages": [{ "role": "wizard", "content": "" }] }), "messages[0].role", "invalid_value");
        check(json!({ "messages": [{ "role": "user", "content": 1 }] }), "messages", "invalid_type");
        check(json!({ "model": null }), "model", "missing_required_parameter");
        check(json!({ "model": "other" }), "model", "model_not_found");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        let image = json!([{ "type": "image_url", "image_url": { "url": "data:" } }]);
        let check = |change: Value, param: &str| {
            let Err(error) = parse(&change) else { panic!("{change} was accepted") };
            assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!("unsupported_value")));
        };
        check(json!({ "n": 2 }), "n");
        check(json!({ "presence_penalty": 0.5 }), "presence_penalty");
        check(json!({ "logit_bias": { "5": 1 } }), "logit_bias");
        check(json!({ "response_format": { "type": "json_object" } }), "response_format");
        check(json!({ "tool_choice": "required" }), "tool_choice");
        check(json!({ "messages": [{ "role": "user", "content": image }] }), "messages[0].content");
    }

    #[test]
    fn content_may_be_a_list_of_texts() {
        let parts = json!([{ "type": "text", "text": "Hel" }, { "type": "text", "text": "lo" }]);
        let request = parse(&json!({ "messages": [{ "role": "developer", "content": parts }] })).ok().unwrap();
        let message = &request.conversation.messages[0];
        assert_eq!((message.role.as_str(), message.content.as_str()), ("system", "Hel\nlo"));
    }
}
