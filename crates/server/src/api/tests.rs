//! What the API refuses, and in which form.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use onrecord_lake::QueryLimits;
use onrecord_proof::{Kind, field};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::{Access, Api, router};
use crate::config::{Overrides, load_only};
use crate::engine::{Engine, Options, new_record};

/// The API of a new log in a folder of its own.
struct Log {
    engine: Arc<Engine>,
    router: Router,
    _folder: TempDir,
}

impl Log {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags = Overrides { data: Some(folder.path().to_owned()), ..Overrides::default() };
        let mut options = crate::server::engine_options(&load_only(&flags).unwrap()).unwrap();
        change(&mut options);
        let engine = Engine::open(folder.path(), options).await.unwrap();
        let router = router(Api { engine: Arc::clone(&engine), access: Access::Local, public_log: false });
        Self { engine, router, _folder: folder }
    }

    /// The status of an answer, and its body.
    async fn ask(&self, method: &str, path: &str, content_type: &str, body: impl Into<Body>) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", content_type);
        let answer = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| text()))
    }

    /// The status and the code of an error, which has to be in the form of the document.
    async fn refused(&self, method: &str, path: &str, content_type: &str, body: impl Into<Body>) -> (u16, String) {
        let (status, body) = self.ask(method, path, content_type, body).await;
        let of =
            |name: &str| body["error"][name].as_str().unwrap_or_else(|| panic!("{method} {path}: {status} {body}"));
        assert!(!of("message").is_empty());
        (status.as_u16(), of("code").to_owned())
    }
}

const JSON: &str = "application/json";
const UNKNOWN: &str = "0198c0de-0000-7000-8000-000000000001";

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_the_form_of_the_document() {
    let log = Log::new().await;
    for path in [
        "/api/v1/calls?limit=x",
        "/api/v1/tail?last=x",
        "/api/v1/slow?measure=x",
        "/api/v1/sessions?limit=-1",
        "/api/v1/query",
        "/api/v1/query?sql=SELECT%201&params=1",
        "/api/v1/search",
        "/api/v1/config-diff?a=1",
        "/api/v1/calls/1/evidence?revea=input",
        "/api/v1/retention?ahead_days=x",
    ] {
        assert_eq!(log.refused("GET", path, JSON, "").await, (400, "bad_request".into()), "{path}");
    }
    for path in ["query", "evidence", "exports", "templates", "deployments", "feedback", "erase", "holds"] {
        let path = format!("/api/v1/{path}");
        for body in ["{", "[1]", "{\"no_such_field\":1}"] {
            assert_eq!(log.refused("POST", &path, JSON, body).await, (400, "bad_request".into()), "{path} {body}");
        }
        let text = log.refused("POST", &path, "text/plain", "{}").await;
        assert_eq!(text, (415, "unsupported_media_type".into()), "{path}");
    }
    for path in ["query", "records", "feedback", "exports"] {
        let path = format!("/api/v1/{path}");
        let large = log.refused("POST", &path, JSON, vec![b' '; (17 << 20) + 1]).await;
        assert_eq!(large, (413, "too_large".into()), "{path}");
    }
    assert_eq!(log.refused("DELETE", "/api/v1/calls", JSON, "").await, (405, "method_not_allowed".into()));
    let (status, code) = log.refused("POST", "/api/v1/holds/x/release", JSON, "{}").await;
    assert_eq!((status, code.as_str()), (400, "bad_request"));
    let (status, code) = log.refused("POST", &format!("/api/v1/holds/{UNKNOWN}/release"), JSON, "{}").await;
    assert_eq!((status, code.as_str()), (404, "not_found"), "there is no such hold");
    log.engine.close().await.unwrap();
}

/// Of a larger log, more may be exported.
#[tokio::test]
async fn the_contents_of_an_export_may_grow_with_the_log() {
    let log = Log::new().await;
    let contents = || vec![b' '; (16 << 20) + 8];
    assert_eq!(log.refused("POST", "/api/v1/exports", JSON, contents()).await.0, 413);
    log.engine.event("start").await.unwrap();
    assert_eq!(log.refused("POST", "/api/v1/exports", JSON, contents()).await.0, 400, "these are no contents");
    log.engine.close().await.unwrap();
}

#[tokio::test]
async fn a_limit_of_queries_is_said_by_whatever_asks() {
    // What is done before the time is looked at needs memory.
    let log =
        Log::with(|options| options.limits = QueryLimits { rows: 100, memory_bytes: 1, time: Duration::ZERO }).await;
    let (mut record, trace) = (new_record(Kind::Interaction), "a".repeat(32));
    record.set(&field::SESSION, "s-1");
    record.set(&field::TRACE_ID, trace.as_str());
    log.engine.ledger.append(&record).unwrap().await.unwrap();
    for path in ["sessions", "sessions/s-1", &format!("traces/{trace}"), "calls"] {
        let refused = log.refused("GET", &format!("/api/v1/{path}"), JSON, "").await;
        assert_eq!(refused, (422, "query_limit".into()), "{path}");
    }
    log.engine.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_put_on_record_is_not_read() {
    let log = Log::new().await;
    let mut record = new_record(Kind::Interaction);
    record.set(&field::SESSION, "s-1");
    log.engine.ledger.append(&record).unwrap().await.unwrap();
    log.engine.ledger.close().unwrap();
    let show = format!("/api/v1/calls/{}", record.id);
    for path in ["/api/v1/query?sql=SELECT%201", "/api/v1/search?q=a", "/api/v1/sessions/s-1", &show] {
        assert_eq!(log.refused("GET", path, JSON, "").await, (503, "log_unavailable".into()), "{path}");
    }
}

#[tokio::test]
async fn the_values_of_a_query_are_an_array_or_its_text_in_a_url() {
    let log = Log::new().await;
    let (_, document) = log.ask("GET", "/api/v1/openapi.json", JSON, "").await;
    let operations = &document["paths"]["/api/v1/query"];
    let params =
        operations["get"]["parameters"].as_array().unwrap().iter().find(|one| one["name"] == "params").unwrap();
    assert_eq!(params["schema"]["type"], "string", "{params}");
    let text: String = url::form_urlencoded::byte_serialize(params["example"].as_str().unwrap().as_bytes()).collect();
    let (status, rows) =
        log.ask("GET", &format!("/api/v1/query?sql=SELECT%20$1%20AS%20one&params={text}"), JSON, "").await;
    assert_eq!((status, rows), (StatusCode::OK, json!([{ "one": 1 }])));
    let schema = operations["post"]["requestBody"]["content"][JSON]["schema"]["$ref"].as_str().unwrap();
    let schema = document.pointer(schema.trim_start_matches('#')).unwrap();
    assert_eq!(schema["properties"]["params"]["type"], "array", "{schema}");
    let body = json!({ "sql": "SELECT $1 AS one", "params": [1] }).to_string();
    assert_eq!(log.ask("POST", "/api/v1/query", JSON, body).await, (StatusCode::OK, json!([{ "one": 1 }])));
    log.engine.close().await.unwrap();
}
