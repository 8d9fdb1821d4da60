//! Search from the command line and over HTTP: the same while rows are hot, sealed, indexed, and with the index gone.

use serde_json::{Value, json};

use crate::support::http::get;
use crate::support::{Log, chat, post, upstream, wait_for};

fn ids(answer: &Value) -> Vec<&str> {
    answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap()).collect()
}

fn indexes(log: &Log) -> Vec<std::path::PathBuf> {
    let folder = std::fs::read_dir(log.data().join("index")).into_iter().flatten();
    let files = folder.map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|end| end == "search")).collect()
}

/// What must hold whatever is sealed or indexed.
fn check(log: &Log, sent: &[String]) {
    let search = |query: &str| log.json(&["search", query, "--newest", "--json"]);
    assert_eq!(ids(&search("damaged AND parcel")), [&sent[1], &sent[0]]);
    assert_eq!(ids(&search("parcel -harbour session:s-1")), [&sent[0]]);
    assert_eq!(ids(&search("\"the harbour\" OR missing model:tiny*")), [&sent[1]]);
    assert_eq!(ids(&search("港")), [&sent[1]]);
    let best = log.json(&["search", "harb*", "--json"]);
    assert_eq!((&best["total"], &best["hits"][0]["session"]), (&json!(1), &json!("s-1")));
    assert!(best["hits"][0]["snippet"].as_array().unwrap().contains(&json!({ "text": "harbour", "found": true })));
    let joined = "SELECT i.id FROM search('harbour') JOIN interactions i USING (leaf_index)";
    assert_eq!(log.query(joined)[0]["id"], sent[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_searched_for_is_found_in_every_state() {
    let (log, model) = (Log::with_config("[lake]\nseal_after = \"1s\"\n"), upstream::model().await);
    let server = log.serve(&model);
    let mut sent = Vec::new();
    for question in ["My parcel is damaged.", "The damaged parcel lies at the harbour (港町)."] {
        let reply = post(server.gateway, &[("x-onrecord-session", "s-1")], chat(question, json!({}))).await;
        sent.push(reply.id());
    }
    check(&log, &sent);
    wait_for("an index", || (!indexes(&log).is_empty()).then_some(()));
    check(&log, &sent);

    let shown = log.run(&["search", "harbour", "damaged"]).good();
    assert!(shown.contains(&sent[1]) && shown.contains("input: ") && shown.contains("at the harbour"), "{shown}");
    let shown = log.run(&["search", "kind:access", "-n", "1"]).good();
    assert!(shown.contains("  access\n") && shown.lines().count() == 1, "{shown}");
    let wrong = log.run(&["search", "a (b"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("the search, at character 3: `(` without a `)` after it"), "{wrong:?}");
    let wrong = get(server.api, "/api/v1/search?q=%22", &[]).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "bad_query"));
    let wrong = get(server.api, "/api/v1/search?query=a", &[]).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (400, "bad_request"));
    let answer =
        get(server.api, "/api/v1/search?q=parcel&limit=1", &[("x-onrecord-purpose", "a complaint")]).await.json();
    assert_eq!((&answer["total"], answer["hits"].as_array().unwrap().len()), (&json!(2), 1));
    let read = log.query("SELECT statement FROM accesses WHERE event = 'search' AND purpose = 'a complaint'");
    assert_eq!(read[0]["statement"], "parcel");

    server.stop();
    check(&log, &sent);
    std::fs::remove_dir_all(log.data().join("index")).unwrap();
    check(&log, &sent);
    log.verify();
}
