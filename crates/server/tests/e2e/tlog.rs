//! Clients that know nothing of us follow the log over HTTP: Go's transparency-log library, as Debian ships it.

use std::process::Command;

use futures::future::join_all;

use crate::support::http::{chat, get, post};
use crate::support::upstream::{Upstream, answer, completion, script};
use crate::support::{Log, Server};

/// The follower, built once. `None`, with a message, on a machine without Go; that of the continuous integration has it.
fn follower(log: &Log) -> Option<Command> {
    let program = log.folder().join("follower");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tlog/main.go");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(source);
    build
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOFLAGS", "")
        .env("GOCACHE", log.folder().join("go"));
    match build.output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no Go: {error}");
            eprintln!("SKIPPED: there is no Go; apt-get install golang-go golang-golang-x-mod-dev");
            return None;
        }
    }
    Some(Command::new(program))
}

async fn upstream() -> Upstream {
    script([answer("200 OK", "content-type: application/json\r\n", completion("Yes."))]).await
}

/// Makes so many calls, and has a checkpoint over them.
async fn calls(server: &Server, count: usize) {
    for some in (0..count).collect::<Vec<_>>().chunks(20) {
        let posts = some.iter().map(|_| post(server.gateway, &[], chat("?", serde_json::json!({}))));
        assert!(join_all(posts).await.iter().all(|reply| reply.status == 200));
    }
    assert_eq!(get(server.api, "/api/v1/checkpoint", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_go_follows_the_log() {
    // Payload moves to the table meanwhile, so that leaves come from both.
    let log = Log::with_config("[lake]\nseal_after = \"1s\"");
    let Some(mut follow) = follower(&log) else { return };
    let server = log.serve(upstream().await);
    calls(&server, 300).await;
    let key = log.run(&["key"]).good();
    follow.arg(format!("http://{}/log", server.api)).arg(key.trim());
    let mut last = Vec::new();
    for more in [1, 15, 250] {
        calls(&server, more).await;
        let followed = crate::support::log::run(follow.args(std::mem::take(&mut last))).good();
        last = followed.split_whitespace().map(str::to_owned).collect();
        assert!(last[0].parse::<usize>().unwrap() > 300, "{followed}");
        // The arguments of a command cannot be taken back: the next run has one of its own.
        let mut next = Command::new(follow.get_program());
        next.args(follow.get_args().take(2));
        follow = next;
    }
    let other = Command::new(follow.get_program()).args(follow.get_args()).args(["300", &last[1]]).output().unwrap();
    assert!(!other.status.success(), "a tree that is not its beginning");
}

#[tokio::test]
async fn tiles_are_for_everybody_only_where_that_is_configured() {
    for public in [false, true] {
        let log = Log::with_config(&format!("[api]\npublic_log = {public}"));
        let token = log.run(&["token", "create", "--role", "read", "--name", "auditor"]).good();
        let server = log.serve("http://127.0.0.1:9");
        let bearer = format!("Bearer {}", token.trim());
        let signed = get(server.api, "/api/v1/checkpoint", &[("authorization", &bearer)]).await;
        assert_eq!(signed.status, 200, "{}", signed.text());
        let without = get(server.api, "/log/tile/0/000.p/1", &[]).await;
        assert_eq!(without.status, if public { 200 } else { 401 }, "{}", without.text());
        let with = get(server.api, "/log/tile/0/000.p/1", &[("authorization", &bearer)]).await;
        assert_eq!((with.status, with.body.len()), (200, 32), "{}", with.text());
        assert_eq!(with.headers["cache-control"], "public, max-age=31536000, immutable");
        for path in ["/log/tile/0/000", "/log/tile/0/0", "/log/tile/entries/000", "/log/tile/63/000.p/1", "/log/tile/x"]
        {
            assert_eq!(get(server.api, path, &[("authorization", &bearer)]).await.status, 404, "{path}");
        }
    }
}
