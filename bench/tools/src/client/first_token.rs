//! The time to the first token of a streamed answer.
//!
//! The stand-in upstream waits before it answers, as a model that reads its prompt does, and says in a header how long
//! it held the request. What is left of the time to the first token is the way there and back. The targets are asked in
//! turn, call by call, so that whatever else the machine does meets all of them alike.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{request, times};

/// A named server.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    name: String,
    address: String,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, address) = text.split_once('=').context("a target is NAME=HOST:PORT")?;
        Ok(Self { name: name.to_owned(), address: address.to_owned() })
    }
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Servers to compare
    #[arg(long = "target", value_name = "NAME=HOST:PORT", required = true)]
    pub targets: Vec<Target>,
    /// Calls to each
    #[arg(long, default_value_t = 300)]
    pub calls: u32,
    /// Milliseconds that the upstream waits before its first token
    #[arg(long, default_value_t = 20)]
    pub think_ms: u64,
}

/// Calls before the measured ones.
const WARM_UP: u32 = 10;
/// A call that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Calls every target in turn.
pub(crate) async fn measure(args: &Args) -> anyhow::Result<Value> {
    let mut connections = Vec::new();
    for target in &args.targets {
        connections.push((target, connect(&target.address).await.with_context(|| target.name.clone())?));
    }
    let body = Bytes::from(request::body(&request::Args { stream: true, bytes: 1024 }));
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for call in 0..WARM_UP + args.calls {
        for (target, connection) in &mut connections {
            let calling = first_token(connection, target, args.think_ms, body.clone());
            let time = tokio::time::timeout(PATIENCE, calling).await.context("a call took too long")?;
            let time = time.with_context(|| format!("a call to {}", target.name))?;
            if call >= WARM_UP {
                times.entry(&target.name).or_default().push(time);
            }
        }
    }
    let targets: BTreeMap<_, _> = times.iter_mut().map(|(name, times)| (name, times::summary(times))).collect();
    Ok(json!({ "think_ms": args.think_ms, "targets": targets }))
}

async fn connect(address: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (send, connection) = http1::handshake(TokioIo::new(stream)).await?;
    #[expect(clippy::let_underscore_future, reason = "it ends with the process, and a call that fails says so")]
    let _ = tokio::spawn(connection);
    Ok(send)
}

/// How long the first token was under way: from sending the request to its arrival, without the time the upstream held it.
async fn first_token(
    connection: &mut SendRequest<Full<Bytes>>,
    target: &Target,
    think_ms: u64,
    body: Bytes,
) -> anyhow::Result<Duration> {
    connection.ready().await?;
    let request = Request::post("/v1/chat/completions")
        .header(HOST, &target.address)
        .header(CONTENT_TYPE, "application/json")
        .header("x-bench-think-ms", think_ms)
        .body(Full::new(body))?;
    let sent = Instant::now();
    let mut answer = connection.send_request(request).await?;
    ensure!(answer.status().is_success(), "status {}", answer.status());
    let first = answer.frame().await.context("no token")??;
    let arrived = sent.elapsed();
    ensure!(first.is_data(), "no token");
    let held =
        answer.headers().get("x-bench-held-us").context("no x-bench-held-us in the answer")?.to_str()?.parse()?;
    answer.into_body().collect().await?;
    Ok(arrived.saturating_sub(Duration::from_micros(held)))
}
