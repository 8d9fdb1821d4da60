//! Clients: one that speaks HTTP, and bytes on a socket for what no such client would send.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// An answer as far as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The body came to its end.
    pub(crate) whole: bool,
}

impl Reply {
    /// The id of the record.
    pub(crate) fn id(&self) -> String {
        self.headers["x-onrecord-id"].to_str().unwrap().to_owned()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{}: {error}", self.text()))
    }

    /// The code of an error that the gateway itself gave.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Reads an answer to its end.
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (parts, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        let whole = loop {
            match timeout(PATIENCE, incoming.frame()).await.expect("the answer goes on") {
                None => break true,
                Some(Err(_)) => break false,
                Some(Ok(frame)) => body.extend_from_slice(frame.data_ref().map_or(&[], |piece| piece)),
            }
        };
        Self { status: parts.status.as_u16(), headers: parts.headers, body, whole }
    }
}

pub(crate) const CHAT: &str = "/v1/chat/completions";

/// A chat completion with one question, changed by `changes`.
pub(crate) fn chat(question: &str, changes: Value) -> String {
    let mut body = json!({
        "model": "tiny-pydoc",
        "messages": [{ "role": "user", "content": question }],
        "temperature": 0,
    });
    if let (Some(body), Value::Object(changes)) = (body.as_object_mut(), changes) {
        body.extend(changes);
    }
    body.to_string()
}

pub(crate) fn request(to: SocketAddr, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::post(format!("http://{to}{CHAT}")).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// Sends a chat request on a connection of its own and gives the answer as soon as its head is there.
pub(crate) async fn open(
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    timeout(PATIENCE, client.request(request)).await.expect("the gateway answers")
}

/// Sends a chat request and reads the answer to its end.
pub(crate) async fn post(to: SocketAddr, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    Reply::read(open(request(to, headers, body)).await.unwrap()).await
}

pub(crate) async fn get(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = request(to, headers, "");
    *request.method_mut() = http::Method::GET;
    *request.uri_mut() = format!("http://{to}{path}").parse().unwrap();
    Reply::read(open(request).await.unwrap()).await
}

/// Sends bytes, with `Connection: close` among them, and gives all that comes back.
pub(crate) async fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // A server that has had enough closes while we still write.
    drop(stream.write_all(bytes).await);
    answer(&mut stream).await
}

/// All that comes from a connection until it is closed or reset.
pub(crate) async fn answer(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = timeout(PATIENCE, stream.read(&mut piece)).await.expect("the connection ends") {
        all.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The status of a raw answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {answer:?}"))
}

/// A header of a raw answer.
pub(crate) fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name))).map(|(_, v)| v)
}
