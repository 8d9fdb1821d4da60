//! Who may do what, and what is never stored or passed on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::support::http::{CHAT, get, open, request};
use crate::support::log::{field, program, run};
use crate::support::{Log, Reply, chat, post, upstream};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_has_one_writer() {
    let log = Log::new();
    let server = log.serve("http://127.0.0.1:9");
    let second = ["serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"];
    let refused = log.run(&second);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains(&server.pid().to_string()), "the other's pid is not named: {refused:?}");
    // It has left no trace: the first is still found, and goes on.
    assert_eq!(log.json(&["stats", "--json"])["healthy"], true);
    server.stop();
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_open_what_their_role_allows() {
    let (log, model) = (Log::new(), upstream::model().await);
    let token = |role: &str| {
        let text = log.run(&["token", "create", "--role", role, "--name", &format!("{role}-app")]).good();
        text.trim().to_owned()
    };
    let (call, read, ingest, admin) = (token("call"), token("read"), token("ingest"), token("admin"));
    let server = log.serve(&model);
    let body = chat("Hello!", json!({ "max_tokens": 2 }));
    let wrong = format!("{}x", &call[..call.len() - 1]);
    for (presented, status) in [
        (None, 401),
        (Some(&wrong), 401),
        (Some(&read), 403),
        (Some(&ingest), 403),
        (Some(&call), 200),
        (Some(&admin), 200),
    ] {
        let headers: Vec<_> = presented.map(|token| ("x-onrecord-token", token.as_str())).into_iter().collect();
        let reply = post(server.gateway, &headers, body.clone()).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        let record = log.show(&reply.id());
        let outcome = if status == 200 { "completed" } else { "rejected" };
        assert_eq!(field(&record, "outcome", "onrecord.outcome"), outcome, "{record:#}");
        if status == 200 {
            let name = if presented == Some(&call) { "call-app" } else { "admin-app" };
            assert_eq!(field(&record, "who", "onrecord.principal"), name);
        }
    }
    for (presented, status) in [(None, 401), (Some(&read), 403), (Some(&call), 403), (Some(&ingest), 200)] {
        let headers: Vec<_> = presented.map(|token| ("x-onrecord-token", token.as_str())).into_iter().collect();
        let mut deploy = request(server.api, &headers, json!({ "note": "a new model" }).to_string());
        *deploy.uri_mut() = format!("http://{}/api/v1/deployments", server.api).parse().unwrap();
        let reply = Reply::read(open(deploy).await.unwrap()).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    for (presented, status) in
        [(None, 401), (Some(&wrong), 401), (Some(&call), 403), (Some(&read), 200), (Some(&admin), 200)]
    {
        let headers: Vec<_> = presented.map(|token| ("x-onrecord-token", token.as_str())).into_iter().collect();
        let reply = get(server.api, "/api/v1/calls", &headers).await;
        assert_eq!(reply.status, status, "{}", reply.text());
    }
    for (since, status, says) in [
        ("2026-01-31T12:00:00Z", 200, "\"leaf_index\""),
        ("2126-01-31T12:00:00%2B01:00", 200, "[]"),
        ("4924044000000000", 200, "[]"),
        ("1h", 400, "RFC 3339"),
    ] {
        for path in ["calls?", "slow?", "search?q=Hello&"] {
            let reply = get(server.api, &format!("/api/v1/{path}since={since}"), &[("x-onrecord-token", &read)]).await;
            assert_eq!(reply.status, status, "{path} {since}: {}", reply.text());
            assert!(path != "calls?" || reply.text().contains(says), "{since}: {}", reply.text());
        }
    }
    remote(&log, &server.api.to_string(), &read);
    server.stop();
    for token in [call, read, ingest, admin] {
        assert_eq!(files_with(&log.data(), &token), [""; 0], "a token is stored as it is");
    }
}

/// The command line elsewhere, with an address and a token.
fn remote(log: &Log, api: &str, token: &str) {
    let elsewhere = tempfile::TempDir::new().unwrap();
    let url = format!("http://{api}");
    let ask = |token: &str| run(program(elsewhere.path()).args(["--server", &url, "--token", token, "list", "--json"]));
    assert_eq!(ask(token).good(), log.run(&["list", "--json"]).good());
    let refused = ask("onr_wrong");
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--token"), "{refused:?}");
}

#[test]
fn another_address_than_loopback_needs_tokens() {
    let log = Log::new();
    for (listen, api) in [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0"), ("[::]:0", "127.0.0.1:0")] {
        let refused = log.run(&["serve", "--upstream", "http://127.0.0.1:9", "--listen", listen, "--api", api]);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("onrecord token create"), "{refused:?}");
        assert!(!log.data().join("ledger").exists(), "a log was made all the same");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn credentials_reach_the_model_and_are_not_stored() {
    const SECRET: &str = "sk-9f3c2d7e8a1b4c5d6e7f";
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let log = Log::with_config("[lake]\nseal_after = \"1s\"\n");
    let model = upstream::script([upstream::answer("200 OK", "", upstream::completion("Yes."))]).await;
    let server = log.serve(&model);
    let bearer = format!("Bearer {SECRET}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-api-key", SECRET),
        ("api-key", SECRET),
        ("cookie", SECRET),
        ("x-onrecord-session", "s-1"),
        ("x-onrecord-tags", "team=blue"),
        ("x-onrecord-request-id", "r-1"),
        ("x-onrecord-anything", "1"),
        ("x-request-id", "theirs"),
        ("traceparent", TRACE),
    ];
    let mut call = request(server.gateway, &headers, chat("Hello!", json!({})));
    let url = format!("http://{}{CHAT}?api_key={SECRET}&max_tokens=5", server.gateway);
    *call.uri_mut() = url.parse().unwrap();
    let reply = Reply::read(open(call).await.unwrap()).await;
    assert_eq!(reply.status, 200);
    let request = model.last_request().to_ascii_lowercase();
    assert!(request.starts_with(&format!("post {CHAT}?api_key={SECRET}&max_tokens=5 ")), "{request}");
    for line in [
        format!("authorization: bearer {SECRET}"),
        format!("x-api-key: {SECRET}"),
        format!("traceparent: {TRACE}"),
        "x-request-id: theirs".into(),
    ] {
        assert!(request.contains(&line), "{line} is missing in {request}");
    }
    assert!(!request.contains("x-onrecord-"), "{request}");
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "context", "trace_id"), "0af7651916cd43dd8448eb211c80319c", "{record:#}");
    assert_eq!(field(&record, "context", "onrecord.request.id"), "r-1");
    assert_eq!(field(&record, "context", "url.query"), "api_key=***&max_tokens=5");
    // A web page whose name points to this machine gets nothing.
    let page = post(server.gateway, &[("host", "evil.example")], chat("Hello!", json!({}))).await;
    assert_eq!((page.status, page.code().as_str()), (403, "forbidden"));
    assert!(page.text().contains("evil.example") && page.text().contains("onrecord token create"), "{}", page.text());
    assert_eq!(field(&log.show(&page.id()), "outcome", "onrecord.outcome"), "rejected");
    assert_eq!(model.requests.lock().unwrap().len(), 1);
    let messages = server.stop();
    assert!(!messages.contains(SECRET));
    assert_eq!(files_with(&log.data(), SECRET), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_key_of_the_configuration_replaces_the_clients() {
    let log = Log::with_config("[gateway]\nupstream_key = \"sk-configured\"\n");
    let model = upstream::script([upstream::answer("200 OK", "", upstream::completion("Yes."))]).await;
    let token = log.run(&["token", "create", "--role", "call", "--name", "app"]).good();
    let server = log.serve(&model);
    // A client that can set nothing but its key holds our token there.
    let bearer = format!("Bearer {}", token.trim());
    let reply = post(server.gateway, &[("authorization", &bearer)], chat("Hello!", json!({}))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let request = model.last_request();
    assert!(request.contains("Bearer sk-configured") && !request.contains(token.trim()), "{request}");
    server.stop();
    assert_eq!(files_with(&log.data(), "sk-configured"), [""; 0]);
}

#[test]
fn secrets_are_for_their_owner_alone() {
    let log = Log::new();
    log.run(&["token", "create", "--role", "call", "--name", "app"]).good();
    let server = log.serve("http://127.0.0.1:9");
    let mode = |name: &str| std::fs::metadata(log.data().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("ledger"), mode("ledger/segments")), (0o700, 0o700, 0o700));
    assert_eq!((mode("ledger/key"), mode("server.json"), mode("tokens.json")), (0o600, 0o600, 0o600));
    server.stop();
}

#[test]
fn what_a_configuration_names_elsewhere_is_looked_for() {
    for (toml, says) in [
        (
            "[gateway]\nupstream = \"http://127.0.0.1:9\"\nupstream_key_env = \"ONRECORD_TEST_NO_KEY\"\n",
            "ONRECORD_TEST_NO_KEY",
        ),
        ("[tls]\ncert = \"nothing.pem\"\nkey = \"nothing.key\"\n", "nothing.pem"),
        ("[key]\nenv = \"ONRECORD_TEST_NO_KEY\"\n", "ONRECORD_TEST_NO_KEY"),
        ("[[alert]]\nname = \"slow\"\nquery = \"SELECT id FROM interactions WHERE lateness > 1\"\n", "lateness"),
        (
            "[[forward]]\nname = \"siem\"\nto = \"syslog\"\naddress = \"tcp://127.0.0.1:9\"\nwhere = \"color = 'red'\"\n",
            "color",
        ),
        (
            "[[forward]]\nname = \"siem\"\nto = \"otlp\"\nurl = \"http://127.0.0.1:9\"\nheaders_env = \"ONRECORD_TEST_NO_KEY\"\n",
            "ONRECORD_TEST_NO_KEY",
        ),
        ("[postgres]\nlisten = \"127.0.0.1:4180\"\n", "`api.listen` listens on 127.0.0.1:4180 already"),
        ("[gateway]\nlisten = \"0.0.0.0:4180\"\n", "onrecord.toml:3: `gateway.listen` cannot be set: `api.listen`"),
        ("[ingest]\nhttp = \"0.0.0.0:4100\"\n", "`ingest.http` cannot be set: `gateway.listen`"),
    ] {
        let checked = Log::with_config(toml).run(&["config", "check"]);
        assert!(checked.code == Some(2) && checked.output().contains(says), "{toml}: {checked:?}");
    }
    // A flag names the model server when it is served.
    let log = Log::with_config(
        "[gateway]\nmax_in_flight = 7\n\
         [[alert]]\nname = \"slow\"\nquery = \"SELECT id FROM interactions WHERE duration_ms > 1\"\n\
         [[forward]]\nname = \"siem\"\nto = \"syslog\"\naddress = \"tcp://127.0.0.1:9\"\nwhere = \"kind = 'gap'\"\n",
    );
    log.run(&["config", "check"]).good();
    assert!(!log.data().exists(), "nothing was made");
    // Where the default for spans is taken, the program goes on without it.
    Log::with_config("[gateway]\nlisten = \"127.0.0.1:4318\"\n[ingest]\nhttp = \"127.0.0.1:4318\"\n")
        .run(&["config", "check"])
        .good();
}

#[test]
fn what_is_in_the_folder_is_not_asked_of_a_server() {
    let log = Log::new();
    for command in
        [&["token", "list"][..], &["token", "create", "--role", "read", "--name", "n"], &["key"], &["key", "export"]]
    {
        let refused = log.run(&[&["--server", "http://127.0.0.1:9"], command].concat());
        assert!(refused.code == Some(2) && refused.output().contains("--data"), "{command:?}: {refused:?}");
    }
    assert!(!log.data().exists(), "nothing was made");
}

/// The files below a folder in which a text stands.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}
