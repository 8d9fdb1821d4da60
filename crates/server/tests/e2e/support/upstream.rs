//! Model servers: the demo model, a quick one, and ones that play a script on the socket.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where a model server listens. It lives as long as the test's runtime.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// The requests that came, as bytes; only of [`script`].
    pub(crate) requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl Upstream {
    /// The newest request, as text.
    pub(crate) fn last_request(&self) -> String {
        String::from_utf8_lossy(self.requests.lock().unwrap().last().expect("a request came")).into_owned()
    }
}

async fn listen() -> (TcpListener, Upstream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, Upstream { address, requests: Arc::default() })
}

/// The demo model.
pub(crate) async fn model() -> Upstream {
    let (listener, upstream) = listen().await;
    let model = tokio::task::spawn_blocking(onrecord_demo_model::Model::load).await.unwrap().unwrap();
    tokio::spawn(onrecord_demo_model::serve(listener, model, std::future::pending()));
    upstream
}

/// What a script does after it has read a request.
#[derive(Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Read and discard until the other side closes.
    Hold,
    /// Answer 400 to a request with these bytes in it, and do no more.
    Reject(&'static str),
}

pub(crate) fn send(text: impl AsRef<[u8]>) -> Act {
    Act::Send(text.as_ref().to_vec())
}

/// An answer with these header lines and this body, closed after it.
pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Act {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    Act::Send([head.as_bytes(), body].concat())
}

/// The head of an event stream that ends with the connection.
pub(crate) const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// A chunk of a streamed chat completion.
pub(crate) fn event(text: &str) -> String {
    let choice = serde_json::json!([{ "index": 0, "delta": { "content": text }, "finish_reason": null }]);
    let chunk = serde_json::json!({ "id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choice });
    format!("data: {chunk}\n\n")
}

/// A whole chat completion.
pub(crate) fn completion(text: &str) -> String {
    let message = serde_json::json!({ "role": "assistant", "content": text });
    let choice = serde_json::json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    serde_json::json!({ "id": "c", "object": "chat.completion", "model": "m", "choices": choice }).to_string()
}

/// Reads a request on each connection, does what the script says, and closes the connection.
pub(crate) async fn script(acts: impl IntoIterator<Item = Act>) -> Upstream {
    let (listener, upstream) = listen().await;
    let (acts, requests) = (Arc::new(acts.into_iter().collect::<Vec<_>>()), Arc::clone(&upstream.requests));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (acts, requests) = (Arc::clone(&acts), Arc::clone(&requests));
            tokio::spawn(async move {
                let Some(request) = read_request(&mut stream).await else { return };
                let text = String::from_utf8_lossy(&request).into_owned();
                requests.lock().unwrap().push(request);
                for act in acts.iter() {
                    if matches!(act, Act::Reject(word) if text.contains(word)) {
                        play(&mut stream, &answer("400 Bad Request", "", "{\"error\":{\"message\":\"no\"}}")).await;
                        return;
                    }
                    play(&mut stream, act).await;
                }
            });
        }
    });
    upstream
}

/// Sends what a real server, or its documentation, has for the first request that begins and contains so; the
/// connection is closed after it.
pub(crate) async fn replay(answers: impl IntoIterator<Item = (&'static str, &'static str, Vec<u8>)>) -> Upstream {
    replay_with(answers, |_, _| {}).await
}

/// The same of a server that gives each chat completion an id of its own.
pub(crate) async fn replay_anew(answers: impl IntoIterator<Item = (&'static str, &'static str, Vec<u8>)>) -> Upstream {
    const ID: &[u8] = b"\"chatcmpl-";
    replay_with(answers, |number, answer| {
        let number = format!("{number:08}");
        for at in 0..answer.len().saturating_sub(ID.len() + number.len()) {
            if answer[at..].starts_with(ID) {
                answer[at + ID.len()..][..number.len()].copy_from_slice(number.as_bytes());
            }
        }
    })
    .await
}

async fn replay_with(
    answers: impl IntoIterator<Item = (&'static str, &'static str, Vec<u8>)>,
    change: fn(usize, &mut Vec<u8>),
) -> Upstream {
    let (listener, upstream) = listen().await;
    let answers: Arc<[_]> = answers.into_iter().collect();
    let number = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, number) = (Arc::clone(&answers), Arc::clone(&number));
            tokio::spawn(async move {
                // Only where an answer ends with its connection is the connection closed: a client may be about to use it again.
                while let Some(request) = read_request(&mut stream).await {
                    let request = String::from_utf8_lossy(&request);
                    let fits = |start: &str, part: &str| request.starts_with(start) && request.contains(part);
                    let answer = answers.iter().find(|(start, part, _)| fits(start, part));
                    let (_, _, answer) = answer.unwrap_or_else(|| panic!("no answer to {request}"));
                    let mut answer = answer.clone();
                    change(number.fetch_add(1, Ordering::Relaxed) + 1, &mut answer);
                    let last = ends_with_its_connection(&answer);
                    play(&mut stream, &Act::Send(answer)).await;
                    if last {
                        drop(stream.shutdown().await);
                    }
                }
            });
        }
    });
    upstream
}

async fn play(stream: &mut TcpStream, act: &Act) {
    match act {
        Act::Send(bytes) => drop(stream.write_all(bytes).await),
        Act::Wait(time) => tokio::time::sleep(*time).await,
        Act::Reject(_) => {}
        Act::Hold => while let Ok(1..) = stream.read(&mut [0; 1024]).await {},
    }
}

/// A request with its body, which has a length or comes in chunks.
async fn read_request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 16]);
    let mut head = None;
    loop {
        if head.is_none() {
            head = all.windows(4).position(|end| end == b"\r\n\r\n").map(|at| (at + 4, length(&all[..at])));
        }
        match head {
            Some((at, Some(length))) if all.len() >= at + length => return Some(all),
            Some((at, None)) if all[at..].ends_with(b"0\r\n\r\n") => return Some(all),
            _ => {}
        }
        match stream.read(&mut piece).await {
            Ok(read @ 1..) => all.extend_from_slice(&piece[..read]),
            _ => return None,
        }
    }
}

/// Whether an answer's head says so, or does not say how long its body is.
fn ends_with_its_connection(answer: &[u8]) -> bool {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let has = |header: &str| head.lines().any(|line| line.starts_with(header));
    has("connection: close") || !(has("content-length:") || has("transfer-encoding: chunked"))
}

/// The length of the body that a head announces; none if it comes in chunks.
fn length(head: &[u8]) -> Option<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    if head.contains("transfer-encoding: chunked") { None } else { Some(length.unwrap_or(0)) }
}
