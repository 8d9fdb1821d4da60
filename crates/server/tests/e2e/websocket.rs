//! A real WebSocket client and a real server, with the gateway between them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::clients::Client;
use crate::support::Log;
use crate::support::log::field;

/// The server of the script.
struct Server {
    process: Child,
    lines: BufReader<ChildStdout>,
    port: u64,
}

impl Server {
    fn start(client: &Client) -> Self {
        let mut process = client.start(&["serve"]);
        let lines = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, lines, port: 0 };
        server.port = server.next()["port"].as_u64().unwrap();
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How the next connection that ends went.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_and_a_server_say_to_each_other_is_what_they_say_without_the_gateway() {
    let Some(client) = Client::python("with_websocket.py", "websockets") else { return };
    let mut server = Server::start(&client);
    let (log, path) = (Log::new(), "/ws/chat?room=1");
    let gateway = log.serve(server.url());
    let talk = |to: String| -> Value {
        serde_json::from_str(&client.script(&[], &["talk", &format!("ws://{to}{path}")]).good()).unwrap()
    };
    let mut direct = talk(format!("127.0.0.1:{}", server.port));
    let mut through = talk(gateway.gateway.to_string());
    let id = through["record"].take();
    assert_eq!(direct["record"].take(), Value::Null);
    assert_eq!(through, direct);
    assert_eq!((&through["text"], &through["closed"]), (&json!("ONE"), &json!([4001, "enough"])));
    let ended = [server.next(), server.next()];
    assert_eq!(ended[0], ended[1]);
    assert_eq!((&ended[0]["code"], &ended[0]["reason"]), (&json!(4001), &json!("enough")));
    assert_eq!(ended[0]["got"], json!(["one", 102_400, "in several frames", "silence", "count"]));

    let record = log.only("status = 101 AND outcome = 'completed'");
    assert_eq!(record["id"], id);
    for (name, expect) in [
        ("onrecord.upgrade", json!("websocket")),
        ("url.path", json!("/ws/chat")),
        ("onrecord.dialect", json!("unknown")),
    ] {
        assert_eq!(field(&record, "context", name), &expect, "{record:#}");
    }
    for (group, size, digest) in [
        ("input", "http.request.body.size", "onrecord.input.sha256"),
        ("output", "http.response.body.size", "onrecord.output.sha256"),
    ] {
        // The picture is compressed on its way, if both ends agree to that.
        assert!(field(&record, group, size).as_u64().unwrap() > 500, "{record:#}");
        assert_eq!(field(&record, group, digest).as_str().unwrap().len(), 64);
        assert_eq!(field(&record, group, &format!("onrecord.{group}.body")), &Value::Null, "frames are not kept");
    }
    log.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_is_on_record_and_its_server_learns_of_it() {
    let Some(client) = Client::python("with_websocket.py", "websockets") else { return };
    let mut server = Server::start(&client);
    let log = Log::new();
    let gateway = log.serve(server.url());
    client.script(&[], &["vanish", &format!("ws://{}/ws", gateway.gateway)]).good();
    assert_eq!(server.next(), json!({ "got": ["one"], "code": 1006, "reason": "" }));
    let record = log.only("status = 101 AND outcome = 'client_disconnected'");
    assert_eq!(field(&record, "context", "onrecord.upgrade"), "websocket");
    assert!(field(&record, "input", "http.request.body.size").as_u64().unwrap() > 0, "{record:#}");
    log.verify();
}

/// One that says something only once its client has said everything.
async fn slow_of_speech() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = Vec::new();
            while !heard.ends_with(b"\r\n\r\n") {
                heard.push(stream.read_u8().await.unwrap());
            }
            let agreed = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(agreed).await.unwrap();
            heard.clear();
            stream.read_to_end(&mut heard).await.unwrap();
            heard.reverse();
            stream.write_all(&heard).await.unwrap();
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn one_direction_can_end_before_the_other() {
    let log = Log::new();
    let server = log.serve(slow_of_speech().await);
    let mut client = TcpStream::connect(server.gateway).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nhost: g\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(client.read_u8().await.unwrap());
    }
    client.write_all(b"all that there is").await.unwrap();
    client.shutdown().await.unwrap();
    got.clear();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"si ereht taht lla");
    let record = log.only("status = 101 AND outcome = 'completed'");
    assert_eq!(field(&record, "input", "http.request.body.size"), 17);
    assert_eq!(field(&record, "output", "http.response.body.size"), 17);
    log.verify();
}
