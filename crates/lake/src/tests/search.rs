//! Search: an answer is that of a scan by somebody who knows nothing of indexes, whatever is sealed or indexed.

use futures::TryStreamExt;
use onrecord_ledger::Committed;
use onrecord_proof::{Group, Kind, Record, Value, field};
use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;

use super::Fixture;
use super::indexes::index_files;
use super::records::{NOON, call, calls};
use crate::{Error, QueryLimits, SearchOptions};

/// What texts are made of.
const WORDS: [&str; 12] =
    ["refund", "refunds", "late", "LATE", "spam", "Émile", "order-17", "a_b", "la", "京都", "東京都", "x.y"];

/// A call with that history, the last of it new, and that answer.
fn turn(index: u64, history: &[String], answer: &str) -> Committed {
    let mut record =
        Record::new(Uuid::from_u128(u128::from(index) << 64 | 7), Kind::Interaction, NOON + index as i64, [7; 32]);
    let messages: Vec<_> =
        history.iter().map(|text| serde_json::json!({"role": "user", "content": text}).to_string()).collect();
    record.set(&field::INPUT_BODY, format!(r#"{{"model":"m","messages":[{}]}}"#, messages.join(",")).into_bytes());
    record.set(&field::INPUT_TEXT, history.last().cloned().unwrap_or_default());
    record.set(&field::OUTPUT_TEXT, answer);
    record.set(&field::SESSION, format!("s{}", index / 5));
    record.set(&field::REQUEST_MODEL, if index.is_multiple_of(3) { "qwen2" } else { "qwen" });
    Committed { index, committed_at: NOON + index as i64, record }
}

fn sentence() -> impl Strategy<Value = String> {
    proptest::collection::vec(select(&WORDS[..]), 0..6).prop_map(|words| words.join(" "))
}

/// Conversations of up to five turns, whose history is sent again with each.
fn conversations() -> impl Strategy<Value = Vec<Committed>> {
    proptest::collection::vec((sentence(), sentence()), 1..90).prop_map(|turns| {
        let mut history = Vec::new();
        let each = turns.into_iter().enumerate().map(|(index, (question, answer))| {
            if index % 5 == 0 {
                history.clear();
            }
            history.push(question);
            let call = turn(index as u64, &history, &answer);
            history.push(answer);
            call
        });
        each.collect()
    })
}

/// A query, as one who does not know how it is run would evaluate it.
#[derive(Debug, Clone)]
enum Naive {
    Text(&'static str, bool),
    Session(u64),
    Model(&'static str, bool),
    Not(Box<Naive>),
    All(Vec<Naive>),
    Any(Vec<Naive>),
}

fn query() -> impl Strategy<Value = Naive> {
    const TEXTS: [&str; 13] = [
        "refund",
        "late",
        "spam",
        "\"refund late\"",
        "\"la la\"",
        "émile",
        "17",
        "\"order 17\"",
        "京",
        "京都",
        "b",
        "x.y",
        "missing",
    ];
    let leaf = prop_oneof![
        6 => select(&TEXTS[..]).prop_map(|text| Naive::Text(text, false)),
        2 => select(&["ref", "\"la l\"", "東", "\"refund o\""][..]).prop_map(|text| Naive::Text(text, true)),
        1 => (0_u64..9).prop_map(Naive::Session),
        1 => (select(&["qwen", "qwen2", "q"][..]), any::<bool>()).prop_map(|(model, prefix)| Naive::Model(model, prefix)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| Naive::Not(Box::new(part))),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Naive::All),
            proptest::collection::vec(inner, 2..4).prop_map(Naive::Any),
        ]
    })
}

impl Naive {
    fn show(&self) -> String {
        let star = |prefix: &bool| if *prefix { "*" } else { "" };
        match self {
            Self::Text(text, prefix) => format!("{text}{}", star(prefix)),
            Self::Session(number) => format!("session:s{number}"),
            Self::Model(model, prefix) => format!("model:{model}{}", star(prefix)),
            Self::Not(part) => format!("-({})", part.show()),
            Self::All(parts) => parts.iter().map(|part| format!("({})", part.show())).collect::<Vec<_>>().join(" "),
            Self::Any(parts) => parts.iter().map(|part| format!("({})", part.show())).collect::<Vec<_>>().join(" OR "),
        }
    }

    fn holds(&self, call: &Committed) -> bool {
        match self {
            Self::Text(text, prefix) => texts(call).iter().any(|have| contains(have, text, *prefix)),
            Self::Session(number) => call.record.text(&field::SESSION) == Some(&format!("s{number}")),
            Self::Model(model, prefix) => {
                let have = call.record.text(&field::REQUEST_MODEL).unwrap();
                if *prefix { have.starts_with(model) } else { have == *model }
            }
            Self::Not(part) => !part.holds(call),
            Self::All(parts) => parts.iter().all(|part| part.holds(call)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(call)),
        }
    }
}

fn texts(call: &Committed) -> Vec<String> {
    let body = call.record.get(&field::INPUT_BODY).unwrap().as_bytes().unwrap();
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let messages =
        body["messages"].as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap().to_owned());
    messages.chain([call.record.text(&field::OUTPUT_TEXT).unwrap().to_owned()]).collect()
}

/// By substrings of text in which every word stands between spaces.
fn contains(text: &str, wanted: &str, prefix: bool) -> bool {
    let apart = |text: &str| {
        let lower = text.to_lowercase();
        let each = lower.chars().map(|c| match c {
            '京' | '都' | '東' => format!(" {c} "),
            c if c.is_alphanumeric() => c.to_string(),
            _ => " ".to_owned(),
        });
        let spaced = each.collect::<String>();
        format!(" {} ", spaced.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let wanted = apart(wanted);
    apart(text).contains(if prefix { wanted.trim_end() } else { &wanted })
}

fn all() -> SearchOptions {
    SearchOptions { limit: 10_000, newest: true, ..SearchOptions::default() }
}

/// The hits, oldest first, with their scores as they are to the last bit.
pub(super) async fn hits(fixture: &Fixture, query: &str) -> Vec<(u64, u32)> {
    let result = fixture.lake.search(query, all()).await.unwrap();
    assert_eq!(result.total, result.hits.len() as u64);
    result.hits.iter().rev().map(|hit| (hit.leaf_index, hit.score.to_bits())).collect()
}

/// What a list of the best hits shows, as far as `limit`: leaf, score and snippet; and how many there are.
async fn best(fixture: &Fixture, query: &str, limit: usize) -> (u64, Vec<(u64, u32, String)>) {
    let result = fixture.lake.search(query, SearchOptions { limit, ..SearchOptions::default() }).await.unwrap();
    let hits = result.hits.iter().map(|hit| (hit.leaf_index, hit.score.to_bits(), hit.snippet.marked()));
    (result.total, hits.collect())
}

/// Every hit, the oldest first, and the best ones.
type Answer = (Vec<(u64, u32)>, (u64, Vec<(u64, u32, String)>));

async fn answer(fixture: &Fixture, query: &str) -> Answer {
    let all = best(fixture, query, 10_000).await;
    for limit in [0, 1, 3] {
        let (total, some) = best(fixture, query, limit).await;
        assert_eq!((total, &some[..]), (all.0, &all.1[..all.1.len().min(limit)]), "{query}, the best {limit}");
    }
    (hits(fixture, query).await, all)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn an_answer_is_that_of_a_scan(calls in conversations(), queries in proptest::collection::vec(query(), 12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::with_files_of(calls.clone(), 30).await;
            let mut answers = Vec::new();
            for query in &queries {
                let expected: Vec<_> = calls.iter().filter(|call| query.holds(call)).map(|call| call.index).collect();
                let found = answer(&fixture, &query.show()).await;
                assert_eq!(found.0.iter().map(|(leaf, _)| *leaf).collect::<Vec<_>>(), expected, "{}", query.show());
                answers.push(found);
            }
            // Hot, then partly sealed, partly indexed, all indexed.
            while fixture.lake.seal().await.unwrap().is_some() {
                for (query, expected) in queries.iter().zip(&answers) {
                    assert_eq!(&answer(&fixture, &query.show()).await, expected, "{}", query.show());
                }
                if fixture.lake.stats().cursor > 30 {
                    fixture.lake.index().await.unwrap();
                }
            }
            fixture.lake.index().await.unwrap();
            for (query, expected) in queries.iter().zip(&answers) {
                assert_eq!(&answer(&fixture, &query.show()).await, expected, "{}", query.show());
            }
            // The indexes put together, too.
            while fixture.lake.compact().await.unwrap().is_some() {}
            assert_eq!(fixture.lake.index().await.unwrap(), 0);
            for (query, expected) in queries.iter().zip(&answers) {
                assert_eq!(&answer(&fixture, &query.show()).await, expected, "{}", query.show());
            }
        });
    }
}

pub(super) async fn indexed(records: Vec<Committed>) -> Fixture {
    let fixture = Fixture::new(records).await;
    while fixture.lake.seal().await.unwrap().is_some() {}
    fixture.lake.index().await.unwrap();
    fixture
}

#[tokio::test]
async fn records_are_found_by_their_id() {
    let fixture = indexed(calls(250)).await;
    for index in [0, 99, 100, 249] {
        assert_eq!(fixture.lake.find(call(index).record.id).await.unwrap(), Some(call(index)));
    }
    assert_eq!(fixture.lake.find(call(250).record.id).await.unwrap(), None);
    let wanted = [249, 3, 250, 40, 41, 100, 251].map(|index| call(index).record.id);
    for indexed in [true, false] {
        let found: Vec<_> = fixture
            .lake
            .find_all(wanted.into())
            .await
            .unwrap()
            .map_ok(|found| found.index)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(found, [3, 40, 41, 100, 249], "indexed: {indexed}");
        for file in index_files(&fixture) {
            std::fs::remove_file(file).unwrap();
        }
        fixture.lake.inner.indexes.forget();
    }
}

#[tokio::test]
async fn a_hit_says_what_and_where() {
    let mut records = calls(10);
    let other = Uuid::from_u128(1);
    records[4].record.erase(Group::Output, other);
    records[5].record.set(&field::ERROR_MESSAGE, "the model server is on fire");
    records[6].record.set(&field::EXPLANATION, "badly translated");
    records[6].record.set(&field::STOP_REASONS, vec![Value::from("eos")]);
    let fixture = indexed(records).await;
    let found = fixture.lake.search("translated", SearchOptions::default()).await.unwrap();
    assert_eq!((found.total, found.hits[0].snippet.place), (1, "judgement"));
    assert!(hits(&fixture, "eos").await.is_empty());
    let found = fixture.lake.search("fire* session:session-0", SearchOptions::default()).await.unwrap();
    let hit = &found.hits[0];
    assert_eq!((found.total, hit.leaf_index, hit.kind, hit.snippet.place), (1, 5, "interaction", "error"));
    assert_eq!((hit.session.as_deref(), hit.model.as_deref()), (Some("session-0"), Some("tiny")));
    assert_eq!(hit.snippet.marked(), "the model server is on «fire»");
    assert!(hits(&fixture, "\"answer 4\"").await.is_empty(), "it was erased");
    let since = SearchOptions { since: Some(NOON + 6000 - 900), until: Some(NOON + 8000 - 900), ..all() };
    let found = fixture.lake.search("answer", since).await.unwrap();
    assert_eq!(found.hits.iter().map(|hit| hit.leaf_index).collect::<Vec<_>>(), [7, 6]);
    let best = SearchOptions { limit: 2, ..SearchOptions::default() };
    let found = fixture.lake.search("question", best).await.unwrap();
    assert_eq!((found.total, found.hits.len()), (10, 2));
    assert!(found.hits[0].score >= found.hits[1].score);
}

#[tokio::test]
async fn sql_joins_the_hits() {
    let fixture = indexed(calls(150)).await;
    for (statement, expected) in [
        ("SELECT count(*) FROM search('answer')", "150"),
        ("SELECT count(*) FROM search('answer', 7)", "7"),
        (
            "SELECT i.request_id, s.snippet FROM search('\"answer 117\"') s JOIN interactions i USING (leaf_index)",
            "request-117|«answer 117»",
        ),
        (
            "SELECT sum(leaf_index), min(place), max(origin) FROM search('\"answer 1\"') WHERE score > 0",
            "1|output|test.example/log",
        ),
        (
            "SELECT count(*) FROM interactions WHERE leaf_index IN (SELECT leaf_index FROM search('question 6 -answer')) ",
            "0",
        ),
    ] {
        assert_eq!(fixture.query(statement).await, [expected], "{statement}");
    }
    for (statement, expected) in [
        ("SELECT * FROM search('a AND')", "the search, at character 6: a word is missing here"),
        ("SELECT * FROM search()", "search('words')"),
        ("SELECT * FROM search('a', 1000000)", "search('words')"),
    ] {
        let error = fixture.try_query(statement, QueryLimits::default()).await.unwrap_err();
        assert!(matches!(&error, Error::Query(text) if text.contains(expected)), "{error:?}");
    }
    let error = fixture.lake.search("(a", SearchOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the search, at character 1: `(` without a `)` after it");
}
