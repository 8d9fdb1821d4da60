//! The example runs and its records say what happened; what does not fit is owned up to; nothing breaks the application.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../examples/embedded.rs"]
mod embedded;

use std::fmt;
use std::path::Path;

use onrecord_capture::StoredDecisions;
use onrecord_ledger::Ledger;
use onrecord_proof::{Group, Kind, Record, Rel, Value, field};
use onrecord_tracing::{Error, Options, Recorder, Written};
use tracing::field::Empty;
use tracing::{error, info, info_span};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;

/// What is on record in a folder that nobody has open.
fn records(data: &Path) -> Vec<Record> {
    let ledger = Ledger::open(&data.join("ledger"), &onrecord_ledger::Options::default()).unwrap();
    let reader = ledger.reader();
    reader.read(0, reader.size(), 1 << 24).unwrap().into_iter().map(|committed| committed.record).collect()
}

fn named<'r>(records: &'r [Record], name: &str) -> &'r Record {
    let is = |record: &&Record| record.text(&field::SPAN_NAME) == Some(name);
    records.iter().find(is).unwrap_or_else(|| panic!("no step {name}"))
}

fn context<'r>(record: &'r Record, name: &str) -> Option<&'r Value> {
    record.group(Group::Context)?.get(name)
}

/// Runs what is to be recorded, with this layer alone.
fn run(data: &Path, options: Options, work: impl FnOnce(&Recorder)) -> (Written, Vec<Record>) {
    let recorder = Recorder::open(data, options).unwrap();
    let subscriber = tracing_subscriber::registry().with(recorder.layer().with_filter(LevelFilter::INFO));
    tracing::subscriber::with_default(subscriber, || work(&recorder));
    let written = recorder.close().unwrap();
    (written, records(data))
}

#[test]
fn the_example_records_its_pipeline() {
    let folder = tempfile::tempdir().unwrap();
    let (call, written) = embedded::record(folder.path()).unwrap();
    assert_eq!(written, Written { steps: 5, ..Written::default() });
    let records = records(folder.path());
    let whole = named(&records, "answer");
    assert_eq!((whole.text(&field::STEP), whole.text(&field::SESSION)), (Some("chain"), Some("s-1")));
    for (name, step) in
        [("rank", "rerank"), ("tokenize", "tokenization"), ("generate", "model_call"), ("policy", "guardrail")]
    {
        let record = named(&records, name);
        assert_eq!((record.kind, record.text(&field::STEP)), (Kind::Step, Some(step)));
        assert_eq!(record.text(&field::PARENT_SPAN_ID), whole.text(&field::SPAN_ID), "{name}");
        assert_eq!(record.text(&field::TRACE_ID), whole.text(&field::TRACE_ID), "{name}");
        assert_eq!(record.text(&field::SOURCE), Some("embedded"), "{name}");
        assert_eq!(record.text(&field::SERVICE_NAME), Some("embedded"), "{name}");
        assert!(record.int(&field::DURATION) <= whole.int(&field::DURATION), "{name}");
    }
    let ranked = named(&records, "rank").get(&field::RERANK_AFTER).and_then(Value::as_bytes).unwrap();
    assert!(ranked.starts_with(br#"[{"score":5,"text":"Paris"#), "{}", String::from_utf8_lossy(ranked));
    let feedback = records.iter().find(|record| record.kind == Kind::Feedback).unwrap();
    assert_eq!(feedback.text(&field::PARENT_SPAN_ID), named(&records, "policy").text(&field::SPAN_ID));

    let generate = named(&records, "generate");
    assert_eq!((generate.refs[0].rel, generate.refs[0].id), (Rel::Subject, call));
    let interactions: Vec<_> = records.iter().filter(|record| record.kind == Kind::Interaction).collect();
    let [interaction] = interactions[..] else { panic!("{interactions:?}") };
    assert_eq!(interaction.id, call);
    assert_eq!(interaction.text(&field::PARENT_SPAN_ID), generate.text(&field::SPAN_ID));
    assert_eq!(interaction.text(&field::INPUT_TEXT), Some("What is the capital of France?"));
    let bytes = |field| interaction.get(field).and_then(Value::as_bytes);
    let tokens = StoredDecisions {
        logprobs: bytes(&field::LOGPROBS),
        times: bytes(&field::TOKEN_TIMES),
        ..StoredDecisions::default()
    }
    .tokens();
    assert_eq!(interaction.int(&field::OUTPUT_TOKENS), i64::try_from(tokens.len()).ok());
    assert!(tokens.len() > 2 && tokens.iter().all(|token| token.alternatives.len() == 3), "{tokens:?}");
    assert!(tokens.iter().all(|token| token.time_us.is_some() && token.chosen.id.is_some()), "{tokens:?}");
}

#[test]
fn what_does_not_fit_the_queue_is_owned_up_to() {
    const SPANS: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { queue: 1, max_step_bytes: 8, ..Options::default() };
    let (written, records) = run(folder.path(), options, |_| {
        (0..SPANS).for_each(|_| drop(info_span!("step", text = "nine bytes and more", number = 1)));
    });
    assert_eq!((written.steps + written.dropped, written.unstated, written.open), (SPANS, 0, 0));
    assert!(written.dropped > 0, "{written:?}");
    let gaps: i64 = records.iter().filter_map(|record| record.int(&field::GAP_CALLS)).sum();
    assert_eq!(gaps.unsigned_abs(), written.dropped);
    let step = named(&records, "step");
    assert_eq!(context(step, "text").unwrap().as_text(), Some("nine byt"));
    assert_eq!(context(step, "onrecord.span.omitted_bytes").unwrap().as_int(), Some(11 + 16));
}

#[test]
fn fields_errors_and_events_are_what_they_are_in_spans() {
    /// Says something through `tracing` while it is formatted.
    struct Talks;
    impl fmt::Debug for Talks {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            error!("while formatting");
            f.write_str("talks")
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (written, records) = run(folder.path(), Options::default(), |_| {
        let span =
            info_span!("kinds", int = -1, big = u64::MAX, float = 0.5, flag = true, later = Empty, error = Empty);
        for later in ["first", "second"] {
            span.record("later", later);
        }
        span.in_scope(|| info!("a log line"));
        span.record("error", tracing::field::display("no memory"));
        info_span!("talks", talks = Empty).in_scope(|| {
            tracing::Span::current().record("talks", tracing::field::debug(Talks));
            error!(error = "no luck", "it failed");
            info!(name: "app.chosen", which = 2);
        });
        tracing::debug_span!("filtered").in_scope(|| info_span!("root").in_scope(|| ()));
        drop(info_span!("chat tiny", gen_ai.operation.name = "chat", gen_ai.usage.input_tokens = 7));
        std::mem::forget(info_span!("never closed"));
    });
    assert_eq!((written.steps, written.open, records.len()), (4, 1, 4));
    let kinds = named(&records, "kinds");
    assert_eq!((kinds.text(&field::OUTCOME), kinds.text(&field::ERROR_MESSAGE)), (Some("failed"), Some("no memory")));
    assert_eq!(
        (context(kinds, "int").unwrap().as_int(), context(kinds, "flag").unwrap().as_bool()),
        (Some(-1), Some(true))
    );
    assert_eq!(context(kinds, "big").unwrap().as_text(), Some("18446744073709551615"));
    assert_eq!(context(kinds, "later").unwrap().as_text(), Some("second"));
    assert_eq!(context(kinds, "onrecord.span.events"), None, "log lines stay out");
    let talks = named(&records, "talks");
    assert_eq!(context(talks, "talks").unwrap().as_text(), Some("talks"));
    assert_eq!(talks.text(&field::ERROR_MESSAGE), Some("while formatting"));
    let events = context(talks, "onrecord.span.events").unwrap().as_bytes().unwrap();
    assert!(String::from_utf8_lossy(events).contains(r#""attributes":{"which":2},"name":"app.chosen""#));
    assert_eq!(named(&records, "root").text(&field::PARENT_SPAN_ID), None);
    let chat = named(&records, "chat tiny");
    assert_eq!((chat.kind, chat.int(&field::INPUT_TOKENS)), (Kind::Interaction, Some(7)));
}

#[test]
fn a_call_ends_as_one_record_whatever_happens_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, before) = run(folder.path(), Options::default(), |recorder| {
        let outer = info_span!("ask", gen_ai.operation.name = "chat").entered();
        let inner = info_span!("carry").entered();
        let mut given_up = recorder.call();
        given_up.begin().unwrap().wait().unwrap();
        drop(given_up);
        drop((inner, outer));
        recorder.call().end("completed").unwrap().wait().unwrap();
    });
    let outcomes: Vec<_> =
        before.iter().filter(|r| r.kind == Kind::Interaction).map(|r| r.text(&field::OUTCOME)).collect();
    assert_eq!(outcomes, [Some("interrupted"), Some("completed")]);
    let call = before.iter().find(|record| record.text(&field::ERROR_TYPE).is_some()).unwrap();
    for name in ["carry", "ask"] {
        let step = named(&before, name);
        assert_eq!((step.kind, step.refs[0].id), (Kind::Step, call.id), "{name} is around the call");
    }
    let (mut late, spans) = {
        let recorder = Recorder::open(folder.path(), Options::default()).unwrap();
        let subscriber = tracing_subscriber::registry().with(recorder.layer());
        let dispatch = tracing::Dispatch::new(subscriber);
        let _set = tracing::dispatcher::set_default(&dispatch);
        let span = info_span!("late");
        let late = span.in_scope(|| recorder.call());
        let written = recorder.close().unwrap();
        assert_eq!(written, Written { open: 1, ..Written::default() });
        (late, span)
    };
    assert!(late.begin().is_err() && late.end("completed").is_err(), "the log is closed");
    drop(spans);
    assert_eq!(records(folder.path()).len(), before.len());
}

#[test]
fn a_folder_that_is_in_use_or_no_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::open(folder.path(), Options::default()).unwrap();
    let refused = Recorder::open(folder.path(), Options::default()).unwrap_err();
    assert!(matches!(refused, Error::Log(onrecord_ledger::Error::InUse { .. })), "{refused}");
    drop(recorder);
    Recorder::open(folder.path(), Options::default()).unwrap();
    Recorder::open(Path::new("/dev/null"), Options::default()).unwrap_err();
}
