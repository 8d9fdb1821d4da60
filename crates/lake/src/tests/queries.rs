//! SQL: the same answers hot and sealed, its limits, and what it may not do.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ParamValues;
use datafusion::common::cast::as_int64_array;
use datafusion::config::Dialect;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use futures::TryStreamExt;
use onrecord_ledger::Committed;
use onrecord_proof::field;

use super::Fixture;
use super::records::{call, calls};
use crate::{Error, QueryLimits};

const STATEMENTS: [&str; 9] = [
    "SELECT count(*) FROM records",
    "SELECT session, count(*), sum(output_tokens), min(duration_ms) FROM interactions GROUP BY 1 ORDER BY 1",
    "SELECT leaf_index, answer FROM interactions WHERE request_id = 'request-117'",
    "SELECT leaf_index FROM interactions WHERE leaf_index BETWEEN 95 AND 105 ORDER BY 1",
    "SELECT leaf_index FROM interactions ORDER BY leaf_index DESC LIMIT 5",
    "SELECT count(*) FROM interactions WHERE tags['team'] = 'red' AND input LIKE '%question 3%'",
    "SELECT r.leaf_index, i.model FROM records r JOIN interactions i USING (id) ORDER BY 1 LIMIT 7 OFFSET 140",
    "SELECT time, stop_sequences, origin, commit_date FROM interactions JOIN records USING (leaf_index) ORDER BY 1",
    "SELECT count(*) FROM accesses UNION ALL SELECT count(*) FROM events",
];

#[tokio::test]
async fn an_answer_does_not_depend_on_what_is_sealed() {
    let fixture = Fixture::new(calls(250)).await;
    let mut hot = Vec::new();
    for statement in STATEMENTS {
        hot.push(fixture.query(statement).await);
    }
    assert_eq!(hot[0], ["250"]);
    assert_eq!(hot[2], ["117|answer 117"]);
    assert_eq!(hot[4], ["249", "248", "247", "246", "245"]);
    let brute = calls(250).iter().filter(|call| call.index % 2 == 0 && call.index % 7 >= 3).count();
    assert_eq!(hot[5], [brute.to_string()]);
    while fixture.lake.seal().await.unwrap().is_some() {
        for (statement, hot) in STATEMENTS.iter().zip(&hot) {
            assert_eq!(fixture.query(statement).await, *hot, "{statement}");
        }
    }
}

/// Around a statement, `SELECT *` has it planned over all columns.
#[tokio::test]
async fn an_answer_does_not_depend_on_the_columns_that_are_left_out() {
    let fixture = Fixture::new(calls(250)).await;
    fixture.lake.seal().await.unwrap();
    let more = [
        "SELECT count(*) FROM interactions",
        "SELECT 1 AS one FROM records WHERE leaf_index < 3",
        "SELECT I.\"id\", Answer FROM interactions AS I WHERE i.Model LIKE 'tin%' AND outcome = 'completed'",
        "SELECT r.kind, count(*) AS n FROM records r LEFT JOIN steps s ON s.interaction_id = r.id GROUP BY r.kind",
        "SELECT id FROM interactions i WHERE EXISTS (SELECT leaf_index FROM records WHERE id = i.id AND leaf_index > 200)",
        "WITH last AS (SELECT session, max(leaf_index) AS leaf FROM interactions GROUP BY session) \
         SELECT last.session, answer FROM last JOIN interactions ON leaf_index = leaf",
        "SELECT session, row_number() OVER (PARTITION BY session ORDER BY leaf_index) AS turn FROM interactions",
        "SELECT session, calls, models FROM sessions",
        "SELECT origin, commit_date, count(*) AS n FROM records GROUP BY origin, commit_date",
    ];
    for statement in STATEMENTS.into_iter().chain(more) {
        let mut found = fixture.query(statement).await;
        let mut among_all = fixture.query(&format!("SELECT * FROM ({statement}) AS whole")).await;
        assert!(!found.is_empty(), "{statement}");
        found.sort();
        among_all.sort();
        assert_eq!(found, among_all, "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn answers_are_whole_while_sealing_goes_on() {
    let fixture = Fixture::new(Vec::new()).await;
    let (lake, log) = (fixture.lake.clone(), fixture.log.clone());
    let sealing = tokio::spawn(async move {
        for record in calls(2000).chunks(50) {
            log.append(record.to_vec());
            lake.seal().await.unwrap();
        }
    });
    let mut last = 0;
    while !sealing.is_finished() {
        let found =
            fixture.query("SELECT count(*), count(DISTINCT leaf_index), max(leaf_index) + 1 FROM records").await;
        let counts: Vec<u64> = found[0].split('|').map(|cell| cell.parse().unwrap_or(0)).collect();
        assert!(counts[0] == counts[1] && counts[1] == counts[2] && counts[0] >= last, "{found:?}");
        last = counts[0];
    }
    sealing.await.unwrap();
    assert_eq!(fixture.query("SELECT count(DISTINCT leaf_index) FROM records").await, ["2000"]);
}

#[tokio::test]
async fn now_is_a_moment_as_the_times_of_records_are() {
    let fixture = Fixture::new(calls(3)).await;
    let statement = "SELECT now() AT TIME ZONE 'Europe/Berlin' = now(), count(now() - time) FROM interactions";
    assert_eq!(fixture.query(statement).await, ["true|3"]);
    assert_eq!(fixture.query("SELECT arrow_typeof(now()) LIKE '%UTC%'").await, ["true"]);
}

#[tokio::test]
async fn a_text_that_is_compared_with_a_number_is_not_told() {
    let fixture = Fixture::new(calls(20)).await;
    fixture.lake.seal_all().await.unwrap();
    for statement in
        ["SELECT id FROM interactions WHERE session = 17", "SELECT CAST(request_id AS INT) FROM interactions"]
    {
        let result =
            async { fixture.lake.query(statement, QueryLimits::default()).await?.try_collect::<Vec<_>>().await };
        let Err(Error::Query(problem)) = result.await else { panic!("{statement}") };
        assert!(
            problem.contains("quotes") && !problem.contains("request-") && !problem.contains("session-"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_query_only_reads() {
    let fixture = Fixture::new(calls(3)).await;
    for statement in [
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW interactions AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'",
        "DROP TABLE records",
        "INSERT INTO records SELECT * FROM records",
        "DELETE FROM records",
        "UPDATE records SET id = 'x'",
        "COPY records TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM \"file:///etc/passwd\"",
        "SELECT * FROM read_csv('/etc/passwd')",
        "EXPLAIN ANALYZE INSERT INTO records SELECT * FROM records",
    ] {
        let error = fixture.try_query(statement, QueryLimits::default()).await.unwrap_err();
        assert!(matches!(error, Error::Query(_)), "{statement}: {error:?}");
    }
    assert_eq!(fixture.query("SELECT count(*) FROM records").await, ["3"]);
}

#[tokio::test]
async fn a_wrong_statement_gets_a_helpful_answer() {
    let fixture = Fixture::new(calls(3)).await;
    for (statement, expected) in [
        ("SELECT foo FROM accesses", "no column named \"foo\"; there are time, id, leaf_index, principal,"),
        ("SELECT * FROM foo", "no table named \"foo\"; there are records, interactions,"),
        ("DELETE FROM records", "a query only reads"),
        ("SELEC 1", "the statement is not valid SQL: Expected"),
        ("SELECT body(id) FROM records", "body takes a body column"),
    ] {
        let error = fixture.try_query(statement, QueryLimits::default()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{statement}: {error}");
    }
}

#[tokio::test]
async fn more_rows_than_allowed_are_left_out_and_it_says_so() {
    let fixture = Fixture::new(calls(250)).await;
    fixture.lake.seal().await.unwrap();
    for (rows, truncated) in [(249, true), (250, false), (0, true)] {
        let limits = QueryLimits { rows, ..QueryLimits::default() };
        let mut query = fixture.lake.query("SELECT id FROM records", limits).await.unwrap();
        let mut found = 0;
        while let Some(batch) = query.try_next().await.unwrap() {
            found += batch.num_rows();
        }
        assert_eq!((found, query.truncated()), (rows, truncated));
    }
}

#[tokio::test]
async fn memory_and_time_are_limited() {
    let fixture = Fixture::new(calls(2000)).await;
    let small = QueryLimits { memory_bytes: 50_000, ..QueryLimits::default() };
    let heavy = "SELECT input, count(*) FROM interactions GROUP BY 1 ORDER BY 2";
    let error = fixture.try_query(heavy, small).await.unwrap_err();
    assert!(matches!(error, Error::QueryMemory { limit: 50_000, .. }), "{error:?}");
    let short = QueryLimits { time: Duration::from_millis(200), ..QueryLimits::default() };
    let endless =
        "SELECT count(*) FROM records a, records b, records c WHERE a.leaf_index + b.leaf_index > c.leaf_index";
    let error = fixture.try_query(endless, short).await.unwrap_err();
    assert!(matches!(error, Error::QueryTime { .. }), "{error:?}");
}

#[tokio::test]
async fn a_query_stops_when_its_result_is_dropped() {
    let fixture = Fixture::new(calls(2000)).await;
    let endless = "SELECT a.id FROM records a, records b, records c";
    let mut query = fixture.lake.query(endless, QueryLimits::default()).await.unwrap();
    assert!(query.try_next().await.unwrap().is_some());
    drop(query);
    while fixture.lake.inner.versions.has_readers() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_stops_reading_keeps_nothing_once_the_time_is_up() {
    let fixture = Fixture::new(calls(2000)).await;
    let limits = QueryLimits { time: Duration::from_millis(300), ..QueryLimits::default() };
    let query = fixture.lake.query("SELECT a.id FROM records a, records b", limits).await.unwrap();
    let released = async {
        while fixture.lake.inner.versions.has_readers() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), released).await.expect("the snapshot is still held");
    let error = query.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(matches!(error, Error::QueryTime { .. }), "{error:?}");
}

#[tokio::test]
async fn rows_that_a_panic_cuts_off_are_no_answer() {
    let fixture = Fixture::new(calls(200)).await;
    let fails = |values: &[ColumnarValue]| {
        let leaves = values[0].to_array(1)?;
        assert!(as_int64_array(&leaves)?.iter().all(|leaf| leaf < Some(150)), "a defect of a function");
        Ok(values[0].clone())
    };
    let fails = create_udf("fails", vec![DataType::Int64], DataType::Int64, Volatility::Volatile, Arc::new(fails));
    let mut session = fixture.lake.session();
    session.register_udf(Arc::new(fails)).unwrap();
    let statement = session.sql_to_statement("SELECT fails(leaf_index) FROM records", &Dialect::PostgreSQL).unwrap();
    let limits = QueryLimits::default();
    let plan = fixture.lake.plan(session.clone(), statement, limits.clone()).await.unwrap();
    let query = fixture.lake.run(&session, plan, ParamValues::List(Vec::new()), limits).await.unwrap();
    let error = query.try_collect::<Vec<_>>().await.unwrap_err().to_string();
    assert!(error.contains("a defect of a function"), "{error}");
}

#[tokio::test]
async fn of_large_rows_few_are_read_at_once() {
    let image = "iVBOR/+9".repeat(260_000);
    let large = |mut row: Committed| {
        let body = format!(r#"{{"messages":[{{"image":"{image}"}}]}}"#);
        row.record.set(&field::INPUT_BODY, body.into_bytes());
        row
    };
    let mut fixture = Fixture::new(calls(40).into_iter().map(large).collect()).await;
    fixture.lake.seal().await.unwrap();
    fixture.reopen().await;
    // By the last condition no file is read, so what fulfils it is put together above.
    for (statement, most) in [
        ("SELECT leaf_index FROM records", 40),
        ("SELECT leaf_index, onrecord_input_body FROM records", 16),
        ("SELECT input FROM interactions WHERE input LIKE '%iVBOR%'", 16),
    ] {
        let query = fixture.lake.query(statement, QueryLimits::default()).await.unwrap();
        let rows: Vec<_> = query.map_ok(|batch| batch.num_rows()).try_collect().await.unwrap();
        assert_eq!((rows.iter().sum::<usize>(), rows.iter().max()), (40, Some(&most)), "{statement}");
    }
}

#[tokio::test]
async fn values_are_bound_and_not_pasted() {
    let fixture = Fixture::new(calls(20)).await;
    let statement = "SELECT count(*) FROM interactions WHERE request_id = $1 OR leaf_index = $2";
    let values = vec!["request-3' OR 1=1 --".into(), 7_i64.into()];
    let query = fixture.lake.query_with(statement, values, QueryLimits::default()).await.unwrap();
    let batches: Vec<_> = query.try_collect().await.unwrap();
    assert_eq!(super::rows(&batches[0]), ["1"]);
}

#[tokio::test]
async fn now_is_when_the_query_begins() {
    let fixture = Fixture::new(calls(1)).await;
    let now = || onrecord_ledger::now();
    for _ in 0..2 {
        let before = now();
        let found = fixture
            .query("SELECT arrow_cast(now(), 'Timestamp(Microsecond, Some(\"UTC\"))')::BIGINT FROM records")
            .await;
        let found: i64 = found[0].parse().unwrap();
        assert!((before..=now()).contains(&found), "{found} is not after {before}");
    }
}

#[tokio::test]
async fn the_engine_knows_columns_and_plans() {
    let fixture = Fixture::new(calls(150)).await;
    fixture.lake.seal().await.unwrap();
    assert!(fixture.query("DESCRIBE interactions").await.iter().any(|row| row.starts_with("prompt|Utf8")));
    let tables = fixture
        .query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1")
        .await;
    let there = |name: &str| tables.iter().any(|table| table == name);
    assert!(["accesses", "events", "interactions", "records"].iter().all(|name| there(name)), "{tables:?}");
    let plan = fixture.query("EXPLAIN SELECT answer FROM interactions WHERE leaf_index = 3").await.join("\n");
    assert!(plan.contains("DataSourceExec") && plan.contains("pruning_predicate"), "{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_does_not_depend_on_what_is_indexed() {
    let conditions = [
        format!("id = '{}'", call(91).record.id),
        "session = 'session-3'".to_owned(),
        "session IN ('session-1', 'session-40', 'nobody')".to_owned(),
        "request_id = 'request-17'".to_owned(),
        "request_id = 'nobody'".to_owned(),
        "model = 'tiny' AND session = 'session-9'".to_owned(),
        "session = 'session-2' OR request_id = 'request-300'".to_owned(),
        "(model = 'x' OR response_model = 'x')".to_owned(),
        "has_tag(tags, 'team', 'red') AND leaf_index % 9 = 0".to_owned(),
        "has_tag(tags, 'team') AND session = 'session-30'".to_owned(),
        "NOT session = 'session-0' AND leaf_index < 12".to_owned(),
        "session = 'session-3' OR output_tokens = 5".to_owned(),
        // The bounds of files: from the first record of the third one on, and before the last one of the first.
        format!("time >= to_timestamp_micros({})", call(200).record.captured_at),
        format!("time < to_timestamp_micros({})", call(99).record.captured_at),
    ];
    let statements = conditions.iter().flat_map(|condition| {
        ["ORDER BY leaf_index", "ORDER BY leaf_index DESC LIMIT 5"]
            .map(|order| format!("SELECT leaf_index, request_id FROM interactions WHERE {condition} {order}"))
    });
    let statements: Vec<_> = statements.collect();
    let fixture = Fixture::new(calls(350)).await;
    let mut expected = Vec::new();
    for statement in &statements {
        expected.push(fixture.query(statement).await);
    }
    assert_eq!(expected[0], ["91|request-91"]);
    assert_eq!(expected[2].len(), 7);
    let mut sealed = 0;
    while fixture.lake.seal().await.unwrap().is_some() {
        sealed += 1;
        if sealed == 2 {
            fixture.lake.index().await.unwrap();
        }
        for (statement, expected) in statements.iter().zip(&expected) {
            assert_eq!(&fixture.query(statement).await, expected, "{statement}, {sealed} files");
        }
    }
    let explain = "EXPLAIN FORMAT INDENT SELECT leaf_index FROM interactions WHERE request_id = 'request-17'";
    let files = |plan: Vec<String>| plan.concat().matches(".parquet").count();
    assert_eq!(files(fixture.query(explain).await), 3, "one by its index, two that have none");
    fixture.lake.index().await.unwrap();
    assert_eq!(files(fixture.query(explain).await), 1);
    for (statement, expected) in statements.iter().zip(&expected) {
        assert_eq!(&fixture.query(statement).await, expected, "{statement}, all indexed");
    }
}
