//! Calls as events of the Open Cybersecurity Schema Framework: API Activity (class 6003) with the profile `ai_operation`.

use serde_json::{Map, Value, json};

use super::Row;

pub(super) const COLUMNS: &str = "leaf_index, time, id, session, request_id, trace_id, principal, user_id, client_address, \
    upstream, operation, provider, model, response_model, outcome, status, finish_reasons, error_type, error_message, \
    input_tokens, output_tokens, duration_ms, method, path";

/// The version of the schema.
const VERSION: &str = "1.7.0";

/// The event of a call.
pub(super) fn event(row: &Row) -> Option<Value> {
    let of = |name: &str| row.get(name).cloned().unwrap_or_default();
    let (failed, time) = (of("outcome") != "completed", milliseconds(&of("time"))?);
    let tokens = (of("input_tokens").as_i64(), of("output_tokens").as_i64());
    let event = json!({
        "category_uid": 6, "category_name": "Application Activity",
        "class_uid": 6003, "class_name": "API Activity",
        "activity_id": 1, "activity_name": "Create",
        "type_uid": 600_301, "type_name": "API Activity: Create",
        "severity_id": 1, "severity": "Informational",
        "status_id": if failed { 2 } else { 1 }, "status": if failed { "Failure" } else { "Success" },
        "status_code": of("status").as_i64().map(|status| status.to_string()), "status_detail": of("error_message"),
        "time": time, "duration": of("duration_ms").as_f64().map(|ms| ms.round() as i64),
        "metadata": {
            "version": VERSION, "profiles": ["ai_operation"], "uid": of("id"), "sequence": of("leaf_index"),
            "correlation_uid": of("trace_id"),
            "product": { "name": "onrecord", "vendor_name": "onrecord", "version": env!("CARGO_PKG_VERSION") }
        },
        "actor": { "user": { "uid": of("user_id"), "name": of("principal") } },
        "src_endpoint": { "ip": of("client_address") },
        "api": {
            "operation": of("operation"), "request": { "uid": of("request_id") }, "service": { "name": of("upstream") },
            "response": { "code": of("status"), "error": of("error_type"), "error_message": of("error_message") }
        },
        "http_request": { "http_method": of("method"), "url": { "path": of("path") } },
        "http_response": { "code": of("status") },
        "ai_model": { "name": of("model"), "ai_provider": of("provider"), "version": of("response_model") },
        "message_context": {
            "ai_role_id": 2, "ai_role": "Assistant", "uid": of("session"), "service": of("upstream"),
            "prompt_tokens": tokens.0, "completion_tokens": tokens.1,
            "total_tokens": tokens.0.zip(tokens.1).map(|(input, output)| input + output)
        },
        "unmapped": { "leaf_index": of("leaf_index"), "outcome": of("outcome"), "finish_reasons": of("finish_reasons") }
    });
    Some(without_nulls(event))
}

/// Milliseconds since 1970, as the schema has its times.
fn milliseconds(time: &Value) -> Option<i64> {
    let text = time.as_str()?;
    let time = text.parse::<jiff::Timestamp>().or_else(|_| format!("{text}Z").parse()).ok()?;
    Some(time.as_millisecond())
}

/// What is not known is left out, and so is an object of nothing else.
fn without_nulls(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let kept = members.into_iter().map(|(name, value)| (name, without_nulls(value)));
    let known = |value: &Value| !value.is_null() && value.as_object().is_none_or(|members| !members.is_empty());
    Value::Object(kept.filter(|(_, value)| known(value)).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_what_is_known() {
        let row = json!({ "leaf_index": 7, "time": "2026-01-02T03:04:05.678901Z", "id": "x", "outcome": "upstream_error",
            "status": 500, "error_message": "no", "input_tokens": 3, "output_tokens": 4, "model": "tiny", "duration_ms": 1.6 });
        let Value::Object(row) = row else { panic!("an object") };
        let event = event(&row).unwrap();
        assert_eq!(
            (&event["status_id"], &event["time"], &event["duration"]),
            (&json!(2), &json!(1_767_323_045_678_i64), &json!(2))
        );
        assert_eq!(event["message_context"]["total_tokens"], 7);
        assert_eq!((&event["ai_model"], event.get("src_endpoint")), (&json!({ "name": "tiny" }), None));
    }
}
