//! SQL over HTTP: values that are bound, formats, limits, and a client that goes away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::http::{get, header, open, raw, request, status};
use crate::support::{Log, PATIENCE, Reply, Server, chat, post, upstream};

const ROWS: &str = "SELECT n FROM (SELECT unnest(range(0, 50)) AS n) WHERE n >= 0 ORDER BY n";
/// Would take days.
const ENDLESS: &str =
    "WITH n AS (SELECT unnest(range(0, 1000000)) AS n) SELECT count(*) FROM n a, n b, n c WHERE a.n + b.n + c.n = -1";

fn server(config: &str) -> (Log, Server) {
    let log = Log::with_config(config);
    let server = log.serve("http://127.0.0.1:1");
    (log, server)
}

fn query(server: &Server, headers: &[(&str, &str)], ask: &Value) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = request(server.api, headers, ask.to_string());
    *request.uri_mut() = format!("http://{}/api/v1/query", server.api).parse().unwrap();
    request
}

async fn ask(server: &Server, headers: &[(&str, &str)], ask: Value) -> Reply {
    Reply::read(open(query(server, headers, &ask)).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_bound_and_on_record_and_no_part_of_the_statement() {
    let log = Log::new();
    let model = upstream::model().await;
    let server = log.serve(&model);
    let attack = "x' OR 'a' = 'a";
    for user in ["bob", attack] {
        assert_eq!(post(server.gateway, &[("x-onrecord-user", user)], chat("Why?", json!({}))).await.status, 200);
    }
    let sql = "SELECT user_id, $2 AS n FROM interactions WHERE user_id = $1 AND status < $3 AND time > $4";
    let params = json!([attack, 7, 200.5, "2020-01-01T00:00:00Z"]);
    let expect = json!([{ "user_id": attack, "n": 7 }]);
    assert_eq!(ask(&server, &[], json!({ "sql": sql, "params": params })).await.json(), expect);
    let text: String = url::form_urlencoded::byte_serialize(params.to_string().as_bytes()).collect();
    let statement: String = url::form_urlencoded::byte_serialize(sql.as_bytes()).collect();
    let got = get(server.api, &format!("/api/v1/query?sql={statement}&params={text}"), &[]).await;
    assert_eq!(got.json(), expect);
    let typed = ["--param", attack, "--param", "7", "--param", "200.5", "--param", "2020-01-01T00:00:00Z"];
    assert_eq!(log.json(&[&["query", sql, "--format", "json"], &typed[..]].concat()), expect);
    let accesses =
        log.query("SELECT statement FROM accesses WHERE statement LIKE '%' || chr(10) || '-- $1 = \"x''%-- $2 = 7%'");
    assert_eq!(accesses.len(), 3, "{accesses:?}");

    for (wrong, says) in [
        (json!({ "sql": sql, "params": [attack] }), "$"),
        (json!({ "sql": sql, "params": [[1]] }), "the value for $1 must be"),
        (json!({ "sql": sql, "params": 1 }), "params: invalid type"),
        (json!({ "sql": sql, "param": [] }), "unknown field `param`"),
        (json!({ "sql": "SELECT 1", "format": "xlsx" }), "unknown variant `xlsx`"),
    ] {
        let reply = ask(&server, &[], wrong.clone()).await;
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!((400..=422).contains(&reply.status) && message.contains(says), "{wrong}: {reply:?} {message}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accept_header_chooses_the_format() {
    let (_log, server) = server("");
    for (accept, begins) in [
        ("application/json", &b"[{\"n\":0},"[..]),
        ("text/html, application/x-ndjson;q=0.9", b"{\"n\":0}\n{\"n\":1}\n"),
        ("text/csv", b"n\n0\n1\n"),
        ("application/vnd.apache.parquet", b"PAR1"),
        ("application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff"),
    ] {
        let reply = ask(&server, &[("accept", accept)], json!({ "sql": ROWS })).await;
        assert!(reply.status == 200 && reply.whole && reply.body.starts_with(begins), "{accept}: {}", reply.text());
        let content_type = reply.headers["content-type"].to_str().unwrap();
        assert!(accept.contains(content_type.split(';').next().unwrap()), "{content_type}");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_with_too_many_rows_breaks_off_unless_it_may_be_cut() {
    let (log, server) = server("[lake]\nquery_rows = 20\n");
    let cut = ask(&server, &[], json!({ "sql": ROWS, "rows": 5 })).await.json();
    assert_eq!((cut["rows"].as_array().unwrap().len(), &cut["truncated"]), (5, &json!(true)));
    let cut = ask(&server, &[], json!({ "sql": ROWS, "rows": 1000 })).await.json();
    assert_eq!((cut["rows"].as_array().unwrap().len(), &cut["truncated"]), (20, &json!(true)));
    let whole = ask(&server, &[], json!({ "sql": format!("{ROWS} LIMIT 4"), "rows": 4 })).await.json();
    assert_eq!((whole["rows"].as_array().unwrap().len(), &whole["truncated"]), (4, &json!(false)));

    let broken = ask(&server, &[], json!({ "sql": ROWS, "format": "jsonl" })).await;
    let last: Value = serde_json::from_str(broken.text().lines().last().unwrap()).unwrap();
    assert_eq!((broken.whole, &last["error"]["code"]), (false, &json!("query_limit")), "{}", broken.text());
    assert!(last["error"]["message"].as_str().unwrap().contains("`query_rows`"));
    let command = log.run(&["query", ROWS, "--format", "csv"]);
    assert!(command.code == Some(2) && command.stderr.contains("broke off"), "{command:?}");
    let file = log.folder().join("rows.csv");
    std::fs::write(&file, "before").unwrap();
    let files = || std::fs::read_dir(log.folder()).unwrap().count();
    let count = files();
    assert_eq!(log.run(&["query", ROWS, "-o", "rows.csv"]).code, Some(2));
    assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), files()), ("before", count));
    log.run(&["query", "SELECT 1 AS one", "-o", "rows.csv"]).good();
    assert_eq!((std::fs::read_to_string(&file).unwrap().as_str(), files()), ("one\n1\n", count));

    let body = json!({ "sql": ROWS, "rows": 3, "format": "csv" }).to_string();
    let head = format!(
        "POST /api/v1/query HTTP/1.1\r\nhost: {}\r\nte: trailers\r\nconnection: close, te\r\ncontent-type: application/json\r\n",
        server.api
    );
    let answer = raw(server.api, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await;
    let trailers = ["x-onrecord-rows", "x-onrecord-truncated"].map(|name| header(&answer, name));
    assert_eq!((status(&answer), trailers), (200, [Some("3"), Some("true")]), "{answer}");
    server.stop();
}

/// Processor time of a process so far, in ms.
fn busy(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks * 1000 / rustix::param::clock_ticks_per_second()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_with_the_client_that_asked_it() {
    let (_log, server) = server("");
    let endless = open(query(&server, &[], &json!({ "sql": ENDLESS })));
    let before = busy(server.pid());
    assert!(timeout(Duration::from_secs(2), endless).await.is_err(), "it has an answer");
    assert!(busy(server.pid()) - before > 300, "the query does not run");
    // Whoever was in the middle of a batch finishes it.
    let begin = Instant::now();
    loop {
        let before = busy(server.pid());
        tokio::time::sleep(Duration::from_millis(500)).await;
        if busy(server.pid()) - before < 100 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "it still runs");
    }
    server.stop();
}
