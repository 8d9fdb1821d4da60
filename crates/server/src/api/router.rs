//! The routes of the API: who may ask, what is asked for, and who answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware;
use axum::routing::get;
use serde_json::json;

use super::document::{self, Bytes, Lines, Object, Routes, Rows, Text, op};
use super::{
    Api, authorize, calls, configs, error, evidence, export, forward, ingest, keep, log, metrics, query, search,
    sessions, templates, verify,
};
use crate::auth::Role;
use crate::engine::{
    AddHold, Conversation, Decision, Erase, Filter, Hold, Outcome, Outlier, PlanLine, Prove, Search, SearchAnswer,
    Session, Slow, Stats, Summary, Template, Trace,
};
use crate::ingest::{Feedback, Item};
use crate::shipping::Status;

/// Bytes of a request with records.
const RECORDS_MAX: usize = 16 << 20;

const WANTED: &[(&str, &str, &str)] =
    &[("wanted", "The record's id, as in the header `x-onrecord-id` of the answer, or its leaf index.", "1")];

/// The API's routes.
pub(crate) fn router(api: Api) -> Router {
    let (router, document) = routes(&api).finish();
    let document: Arc<str> = format!("{document:#}\n").into();
    let document = move || async move { ([(CONTENT_TYPE, "application/json")], document.to_string()) };
    router
        .route(document::PATH, get(document))
        .method_not_allowed_fallback(error::method_not_allowed)
        .fallback(error::not_found)
        .with_state(api)
}

fn routes(api: &Api) -> Routes {
    let guarded = |routes: Routes, roles: &'static [Role]| {
        let layer = middleware::from_fn_with_state((api.clone(), roles), authorize);
        routes.with(|router| router.layer(layer)).for_roles(roles)
    };
    let reading = calls_and_sessions().merge(questions()).merge(state());
    let (open, reading) = if api.public_log { (tiles(), reading) } else { (Routes::default(), reading.merge(tiles())) };
    // Whoever may call a model may say what they think of its answer.
    health()
        .merge(open)
        .merge(guarded(reading, &[Role::Read]))
        .merge(guarded(adding(), &[Role::Ingest]))
        .merge(guarded(judging(), &[Role::Ingest, Role::Call]))
        .merge(guarded(administration(), &[Role::Admin]))
}

fn health() -> Routes {
    let says = "Whether calls can be put on record. It answers 503 with the same body if they cannot.";
    Routes::default().get("/health", op("health", says).gives::<calls::Health>(), calls::health)
}

fn calls_and_sessions() -> Routes {
    let session: &[_] = &[("session", "The session's name.", "s-1")];
    let trace: &[_] = &[("wanted", "A trace id (32 hexadecimal digits), or a record's id or leaf index.", "1")];
    Routes::default()
        .get(
            "/api/v1/calls",
            op("listCalls", "Calls, the newest first. With `from` in the order of the log.")
                .query::<Filter>(json!({ "limit": 5, "calls_only": true }))
                .gives::<Vec<Summary>>(),
            calls::list,
        )
        .get(
            "/api/v1/calls/{wanted}",
            op("showCall", "One record, whole. Its fields stand in their disclosure groups.")
                .at(WANTED)
                .gives::<Object>(),
            calls::show,
        )
        .get(
            "/api/v1/calls/{wanted}/tokens",
            op("listTokens", "The tokens of a call's answers, and what else they could have been.")
                .at(WANTED)
                .gives::<Vec<Decision>>(),
            sessions::tokens,
        )
        .get(
            "/api/v1/tail",
            op(
                "tailCalls",
                "The newest calls, a summary a line. With `follow` whatever is committed, until the client goes.",
            )
            .query::<calls::Tail>(json!({ "last": 3 }))
            .gives_as::<Lines>("application/x-ndjson"),
            calls::tail,
        )
        .get(
            "/api/v1/slow",
            op("listOutliers", "Calls that took far longer than is usual among their like.")
                .query::<Slow>(json!({ "measure": "first-token", "by": "model" }))
                .gives::<Vec<Outlier>>(),
            calls::slow,
        )
        .get(
            "/api/v1/sessions",
            op("listSessions", "The sessions that were used last.")
                .query::<sessions::Newest>(json!({ "limit": 5 }))
                .gives::<Vec<Session>>(),
            sessions::list,
        )
        .get(
            "/api/v1/sessions/{session}",
            op("showSession", "A session as it went.").at(session).gives::<Conversation>(),
            sessions::show,
        )
        .get(
            "/api/v1/traces/{wanted}",
            op("showTrace", "Everything that belongs to one operation, in the order of its tree.")
                .at(trace)
                .gives::<Trace>(),
            ingest::trace,
        )
}

fn questions() -> Routes {
    let query = |id| {
        op(id, "The rows of an SQL statement, which can only read. Views and columns are those of `/api/v1/columns`.")
            .gives::<Rows>()
            .gives_as::<Lines>("application/x-ndjson")
            .gives_as::<Text>("text/csv")
            .gives_as::<Bytes>("application/vnd.apache.parquet")
            .gives_as::<Bytes>("application/vnd.apache.arrow.stream")
    };
    let statement = "SELECT model, count(*) AS calls FROM interactions WHERE status = $1 GROUP BY model";
    Routes::default()
        .get(
            "/api/v1/query",
            query("query").query::<query::AskInUrl>(json!({ "sql": "SELECT $1 AS one", "params": "[1]" })),
            query::get,
        )
        .post(
            "/api/v1/query",
            query("queryWithParameters").takes::<query::Ask>(json!({ "sql": statement, "params": [200], "rows": 100 })),
            query::post,
        )
        .get(
            "/api/v1/columns",
            op("listColumns", "Every view and column of SQL, with type and meaning.").gives::<Vec<query::Column>>(),
            query::columns,
        )
        .get(
            "/api/v1/search",
            op("search", "Full-text search over what was asked, answered and went wrong.")
                .query::<Search>(json!({ "q": "(hello OR list) -spam", "limit": 5 }))
                .gives::<SearchAnswer>(),
            search::search,
        )
        .get(
            "/api/v1/config-diff",
            op("compare", "What differs between two calls, configurations or times, in words.")
                .query::<configs::Two>(json!({ "a": "1", "b": "2" }))
                .gives::<configs::Compared>(),
            configs::diff,
        )
        .get(
            "/api/v1/templates",
            op("listTemplates", "The prompt templates that calls have named, and those with a text.")
                .gives::<Vec<Template>>(),
            templates::list,
        )
        .get(
            "/api/v1/calls/{wanted}/evidence",
            op("proveCall", "Evidence that a record is in the log. `onrecord check` verifies it offline.")
                .at(WANTED)
                .query::<evidence::Reveal>(json!({ "reveal": "input,output" }))
                .gives::<Object>(),
            evidence::one,
        )
        .post(
            "/api/v1/evidence",
            op("prove", "Evidence of several records under one checkpoint.")
                .takes::<Prove>(json!({ "records": ["1"], "reveal": ["output"] }))
                .gives::<Object>(),
            evidence::several,
        )
}

fn state() -> Routes {
    let contents = json!({ "view": "interactions", "rows": "jsonl", "leaves": [[0, 1]], "files": [{ "name": "part-00000.jsonl",
        "rows": 1, "bytes": 3, "sha256": "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356" }] });
    Routes::default()
        .get("/metrics", op("metrics", "What Prometheus collects.").gives_as::<Text>("text/plain"), metrics::metrics)
        .get(
            "/api/v1/forward",
            op("forwardStatus", "How far the destinations of forwarding have come.").gives::<Vec<Status>>(),
            forward::status,
        )
        .get("/api/v1/stats", op("stats", "What is in the log, in numbers.").gives::<Stats>(), calls::stats)
        .get(
            "/api/v1/checkpoint",
            op("checkpoint", "A signed checkpoint over everything that is committed now.")
                .gives_as::<Text>("text/plain"),
            calls::checkpoint,
        )
        .post(
            "/api/v1/verify",
            op("verify", "Verifies the whole log. Lines of `progress`, then one of `report` or `error`.")
                .gives_as::<Lines>("application/x-ndjson"),
            verify::verify,
        )
        .post(
            "/api/v1/exports",
            op(
                "recordExport",
                "Puts on record that rows were handed out as files, and gives the manifest that proves it.",
            )
            .takes::<Object>(contents)
            .gives::<Object>(),
            export::record,
        )
}

fn tiles() -> Routes {
    let path: &[_] = &[("path", "`LEVEL/N` or `entries/N`, as C2SP tlog-tiles has it, partial ones too.", "0/000.p/1")];
    Routes::default()
        .get(
            "/log/checkpoint",
            op("logCheckpoint", "The last checkpoint that was signed, as C2SP tlog-tiles has it.")
                .gives_as::<Text>("text/plain"),
            log::checkpoint,
        )
        .get(
            "/log/keys",
            op("logKeys", "The keys that the log has had, and what makes each follow the one before.")
                .gives_as::<Text>("text/plain"),
            log::keys,
        )
        .get(
            "/log/tile/{*path}",
            op("logTile", "A tile or an entry bundle, whole or partial.")
                .at(path)
                .gives_as::<Bytes>("application/octet-stream"),
            log::tile,
        )
}

/// A reader must not add to the log: it could announce a deployment and so hide drift.
fn adding() -> Routes {
    let item = json!([{ "id": "0198c0de-0000-7000-8000-000000000001", "kind": "step", "step": "retrieval", "name": "search" }]);
    Routes::default()
        .post(
            "/api/v1/records",
            op("addRecords", "Takes records: an array, or one a line (`application/x-ndjson`). All are durable when it answers; one with an id is taken once.")
                .takes::<Vec<Item>>(item)
                .created()
                .gives::<ingest::Records>(),
            ingest::records,
        )
        .post(
            "/api/v1/templates",
            op("addTemplate", "Puts the text of a prompt template on record.")
                .takes::<templates::New>(json!({ "name": "support@3", "text": "You help with {{product}}." }))
                .gives::<templates::Added>(),
            templates::add,
        )
        .post(
            "/api/v1/deployments",
            op("announce", "Announces a deployment. A change of the configuration soon after it is no drift.")
                .takes::<configs::Deployment>(json!({ "note": "a new quantization" }))
                .gives::<configs::Announced>(),
            configs::deploy,
        )
        .with(|router| router.layer(DefaultBodyLimit::max(RECORDS_MAX)))
}

fn judging() -> Routes {
    Routes::default().post(
        "/api/v1/feedback",
        op("addFeedback", "Takes one judgement of an answer or of a session.")
            .takes::<Feedback>(json!({ "record": "1", "name": "helpfulness", "score": 0.9, "label": "good" }))
            .created()
            .gives::<ingest::Judged>(),
        ingest::feedback,
    )
}

fn administration() -> Routes {
    let hold: &[_] = &[("id", "The hold's id.", "0198c0de-0000-7000-8000-000000000001")];
    let erase = json!({ "where": "session = 's-1'", "fields": ["input", "output"], "reason": "a person's request", "dry_run": true });
    Routes::default()
        .post(
            "/api/v1/erase",
            op("erase", "Erases fields of records. It answers when the last byte is gone; the log still verifies.")
                .takes::<Erase>(erase)
                .gives::<Outcome>(),
            keep::erase,
        )
        .get("/api/v1/holds", op("listHolds", "The legal holds that are in force.").gives::<Vec<Hold>>(), keep::holds)
        .post(
            "/api/v1/holds",
            op("addHold", "Holds records back from erasure and retention, until it is released.")
                .takes::<AddHold>(json!({ "where": "session = 's-1'", "reason": "a dispute" }))
                .gives::<keep::Held>(),
            keep::add_hold,
        )
        .post(
            "/api/v1/holds/{id}/release",
            op("releaseHold", "Ends a legal hold.").at(hold).gives::<Hold>(),
            keep::release_hold,
        )
        .get(
            "/api/v1/retention",
            op("planRetention", "What the retention rules would dispose of.")
                .query::<keep::Ahead>(json!({ "ahead_days": 30 }))
                .gives::<Vec<PlanLine>>(),
            keep::plan,
        )
        .post(
            "/api/v1/retention/run",
            op("runRetention", "Disposes of what is due by the retention rules.").gives::<Vec<PlanLine>>(),
            keep::run,
        )
        .post(
            "/api/v1/key/rotate",
            op("rotateKey", "Gives the log a new key. Answers with all of its public keys.")
                .gives_as::<Text>("text/plain"),
            keep::rotate_key,
        )
}
