//! What a model server says of where the time went, in the same fields and microseconds whatever server it is. What it said
//! in its own words stands beside them.
//!
//! | server | where | what |
//! | --- | --- | --- |
//! | llama.cpp | `timings` | `prompt_ms`, `predicted_ms`, `predicted_per_second` |
//! | Ollama | last line | `total_duration`, `load_duration`, `prompt_eval_duration`, `eval_duration`, in nanoseconds |
//! | vLLM | `metrics` | `queue_time_ms`, `time_to_first_token_ms`, `generation_time_ms`, `tokens_per_second` |
//! | LM Studio | `stats` | `time_to_first_token`, `generation_time`, `model_load_time_seconds`, `tokens_per_second` |
//! | SGLang | `meta_info` | `e2e_latency`, `queue_time`, in seconds |
//! | TGI | headers | `x-total-time`, `x-queue-time`, in milliseconds |
//! | OpenAI and others | header | `openai-processing-ms` |

use onrecord_proof::{Field, Record, field};

use crate::json;

/// Headers of an answer in which a server states times, in milliseconds, or numbers of tokens; by name, in lower case.
pub const TIMING_HEADERS: &[&str] = &[
    "x-total-time",
    "x-validation-time",
    "x-queue-time",
    "x-inference-time",
    "x-time-per-token",
    "openai-processing-ms",
    "x-prompt-tokens",
    "x-generated-tokens",
];

const MILLI: f64 = 1e3;
const NANO: f64 = 1e-3;
const WHOLE: f64 = 1e6;

/// Members, the fields that they are recorded in, and how many microseconds one of their units has.
const TIMES: &[(&str, &Field, f64)] = &[
    ("prompt_ms", &field::UPSTREAM_PREFILL, MILLI),
    ("predicted_ms", &field::UPSTREAM_DECODE, MILLI),
    ("total_duration", &field::UPSTREAM_TOTAL, NANO),
    ("load_duration", &field::UPSTREAM_LOAD, NANO),
    ("prompt_eval_duration", &field::UPSTREAM_PREFILL, NANO),
    ("eval_duration", &field::UPSTREAM_DECODE, NANO),
    ("queue_time_ms", &field::UPSTREAM_QUEUE, MILLI),
    ("time_to_first_token_ms", &field::UPSTREAM_FIRST_TOKEN, MILLI),
    ("generation_time_ms", &field::UPSTREAM_DECODE, MILLI),
    ("time_to_first_token", &field::UPSTREAM_FIRST_TOKEN, WHOLE),
    ("time_to_first_token_seconds", &field::UPSTREAM_FIRST_TOKEN, WHOLE),
    ("generation_time", &field::UPSTREAM_DECODE, WHOLE),
    ("model_load_time_seconds", &field::UPSTREAM_LOAD, WHOLE),
    ("e2e_latency", &field::UPSTREAM_TOTAL, WHOLE),
    ("queue_time", &field::UPSTREAM_QUEUE, WHOLE),
    ("x-total-time", &field::UPSTREAM_TOTAL, MILLI),
    ("x-queue-time", &field::UPSTREAM_QUEUE, MILLI),
    ("openai-processing-ms", &field::UPSTREAM_TOTAL, MILLI),
];

/// Members that state tokens a second.
const RATES: &[&str] = &["predicted_per_second", "tokens_per_second"];

/// Records the times in a server's own timings, a JSON object. What is no time there is left alone.
pub(crate) fn record(timings: &str, record: &mut Record) {
    let _ = json::members(timings, |name, value| {
        if let Some(number) = json::float(value) {
            take(&name, number, record);
        }
    });
    // vLLM counts the first token from a request's arrival, and says how much of that was waiting.
    if let (Some(first), Some(queue), None) = (
        record.int(&field::UPSTREAM_FIRST_TOKEN),
        record.int(&field::UPSTREAM_QUEUE),
        record.int(&field::UPSTREAM_PREFILL),
    ) {
        record.set(&field::UPSTREAM_PREFILL, (first - queue).max(0));
    }
    // Ollama leaves the division to the reader.
    if let (Some(tokens), Some(decode @ 1..), None) = (
        record.int(&field::OUTPUT_TOKENS),
        record.int(&field::UPSTREAM_DECODE),
        record.get(&field::UPSTREAM_TOKENS_PER_SECOND),
    ) {
        record.set(&field::UPSTREAM_TOKENS_PER_SECOND, tokens as f64 * 1e6 / decode as f64);
    }
}

fn take(name: &str, number: f64, record: &mut Record) {
    if number < 0.0 {
        return;
    }
    if RATES.contains(&name) {
        record.set(&field::UPSTREAM_TOKENS_PER_SECOND, number);
    } else if let Some((_, field, unit)) = TIMES.iter().find(|(have, ..)| *have == name) {
        // A number that no clock gives ends at the largest one.
        record.set(field, (number * unit).round() as i64);
    }
}

/// Records what the [headers](TIMING_HEADERS) of an answer state. Its body, which is read later, goes before them.
pub fn record_timing_headers<'a>(headers: impl Iterator<Item = (&'static str, &'a str)>, record: &mut Record) {
    let numbers = headers.filter_map(|(name, value)| Some((name, json::parse(value.trim()).ok()?)));
    let numbers: Vec<_> = numbers.filter(|(_, value)| json::float(value).is_some()).collect();
    if numbers.is_empty() {
        return;
    }
    for (name, field) in [("x-prompt-tokens", &field::INPUT_TOKENS), ("x-generated-tokens", &field::OUTPUT_TOKENS)] {
        if let Some(count) = numbers.iter().find(|(have, _)| *have == name).and_then(|(_, value)| json::int(value)) {
            record.set(field, count);
        }
    }
    if let Some(object) = json::object(numbers.into_iter()) {
        self::record(&object, record);
        record.set(&field::TIMINGS, object.into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use onrecord_proof::{Kind, Value};

    use super::*;

    const FIELDS: [&Field; 6] = [
        &field::UPSTREAM_TOTAL,
        &field::UPSTREAM_QUEUE,
        &field::UPSTREAM_LOAD,
        &field::UPSTREAM_PREFILL,
        &field::UPSTREAM_DECODE,
        &field::UPSTREAM_FIRST_TOKEN,
    ];

    fn empty() -> Record {
        Record::new(uuid::Uuid::nil(), Kind::Interaction, 0, [0; 32])
    }

    fn check(timings: &str, expect: [Option<i64>; 6], rate: Option<f64>) {
        let mut got = empty();
        got.set(&field::OUTPUT_TOKENS, 10_i64);
        record(timings, &mut got);
        assert_eq!(FIELDS.map(|field| got.int(field)), expect, "{timings}");
        assert_eq!(got.get(&field::UPSTREAM_TOKENS_PER_SECOND).and_then(Value::as_float), rate, "{timings}");
    }

    #[test]
    fn every_server_in_microseconds() {
        let llama =
            r#"{"cache_n":3,"prompt_ms":1.015,"predicted_n":9,"predicted_ms":3.962,"predicted_per_second":2019.5}"#;
        check(llama, [None, None, None, Some(1015), Some(3962), None], Some(2019.5));
        let ollama = r#"{"total_duration":5191566416,"load_duration":2154458,"prompt_eval_duration":383809000,"eval_duration":4799921000}"#;
        let rate = 10.0 * 1e6 / 4_799_921.0;
        check(ollama, [Some(5_191_566), None, Some(2154), Some(383_809), Some(4_799_921), None], Some(rate));
        let vllm = r#"{"time_to_first_token_ms":30.5,"generation_time_ms":200,"queue_time_ms":0.5,"mean_itl_ms":2,"tokens_per_second":50}"#;
        check(vllm, [None, Some(500), None, Some(30_000), Some(200_000), Some(30_500)], Some(50.0));
        let studio = r#"{"tokens_per_second":51.4,"time_to_first_token":0.111,"generation_time":0.954,"stop_reason":"eosFound"}"#;
        check(studio, [None, None, None, None, Some(954_000), Some(111_000)], Some(51.4));
    }

    #[test]
    fn what_is_no_time_is_left_alone() {
        check(r#"{"prompt_ms":"1","predicted_ms":-1,"tokens_per_second":null}"#, [None; 6], None);
        check(r#"{"predicted_ms":1e300}"#, [None, None, None, None, Some(i64::MAX), None], Some(1e7 / i64::MAX as f64));
        check("no json", [None; 6], None);
    }

    #[test]
    fn headers_are_kept_as_the_servers_own_timings() {
        let headers =
            [("x-total-time", "154"), ("x-queue-time", " 2 "), ("x-prompt-tokens", "6"), ("x-inference-time", "x")];
        let mut got = empty();
        record_timing_headers(headers.into_iter(), &mut got);
        assert_eq!((got.int(&field::UPSTREAM_TOTAL), got.int(&field::UPSTREAM_QUEUE)), (Some(154_000), Some(2000)));
        assert_eq!(got.int(&field::INPUT_TOKENS), Some(6));
        let raw = got.get(&field::TIMINGS).and_then(Value::as_bytes).unwrap();
        assert_eq!(raw, br#"{"x-total-time":154,"x-queue-time":2,"x-prompt-tokens":6}"#);
        let mut got = empty();
        record_timing_headers([("x-total-time", "soon")].into_iter(), &mut got);
        assert_eq!(got.get(&field::TIMINGS), None);
    }
}
