//! The conversations of the tour: support chat, code suggestion, summarizing; whole and streamed; and some that end in
//! other ways than a plain answer.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

type Http = Client<HttpConnector, Full<Bytes>>;

/// One call of the tour.
struct Talk {
    session: &'static str,
    tags: &'static str,
    body: Value,
    ends: Ends,
}

/// What the client does with the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// It reads all of it.
    Read,
    /// It hangs up after the first pieces of a stream.
    HangUp,
}

/// Pieces of a stream that the client which hangs up reads before.
const PIECES: usize = 3;

fn chat(system: &str, user: &str, more: Value) -> Value {
    let mut body = json!({
        "model": "tiny-pydoc",
        "messages": [{ "role": "system", "content": system }, { "role": "user", "content": user }],
        "seed": 7,
    });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

fn talks() -> Vec<Talk> {
    const SUPPORT: &str = "You are a helpful assistant.";
    const BRIEF: &str = "Answer briefly.";
    let long = "Summarize: the json module reads and writes JSON. dumps turns an object into a string, loads turns a string \
        into an object. Floats, lists, dictionaries, strings, booleans and None are supported. What is json.dumps?";
    let stream = json!({ "stream": true, "stream_options": { "include_usage": true }, "temperature": 0 });
    let talk = |session, tags, body| Talk { session, tags, body, ends: Ends::Read };
    vec![
        talk("support-1", "app=support,kind=chat", chat(SUPPORT, "Hello!", json!({ "temperature": 0 }))),
        talk("support-1", "app=support,kind=chat", chat(SUPPORT, "What is the capital of France?", stream.clone())),
        talk(
            "support-2",
            "app=support,kind=chat",
            chat(SUPPORT, "Tell me a story.", json!({ "temperature": 0, "stop": [" it returned"] })),
        ),
        talk("editor-1", "app=editor,kind=code", chat(BRIEF, "How do I use os.path.join?", stream.clone())),
        talk(
            "editor-1",
            "app=editor,kind=code",
            chat(
                BRIEF,
                "What does dict.get do?",
                json!({ "temperature": 0.8, "max_tokens": 6, "logprobs": true, "top_logprobs": 3 }),
            ),
        ),
        talk("digest-1", "app=digest,kind=summary", chat(BRIEF, long, json!({ "temperature": 0, "max_tokens": 24 }))),
        Talk {
            ends: Ends::HangUp,
            ..talk(
                "support-3",
                "app=support,kind=chat",
                chat(SUPPORT, "Count to 20.", json!({ "stream": true, "temperature": 0, "ignore_eos": true })),
            )
        },
        talk("digest-2", "app=digest,kind=summary", chat(BRIEF, "Explain functools.", json!({ "temperature": 7 }))),
    ]
}

/// Holds every conversation through the gateway.
pub(super) async fn hold(gateway: SocketAddr) -> anyhow::Result<()> {
    let http = Client::builder(TokioExecutor::new()).build_http();
    for talk in talks() {
        say(&http, gateway, &talk).await.with_context(|| format!("the conversation {}", talk.session))?;
    }
    Ok(())
}

async fn say(http: &Http, gateway: SocketAddr, talk: &Talk) -> anyhow::Result<()> {
    let request = Request::post(format!("http://{gateway}/v1/chat/completions"))
        .header("content-type", "application/json")
        .header("x-onrecord-session", talk.session)
        .header("x-onrecord-tags", talk.tags)
        .body(Full::from(talk.body.to_string()))?;
    let mut answer: Incoming = http.request(request).await?.into_body();
    if talk.ends == Ends::HangUp {
        for _ in 0..PIECES {
            answer.frame().await.transpose()?;
        }
        return Ok(());
    }
    answer.collect().await?;
    Ok(())
}
