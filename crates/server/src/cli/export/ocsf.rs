//! Calls as events of the Open Cybersecurity Schema Framework: API Activity (class 6003) with the profile `ai_operation`.

use serde_json::{Map, Value, json};

use super::Row;

pub(super) const COLUMNS: &str = "leaf_index, time, id, session, request_id, trace_id, principal, user_id, client_address, \
    upstream, operation, provider, model, response_model, outcome, status, finish_reasons, error_type, error_message, \
    input_tokens, output_tokens, duration_ms, method, path";

/// The version of the schema.
const VERSION: &str = "1.7.0";
/// What stands for a name that the schema requires and nobody knows.
const UNKNOWN: &str = "unknown";

/// The event of a call.
pub(super) fn event(row: &Row) -> Option<Value> {
    let of = |name: &str| row.get(name).cloned().unwrap_or_default();
    let refused = of("status").as_i64().is_some_and(|status| status >= 400);
    let (failed, time) = (refused || of("outcome") != "completed", milliseconds(&of("time"))?);
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
        "actor": { "user": { "uid": of("user_id"), "name": known(row, &["principal"]).unwrap_or(UNKNOWN) } },
        "src_endpoint": endpoint(row),
        "api": {
            "operation": operation(row), "request": { "uid": of("request_id") }, "service": { "name": of("upstream") },
            "response": { "code": of("status"), "error": of("error_type"), "error_message": of("error_message") }
        },
        "http_request": { "http_method": of("method"), "url": { "path": of("path") } },
        "http_response": { "code": of("status") },
        "ai_model": model(row),
        "message_context": {
            "ai_role_id": 2, "ai_role": "Assistant", "uid": of("session"), "service": name(row, &["upstream", "provider"]),
            "prompt_tokens": tokens.0, "completion_tokens": tokens.1,
            "total_tokens": tokens.0.zip(tokens.1).map(|(input, output)| input + output)
        },
        "unmapped": { "leaf_index": of("leaf_index"), "outcome": of("outcome"), "finish_reasons": of("finish_reasons") }
    });
    Some(without_nulls(event))
}

/// What the first of these columns says that says something.
fn known<'r>(row: &'r Row, columns: &[&str]) -> Option<&'r str> {
    columns.iter().find_map(|name| row.get(*name)?.as_str())
}

fn name(row: &Row, columns: &[&str]) -> Value {
    json!({ "name": known(row, columns).unwrap_or(UNKNOWN) })
}

/// Where a call came from. What a span names as its client may be a host.
fn endpoint(row: &Row) -> Value {
    let ip = known(row, &["client_address"]).filter(|address| address.parse::<std::net::IpAddr>().is_ok());
    ip.map_or_else(|| name(row, &["client_address"]), |ip| json!({ "ip": ip }))
}

/// What was done; of a request that is no model call its method and path.
fn operation(row: &Row) -> String {
    let of = |column| known(row, &[column]);
    match (of("operation"), of("method"), of("path")) {
        (None, Some(method), Some(path)) => format!("{method} {path}"),
        (operation, ..) => operation.unwrap_or(UNKNOWN).to_owned(),
    }
}

/// The model, with whoever runs it; none of a request that names none.
fn model(row: &Row) -> Option<Value> {
    let name = known(row, &["model", "response_model"])?;
    let provider = known(row, &["provider", "upstream"]).unwrap_or(UNKNOWN);
    Some(json!({ "name": name, "ai_provider": provider, "version": row.get("response_model") }))
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
    }

    /// An event of a call in which `columns` are known besides what every call has.
    fn of(columns: &Value) -> Value {
        let Value::Object(mut row) = json!({ "time": "2026-01-02T03:04:05Z" }) else { panic!("an object") };
        row.extend(columns.as_object().unwrap().clone());
        event(&row).unwrap()
    }

    #[test]
    fn a_call_succeeds_that_has_a_good_answer() {
        for (outcome, status, expect) in [
            ("completed", json!(200), "Success"),
            ("completed", Value::Null, "Success"),
            ("completed", json!(400), "Failure"),
            ("completed", json!(500), "Failure"),
            ("client_disconnected", json!(200), "Failure"),
            ("rejected", json!(401), "Failure"),
        ] {
            let event = of(&json!({ "outcome": outcome, "status": status }));
            let id = if expect == "Success" { 1 } else { 2 };
            assert_eq!((&event["status"], &event["status_id"]), (&json!(expect), &json!(id)), "{outcome} {status}");
        }
    }

    /// What the schema requires, in the type that its dictionary gives it.
    #[test]
    fn what_is_required_is_there() {
        let nothing = of(&json!({}));
        assert_eq!(nothing["src_endpoint"], json!({ "name": "unknown" }));
        assert_eq!(nothing["actor"], json!({ "user": { "name": "unknown" } }));
        assert_eq!(nothing["api"]["operation"], "unknown");
        assert_eq!(nothing["message_context"]["service"], json!({ "name": "unknown" }));
        assert_eq!(nothing.get("ai_model"), None, "only recommended");
        let gateway = of(&json!({ "upstream": "gpu", "model": "tiny", "client_address": "::1", "path": "/v1/models",
            "method": "GET", "principal": "app", "user_id": "u" }));
        assert_eq!(gateway["ai_model"], json!({ "name": "tiny", "ai_provider": "gpu" }));
        assert_eq!(gateway["message_context"]["service"], json!({ "name": "gpu" }));
        assert_eq!(gateway["src_endpoint"], json!({ "ip": "::1" }));
        assert_eq!(gateway["api"]["operation"], "GET /v1/models");
        assert_eq!(gateway["actor"], json!({ "user": { "uid": "u", "name": "app" } }));
        let span = of(&json!({ "provider": "openai", "response_model": "tiny-2", "client_address": "web-1",
            "operation": "chat", "method": "POST", "path": "/" }));
        assert_eq!(span["ai_model"], json!({ "name": "tiny-2", "ai_provider": "openai", "version": "tiny-2" }));
        assert_eq!(span["message_context"]["service"], json!({ "name": "openai" }));
        assert_eq!((&span["src_endpoint"], &span["api"]["operation"]), (&json!({ "name": "web-1" }), &json!("chat")));
    }
}
