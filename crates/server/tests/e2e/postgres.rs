//! The PostgreSQL protocol with the clients that people have: psql, psycopg, SQLAlchemy.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use crate::clients::Client;
use crate::support::log::run;
use crate::support::{Log, Ran, Server, chat, post, upstream};

pub(crate) const LISTEN: &str = "[postgres]\nlisten = \"127.0.0.1:0\"\n";

/// `psql`, if it is there. The continuous integration must have it.
pub(crate) struct Psql {
    address: SocketAddr,
    password: String,
    options: &'static str,
}

impl Psql {
    pub(crate) fn of(server: &Server) -> Option<Self> {
        if Command::new("psql").arg("--version").output().is_ok_and(|output| output.status.success()) {
            return Some(Self { address: server.postgres.unwrap(), password: String::new(), options: "" });
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no psql: apt-get install postgresql-client");
        eprintln!("SKIPPED: psql is not installed");
        None
    }

    /// Runs commands one after the other; what it prints is in columns without padding.
    pub(crate) fn run(&self, commands: &[&str]) -> Ran {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-w", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose"]);
        psql.env("PGPASSWORD", &self.password).env("PGUSER", "ada").env_remove("PGOPTIONS");
        psql.arg(format!("postgresql://{}/onrecord?{}", self.address, self.options));
        for command in commands {
            psql.args(["-c", command]);
        }
        run(&mut psql)
    }
}

/// Two calls of one session with two tags.
async fn two_calls(server: &Server, headers: &[(&str, &str)]) {
    let named = [("x-onrecord-session", "s1"), ("x-onrecord-tags", "team=support,beta")];
    let headers = [&named[..], headers].concat();
    for text in ["a first question", "a second question"] {
        let reply = post(server.gateway, &headers, chat(text, json!({ "max_tokens": 2 }))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

fn accesses(log: &Log) -> Vec<Value> {
    let sql = "SELECT principal, user_id, statement, purpose FROM accesses WHERE event = 'query' ORDER BY leaf_index";
    let rows = log.json(&["query", "--format", "json", sql]);
    rows.as_array().unwrap().iter().filter(|row| row["principal"] != "local").cloned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn psql_reads_and_is_on_record() {
    let (log, model) = (Log::with_config(LISTEN), upstream::model().await);
    let server = log.serve(&model);
    two_calls(&server, &[]).await;
    let Some(psql) = Psql::of(&server) else { return };
    for (command, expected) in [
        ("\\dt", "records"),
        ("\\dv", "interactions"),
        ("\\d", "sessions"),
        ("\\d interactions", "first_token_ms|double precision"),
        ("\\d records", "captured_at|timestamp with time zone"),
        ("\\dt+", "records"),
        ("\\dv+", "interactions"),
        ("\\l", "onrecord"),
        ("\\dn", "public"),
        ("\\conninfo", "onrecord"),
        ("SHOW server_version", "16.6"),
        ("SELECT current_database(), current_schema()", "onrecord|public"),
    ] {
        let out = psql.run(&[command]).good();
        assert!(out.contains(expected), "{command}: {out}");
    }
    assert!(accesses(&log).is_empty(), "looking a table up is no access");
    let counted = psql.run(&["SET onrecord.purpose = 'an audit'", "SELECT count(*) AS n FROM interactions"]).good();
    assert!(counted.contains("n\n2\n"), "{counted}");
    let searched = psql.run(&["SELECT count(*) AS n FROM search('second')"]).good();
    assert!(searched.contains("n\n1\n"), "{searched}");
    let refused = psql.run(&["DELETE FROM records"]);
    assert!(refused.stderr.contains("25006: cannot execute DELETE"), "{refused:?}");
    let noted = accesses(&log);
    let [first, second] = noted.as_slice() else { panic!("{noted:#?}") };
    assert_eq!(first["principal"], "anonymous");
    assert_eq!(first["user_id"], "ada");
    assert_eq!(first["statement"], "SELECT count(*) AS n FROM interactions");
    assert_eq!([&first["purpose"], &second["purpose"]], ["an audit", "psql"]);
    server.stop();
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drivers_read_types_parameters_and_errors() {
    let (log, model) = (Log::with_config(LISTEN), upstream::model().await);
    let server = log.serve(&model);
    two_calls(&server, &[]).await;
    let Some(client) = Client::python("postgres.py", "psycopg, sqlalchemy") else { return };
    let url = format!("postgresql://grace@{}/onrecord", server.postgres.unwrap());
    assert_eq!(client.script(&[], &[&url]).good().trim(), "ok");
    let noted = accesses(&log);
    let bound = noted.iter().filter_map(|row| row["statement"].as_str()).find(|text| text.contains("session = $1"));
    assert!(bound.is_some_and(|text| text.contains("-- $1 = s1\n-- $2 = 200\n-- $3 = ")), "{bound:?}");
    server.stop();
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_password_is_a_token_of_the_role_read() {
    let issued = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let log = Log::with_config(&format!("{LISTEN}connections = 1\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"));
    std::fs::write(log.folder().join("cert.pem"), issued.cert.pem()).unwrap();
    std::fs::write(log.folder().join("key.pem"), issued.signing_key.serialize_pem()).unwrap();
    let token = |role: &str| {
        log.run(&["token", "create", "--role", role, "--name", &format!("{role}-app")]).good().trim().to_owned()
    };
    let (read, call) = (token("read"), token("call"));
    let server = log.serve("http://127.0.0.1:9");
    let Some(mut psql) = Psql::of(&server) else { return };
    for (password, options, expected) in [
        (read.as_str(), "sslmode=disable", "records"),
        (&read, "sslmode=require", "records"),
        (&call, "sslmode=require", "this access token has the role call"),
        ("onr_wrong", "sslmode=require", "the password must be an access token"),
        ("", "sslmode=require", "no password supplied"),
    ] {
        (psql.password, psql.options) = (password.to_owned(), options);
        let output = psql.run(&["\\dt"]).output();
        assert!(output.contains(expected), "{password} {options}: {output}");
    }
    (psql.password, psql.options) = (read, "sslmode=require");
    psql.run(&["SELECT count(*) FROM records"]).good();
    assert_eq!(accesses(&log)[0]["principal"], "read-app");
    // The first connection has the only place.
    let held = std::thread::scope(|scope| {
        let first = scope.spawn(|| psql.run(&["SELECT 1", "\\! sleep 2"]));
        std::thread::sleep(std::time::Duration::from_secs(1));
        let second = psql.run(&["SELECT 1"]);
        first.join().unwrap().good();
        second
    });
    assert!(held.stderr.contains("too many connections"), "{held:?}");
    server.stop();
}
