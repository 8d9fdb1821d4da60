//! Other engines on the table's files: each finds what the program itself finds.

use serde_json::{Value, json};

use crate::clients::Client;
use crate::support::{Log, Server, chat, post, upstream, wait_for};

async fn calls(server: &Server, users: &[&str]) {
    for user in users {
        let headers = [("x-onrecord-user", *user), ("x-onrecord-tags", "team=support,release=42")];
        let question = format!("a question of {user}, with an é");
        assert_eq!(post(server.gateway, &headers, chat(&question, json!({}))).await.status, 200);
    }
}

/// Waits until everything that is there by now is sealed; gives how many records that are.
fn sealed(log: &Log) -> u64 {
    let records = log.json(&["stats", "--json"])["records"].as_u64().unwrap();
    wait_for("the seal", || {
        let sealed = log.json(&["stats", "--json"])["sealed_records"].as_u64().unwrap();
        (sealed >= records).then_some(sealed)
    })
}

/// The program's own answer to what `with_engines.py` asks, in the same form.
fn own(log: &Log, leaves: u64) -> Value {
    let rows = log.query(&format!(
        "SELECT kind, count(*) AS records, coalesce(sum(gen_ai_usage_input_tokens), 0) AS input_tokens, \
         coalesce(sum(character_length(onrecord_input_text)), 0) AS characters, CAST(min(captured_at) AS BIGINT) AS first_us, \
         coalesce(sum(cardinality(onrecord_tags)), 0) AS tags FROM records WHERE leaf_index < {leaves} GROUP BY kind ORDER BY kind"
    ));
    let columns = ["kind", "records", "input_tokens", "characters", "first_us", "tags"];
    rows.iter().map(|row| columns.map(|column| row[column].clone()).into_iter().collect::<Value>()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_polars_deltalake_and_spark_find_the_same_after_an_erasure() {
    let Some(client) = Client::python("with_engines.py", "duckdb, polars, deltalake, pyspark") else { return };
    let log = Log::with_config("[lake]\nseal_after = \"1s\"\n");
    let model = upstream::model().await;
    let server = log.serve(&model);
    calls(&server, &["alice", "bob", "alice"]).await;
    sealed(&log);
    calls(&server, &["carol", "bob"]).await;
    sealed(&log);
    // The files that it replaces must not be counted too.
    log.run(&["erase", "--where", "user_id = 'alice'", "--fields", "input", "--reason", "asked for", "--by", "a"])
        .good();
    let leaves = sealed(&log);
    server.stop();

    let table = log.data().join("lake/records");
    let found = client.script(&[], &[table.to_str().unwrap(), &leaves.to_string()]).good();
    let found: Value = serde_json::from_str(&found).unwrap();
    let own = own(&log, leaves);
    let interactions = own.as_array().unwrap().iter().find(|row| row[0] == "interaction").unwrap();
    assert_eq!((&interactions[1], &interactions[5]), (&json!(5), &json!(10)), "{own}");
    assert!(interactions[2].as_u64() > Some(0) && interactions[3].as_u64() > Some(0), "{own}");
    assert_eq!(found, json!({ "duckdb": own, "polars": own, "deltalake": own, "spark": own, "recipes": 4 }));
}
