//! A stand-in for a model server that computes nothing: every chat completion gets the same answer, whole or streamed.
//!
//! It is as fast as an upstream can be, so that a benchmark sees the proxy in front of it and not the model behind it.

mod answer;

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use answer::{Answer, Tokens};

/// How long to "think" before the answer, in milliseconds; asked for in the request.
const THINK: &str = "x-bench-think-ms";
/// How long this server held the request until it gave the first byte away, in microseconds; told in the answer.
const HELD: &str = "x-bench-held-us";

/// A stand-in for a model server that computes nothing and always gives the same answer.
#[derive(Debug, Parser)]
#[command(name = "bench-upstream")]
struct Args {
    /// Address to listen on
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Tokens of a streamed answer
    #[arg(long, default_value_t = 64)]
    tokens: usize,
    /// Bytes of a whole answer
    #[arg(long, default_value_t = 1024)]
    bytes: usize,
    /// Threads, each with an event loop of its own [default: one a core]
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let answer = Arc::new(Answer::new(args.bytes, args.tokens));
    let threads = args.threads.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), |n| n.max(1));
    let listener = TcpListener::bind(args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let workers: Vec<_> = (0..threads).map(|_| worker(Arc::clone(&answer))).collect();
    eprintln!("a stand-in that computes nothing listens on http://{}", listener.local_addr()?);
    // Dealt out in turn, so that every thread has the same number of connections.
    for (stream, worker) in listener.incoming().zip(workers.iter().cycle()) {
        worker.send(stream?).context("a thread has ended")?;
    }
    Ok(())
}

/// A thread that serves the connections it is given.
fn worker(answer: Arc<Answer>) -> mpsc::UnboundedSender<TcpStream> {
    let (give, mut take) = mpsc::unbounded_channel();
    thread::spawn(move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            while let Some(stream) = take.recv().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    if let Err(error) = connection(stream, answer).await {
                        eprintln!("a connection has failed: {error:#}");
                    }
                });
            }
        });
        Ok(())
    });
    give
}

async fn connection(stream: TcpStream, answer: Arc<Answer>) -> anyhow::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let service = service_fn(move |request| reply(request, Arc::clone(&answer)));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    // A load generator drops its connections when its time is up, in the middle of an answer.
    served.or_else(|error| if error.is_user() { Err(error.into()) } else { Ok(()) })
}

type Reply = Response<Either<Full<Bytes>, Tokens>>;

async fn reply(request: Request<Incoming>, answer: Arc<Answer>) -> Result<Reply, Infallible> {
    let received = Instant::now();
    let think = request.headers().get(THINK).and_then(|value| value.to_str().ok()?.parse().ok());
    let wants_answer = request.method() == Method::POST;
    let Ok(body) = request.into_body().collect().await.map(http_body_util::Collected::to_bytes) else {
        return Ok(Response::new(Either::Left(Full::default())));
    };
    let streamed = wants_answer && memchr::memmem::find(&body, br#""stream":true"#).is_some();
    if let Some(think) = think {
        tokio::time::sleep(Duration::from_millis(think)).await;
    }
    let (media_type, body) = if streamed {
        ("text/event-stream", Either::Right(answer.tokens()))
    } else {
        ("application/json", Either::Left(Full::new(answer.whole())))
    };
    let mut reply = Response::new(body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if think.is_some() {
        let held = u64::try_from(received.elapsed().as_micros()).unwrap_or(u64::MAX);
        reply.headers_mut().insert(HELD, held.into());
    }
    Ok(reply)
}
