//! An orderly end, and the command line on a running server and on the folder that it leaves.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::http::{open, request};
use crate::support::log::{field, program, run};
use crate::support::upstream::{Act, STREAM, answer, completion, event, script, send};
use crate::support::{Log, Reply, Server, chat, post};

fn slow_stream() -> Vec<Act> {
    let done = "data: [DONE]\n\n";
    let wait = || Act::Wait(Duration::from_millis(400));
    vec![send(STREAM.to_owned() + &event("One")), wait(), send(event(" two")), wait(), send(done)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_running_stream_ends_before_the_server_does() {
    let (log, echo) = (Log::with_config("[gateway]\nshutdown_grace = \"10s\"\n"), echo().await);
    let named = format!("echo={echo}");
    let server = Server::start(log.folder(), &script(slow_stream()).await.to_string(), &["--upstream", &named]);
    let mut tunnel = tunnel(&server).await;
    let response = open(request(server.gateway, &[], chat("Count.", json!({ "stream": true })))).await.unwrap();
    server.terminate();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(server.gateway).await.is_err(), "it still accepts connections");
    let reply = Reply::read(response).await;
    assert!(reply.whole && reply.text().ends_with("data: [DONE]\n\n"), "{reply:?}");
    // Another protocol has the same grace, also once no call of HTTP is left.
    tokio::time::sleep(Duration::from_millis(300)).await;
    tunnel.write_all(b"still there?").await.unwrap();
    let mut back = [0; 12];
    tunnel.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"still there?");
    drop(tunnel);
    let (status, messages) = server.ended();
    assert!(status.success(), "{messages}");
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "outcome", "onrecord.outcome"), "completed");
    assert_eq!(field(&record, "output", "onrecord.output.text"), "One two");
    assert_eq!(field(&log.only("status = 101"), "input", "http.request.body.size"), 12);
    log.verify();
}

/// A server that agrees to any upgrade, and says everything again.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            upgraded(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
                .await
                .unwrap();
            let (mut from, mut to) = stream.split();
            drop(tokio::io::copy(&mut from, &mut to).await);
        }
    });
    url
}

/// Reads a head to its end.
async fn upgraded(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
}

/// A connection to the server of [`echo`] through the gateway.
async fn tunnel(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.gateway).await.unwrap();
    let head = "GET /echo/ws HTTP/1.1\r\nhost: g\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    upgraded(&mut stream).await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_outlasts_the_grace_period_is_cut_off_and_on_record() {
    let log = Log::with_config("[gateway]\nshutdown_grace = \"200ms\"\n");
    let named = format!("echo={}", echo().await);
    let model = script([send(STREAM.to_owned() + &event("One")), Act::Hold]).await.to_string();
    let server = Server::start(log.folder(), &model, &["--upstream", &named]);
    let _tunnel = tunnel(&server).await;
    let response = open(request(server.gateway, &[], chat("Count.", json!({ "stream": true })))).await.unwrap();
    server.terminate();
    let reply = Reply::read(response).await;
    assert!(!reply.whole, "{reply:?}");
    let (status, messages) = server.ended();
    assert!(status.success(), "{messages}");
    let record = log.show(&reply.id());
    assert_eq!(field(&record, "output", "onrecord.output.text"), "One");
    for record in [record, log.only("status = 101")] {
        assert_eq!(field(&record, "outcome", "onrecord.outcome"), "interrupted", "{record:#}");
        assert_eq!(field(&record, "outcome", "onrecord.error.stage"), "gateway");
    }
    log.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_says_the_same_with_and_without_its_server() {
    let log = Log::new();
    let server = log.serve(script([answer("200 OK", "", completion("Yes."))]).await);
    let mut ids = Vec::new();
    for number in 0..3 {
        let headers = [("x-onrecord-session", "s"), ("x-onrecord-tags", "team=blue")];
        ids.push(post(server.gateway, &headers, chat(&format!("Question {number}"), json!({}))).await.id());
    }
    let ask = || {
        let sql = "SELECT id, outcome, session, tags, duration_ms, answer FROM interactions ORDER BY leaf_index";
        let commands: [&[&str]; 9] = [
            &["list", "--json"],
            &["list", "--tag", "team=blue", "--outcome", "completed", "-n", "2"],
            &["tail", "--json"],
            &["tail", "-n", "1"],
            &["show", &ids[1]],
            &["show", &ids[1], "--json"],
            &["query", sql, "--format", "csv"],
            &["query", sql],
            &["key"],
        ];
        commands.map(|command| (command.join(" "), log.run(command).good()))
    };
    let running = ask();
    log.verify();
    server.stop();
    assert_eq!(ask(), running);
    log.verify();
}

#[test]
fn commands_that_need_no_log() {
    let log = Log::new();
    let example = log.run(&["config", "example"]).good();
    std::fs::write(log.folder().join("onrecord.toml"), &example).unwrap();
    log.run(&["config", "check"]).good();
    std::fs::write(log.folder().join("onrecord.toml"), "[gateway]\nlissten = \"127.0.0.1:1\"\n").unwrap();
    let wrong = log.run(&["config", "check"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("onrecord.toml:2") && wrong.stderr.contains("listen"), "{wrong:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(log.run(&["completions", shell]).good().contains("onrecord"));
    }
    let empty = tempfile::TempDir::new().unwrap();
    for command in [&["list"][..], &["verify"], &["stats"], &["key"], &["query", "SELECT 1"]] {
        let refused = run(program(empty.path()).args(command));
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains("there is no log in"), "{refused:?}");
        assert!(!empty.path().join("onrecord-data").exists(), "{command:?} made a log");
    }
    let nowhere = log.run(&["--server", "nowhere", "list"]);
    assert!(nowhere.code == Some(2) && nowhere.stderr.contains("http://127.0.0.1:4180"), "{nowhere:?}");
}

/// As when the window is gone that a command was started in.
#[test]
fn nobody_need_read_what_is_said_beside_the_result() {
    let log = Log::new();
    let (closed, to_nobody) = std::io::pipe().unwrap();
    drop(closed);
    let checked =
        program(log.folder()).args(["config", "check"]).stderr(to_nobody.try_clone().unwrap()).output().unwrap();
    assert!(checked.status.success() && !checked.stdout.is_empty(), "{checked:?}");
    let refused = program(log.folder()).arg("list").stderr(to_nobody).status().unwrap();
    assert_eq!(refused.code(), Some(2), "as if it had been read");
}
