//! `/metrics`: what Prometheus collects, in its text format, version 0.0.4.
//!
//! Numbers of the log's work and of calls, no payload and no names of callers; so collecting them is no access.

use std::fmt::{Display, Write as _};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use onrecord_ledger::Histogram;

use super::{Api, ApiError};
use crate::alerts;
use crate::engine::Engine;
use crate::shipping::{Shipping, Status};

pub(super) async fn metrics(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let destinations = Shipping::status(&api.engine).await;
    // The disk is asked for its free space.
    let text = tokio::task::spawn_blocking(move || text(&api.engine, &destinations)).await;
    let text = text.map_err(ApiError::internal)?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

/// The text so far.
#[derive(Default)]
struct Page(String);

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, "counter", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// Labels and values are of this program, with nothing in them that needs escaping.
    fn counters<V: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'static str, V)>,
    ) {
        self.begin(name, "counter", help);
        for (of, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.begin(name, "histogram", help);
        let buckets = histogram.buckets();
        for (bound, count) in &buckets {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.as_secs_f64().to_string());
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let count = buckets.last().map_or(0, |(_, count)| *count);
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {count}", histogram.sum());
    }
}

fn text(engine: &Engine, destinations: &[Status]) -> String {
    let mut page = Page::default();
    page.begin("onrecord_build_info", "gauge", "The version that runs.");
    let _ = writeln!(page.0, "onrecord_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    calls(&mut page, engine);
    log(&mut page, engine);
    lake(&mut page, engine);
    disk(&mut page, engine);
    forward(&mut page, destinations);
    alerts(&mut page, &engine.alerts.states());
    page.0
}

fn calls(page: &mut Page, engine: &Engine) {
    let counters = &engine.counters;
    page.counters("onrecord_calls_total", "Calls that ended, by how.", "outcome", counters.outcomes());
    page.histogram(
        "onrecord_call_duration_seconds",
        "From a request's head to the end of its answer.",
        &counters.durations,
    );
    page.histogram(
        "onrecord_first_token_seconds",
        "From a request's head to the first content of its answer.",
        &counters.first_tokens,
    );
    let ways = || ["input", "output"].into_iter();
    page.counters(
        "onrecord_tokens_total",
        "Tokens, as the model servers count them.",
        "direction",
        ways().zip(counters.tokens()),
    );
    page.counters(
        "onrecord_body_bytes_total",
        "Bytes of requests and answers.",
        "direction",
        ways().zip(counters.bytes()),
    );
    page.gauge("onrecord_open_calls", "Calls that have begun and have not ended.", engine.reader().open_calls());
    page.counter(
        "onrecord_unrecorded_calls_total",
        "Calls that went through without a record.",
        counters.unrecorded_calls(),
    );
}

fn log(page: &mut Page, engine: &Engine) {
    let (measures, reader) = (engine.ledger.measures(), engine.reader());
    let kinds = measures.records().map(|(kind, count)| (kind.name(), count));
    page.counters("onrecord_log_records_total", "Records that were handed to the log, by kind.", "kind", kinds);
    page.gauge("onrecord_log_size", "Records in the log.", reader.size());
    page.gauge("onrecord_log_up", "1 if the log can be written.", u8::from(engine.ledger.is_healthy()));
    page.counter("onrecord_log_write_failures_total", "Batches that could not be written.", measures.failures());
    page.histogram("onrecord_log_sync_seconds", "How long making a batch durable takes.", &measures.syncs);
    let (waiting, bytes) = engine.ledger.waiting();
    page.gauge("onrecord_log_queue_records", "What waits to be written.", waiting);
    page.gauge("onrecord_log_queue_bytes", "Bytes that wait to be written.", bytes);
    let signed = reader.checkpoint().map_or(0, |published| published.checkpoint.size);
    page.gauge("onrecord_checkpoint_size", "Records under the last checkpoint.", signed);
    page.gauge(
        "onrecord_unsigned_records",
        "Records that no checkpoint covers yet.",
        reader.size().saturating_sub(signed),
    );
    if let Some(at) = measures.signed_at() {
        page.gauge(
            "onrecord_checkpoint_timestamp_seconds",
            "When a checkpoint was last signed, in Unix time.",
            at as f64 / 1e6,
        );
    }
}

fn lake(page: &mut Page, engine: &Engine) {
    let stats = engine.lake.stats();
    page.gauge("onrecord_hot_records", "Records that wait to be moved from the log to the table.", stats.hot_rows);
    page.gauge("onrecord_sealed_records", "Records in the table.", stats.rows);
    page.gauge("onrecord_table_files", "Data files of the table.", stats.files);
    page.gauge("onrecord_table_bytes", "Bytes of the data files.", stats.bytes);
    let stands_still = u8::from(engine.lake.standstill().is_some());
    page.gauge(
        "onrecord_sealing_up",
        "0 if records cannot be moved to the table; it is tried again.",
        1 - stands_still,
    );
    if let Some(lag) = engine.sealing_lag() {
        page.gauge(
            "onrecord_sealing_lag_seconds",
            "Age of the oldest record that waits to be moved to the table.",
            lag,
        );
    }
}

/// The name of a destination has nothing in it that needs escaping.
fn forward(page: &mut Page, destinations: &[Status]) {
    let mut each = |name: &str, kind: &str, help: &str, value: fn(&Status) -> f64| {
        page.begin(name, kind, help);
        for status in destinations {
            let _ = writeln!(page.0, "{name}{{destination=\"{}\"}} {}", status.name, value(status));
        }
    };
    each("onrecord_forward_up", "gauge", "1 if the last attempt to send something succeeded.", |status| {
        f64::from(u8::from(status.error.is_none()))
    });
    each(
        "onrecord_forward_lag_records",
        "gauge",
        "Records in the log that a destination was not sent yet.",
        |status| status.lag_records as f64,
    );
    each("onrecord_forward_lag_seconds", "gauge", "Age of the oldest of them.", |status| status.lag_seconds);
    each("onrecord_forward_records_total", "counter", "Records that a destination has taken.", |status| {
        status.sent as f64
    });
    each("onrecord_forward_refused_total", "counter", "Records that it refused, and will not get.", |status| {
        status.refused as f64
    });
    each("onrecord_forward_failures_total", "counter", "Attempts that failed since the program started.", |status| {
        status.failures as f64
    });
}

/// Nor has the name of a rule.
fn alerts(page: &mut Page, rules: &[(String, alerts::State)]) {
    let mut each = |name: &str, kind: &str, help: &str, value: fn(&alerts::State) -> u64| {
        page.begin(name, kind, help);
        for (rule, state) in rules {
            let _ = writeln!(page.0, "{name}{{alert=\"{rule}\"}} {}", value(state));
        }
    };
    each("onrecord_alert_firing", "gauge", "What a rule has found that is not over.", |state| state.firing as u64);
    each("onrecord_alert_raised_total", "counter", "How often a rule found something new.", |state| state.raised);
    each("onrecord_alert_failures_total", "counter", "Attempts to look or to post that failed.", |state| {
        state.failures
    });
}

fn disk(page: &mut Page, engine: &Engine) {
    let Some((free, size)) = engine.disk_space() else { return };
    page.gauge("onrecord_disk_free_bytes", "Bytes that are free for this program where the data folder is.", free);
    page.gauge("onrecord_disk_size_bytes", "Size of that file system.", size);
}
