//! Real clients: each script of `tests/clients` runs twice, straight to the model server and through the gateway. What it
//! gets must be the same, and the record must say what the client saw.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value};

use crate::support::log::run;
use crate::support::{Llama, Log, Ran, compatibility, upstream};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// What a client says of one call.
struct Seen {
    name: String,
    got: Value,
    /// Fields of the record and their values.
    record: Map<String, Value>,
}

/// A way to run a script; `None`, with a message, on a machine that lacks what it needs.
pub(crate) struct Client {
    program: PathBuf,
    folder: PathBuf,
    script: &'static str,
}

impl Client {
    pub(crate) fn python(script: &'static str, package: &str) -> Option<Self> {
        let program = std::env::var_os("ONRECORD_TEST_PYTHON").map_or_else(|| cache("venv/bin/python"), Some)?;
        Self::of_python(program.into(), script, package)
    }

    /// In the environment of this name in the cache.
    pub(crate) fn python_of(environment: &str, script: &'static str, package: &str) -> Option<Self> {
        Self::of_python(cache(&format!("{environment}/bin/python"))?.into(), script, package)
    }

    fn of_python(program: PathBuf, script: &'static str, package: &str) -> Option<Self> {
        let client = Self { program, folder: SCRIPTS.into(), script };
        client.checked(&["-c", &format!("import {package}")], package)
    }

    fn node(script: &'static str, package: &str) -> Option<Self> {
        let folder = PathBuf::from(cache("clients")?);
        let client = Self { program: "node".into(), folder, script };
        client.checked(&["-e", &format!("require('{package}')")], package)
    }

    /// Itself, if the package is there. The continuous integration must have it.
    fn checked(self, arguments: &[&str], package: &str) -> Option<Self> {
        let mut command = Command::new(&self.program);
        if command.current_dir(&self.folder).args(arguments).output().is_ok_and(|output| output.status.success()) {
            return Some(self);
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no {package}: run .ci/clients.sh");
        eprintln!("SKIPPED: the client {package} is not installed; .ci/clients.sh does it");
        None
    }

    /// Its script with these variables in its environment.
    pub(crate) fn script(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        run(self.command(arguments).envs(environment.iter().copied()))
    }

    /// Its script as a process that goes on. What it prints, and what it reads, goes through pipes.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
        command.arg(Path::new(SCRIPTS).join(self.script)).args(arguments);
        command
    }

    fn run(&self, base: &str, arguments: &[&str]) -> Vec<Seen> {
        let out = self.script(&[], &[&[base], arguments].concat()).good();
        let calls: Vec<Value> = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"));
        calls.into_iter().map(Seen::new).collect()
    }
}

impl Seen {
    fn new(mut call: Value) -> Self {
        let record = call["record"].as_object().unwrap().clone();
        Self { name: call["name"].as_str().unwrap().to_owned(), got: same(call["got"].take()), record }
    }

    /// The record of the call, which says what the client saw.
    fn record(&self, log: &Log) -> (String, Value) {
        let name = &self.name;
        let record = log.only(&format!("request_id = '{name}'"));
        let groups = record["groups"].as_object().unwrap();
        for (field, expect) in &self.record {
            let found = groups.values().find_map(|group| group.get(field));
            assert_eq!(found, Some(expect), "{name}: {field} in {record:#}");
        }
        let missing = ["onrecord.dialect", "onrecord.input.body", "onrecord.output.sha256", "onrecord.duration_us"]
            .into_iter()
            .find(|field| !groups.values().any(|group| group.get(*field).is_some()));
        assert_eq!(missing, None, "{name}: {record:#}");
        assert_eq!(record["groups"]["context"]["gen_ai.conversation.id"], "client", "{name}");
        assert_eq!(record["groups"]["context"]["onrecord.tags"]["call"], *name);
        (name.clone(), record)
    }
}

/// What is the same whenever a call is made again: no ids and no times.
fn same(value: Value) -> Value {
    const CHANGING: [&str; 12] = [
        "id",
        "item_id",
        "response_id",
        "tool_call_id",
        "call_id",
        "created",
        "created_at",
        "completed_at",
        "timings",
        "timestamp",
        "response_ms",
        "_response_ms",
    ];
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !CHANGING.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name, same(value))).collect())
        }
        Value::Array(values) => values.into_iter().map(same).collect(),
        other => other,
    }
}

pub(crate) fn cache(path: &str) -> Option<std::ffi::OsString> {
    let home = std::env::var_os("HOME")?;
    Some(Path::new(&home).join(".cache/onrecord").join(path).into())
}

/// Runs a client against a model server with and without the gateway, and compares.
fn check(title: &str, client: &Client, server: &dyn Display, arguments: &[&str]) {
    let direct = client.run(&server.to_string(), arguments);
    let log = Log::new();
    let gateway = log.serve(server);
    let through = client.run(&format!("http://{}", gateway.gateway), arguments);
    assert_eq!(names(&through), names(&direct));
    for (through, direct) in through.iter().zip(&direct) {
        assert_eq!(through.got, direct.got, "{title}, {}: the gateway changed what the client got", direct.name);
    }
    let records: Vec<_> = through.iter().map(|call| call.record(&log)).collect();
    gateway.stop();
    log.verify();
    compatibility::compare(title, &records);
}

fn names(calls: &[Seen]) -> Vec<&str> {
    calls.iter().map(|call| call.name.as_str()).collect()
}

/// One that answers the same whenever it is asked the same.
async fn llama() -> Option<Llama> {
    Llama::start(&["--no-cache-prompt"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn openai() {
    let Some(client) = Client::python("with_openai.py", "openai") else { return };
    let demo = upstream::model().await;
    check("The demo model, openai for Python", &client, &demo, &["demo"]);
    let Some(llama) = llama().await else { return };
    check("llama.cpp, openai for Python", &client, &llama, &["llama.cpp"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn anthropic() {
    let (Some(client), Some(llama)) = (Client::python("with_anthropic.py", "anthropic"), llama().await) else { return };
    check("llama.cpp, anthropic for Python", &client, &llama, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn langchain() {
    let client = Client::python("with_langchain.py", "langchain_openai");
    let (Some(client), Some(llama)) = (client, llama().await) else { return };
    check("llama.cpp, langchain-openai", &client, &llama, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn litellm() {
    let (Some(client), Some(llama)) = (Client::python("with_litellm.py", "litellm"), llama().await) else { return };
    check("llama.cpp, litellm", &client, &llama, &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ai_sdk() {
    let client = Client::node("with_ai_sdk.mjs", "@ai-sdk/openai-compatible");
    let (Some(client), Some(llama)) = (client, llama().await) else { return };
    check("llama.cpp, Vercel AI SDK", &client, &llama, &[]);
}

/// llama.cpp speaks nothing of Ollama's API: a stand-in sends what Ollama's documentation shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ollama() {
    let Some(client) = Client::python("with_ollama.py", "ollama") else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capture/testdata/ollama");
    let answers = ["chat", "chat_stream", "generate", "generate_stream", "embed"];
    let answers = answers.map(|case| std::fs::read(folder.join(format!("{case}.resp"))).unwrap());
    let stand_in = upstream::replay([
        ("POST /api/chat ", "\"stream\":false", answers[0].clone()),
        ("POST /api/chat ", "\"stream\":true", answers[1].clone()),
        ("POST /api/generate ", "\"stream\":false", answers[2].clone()),
        ("POST /api/generate ", "\"stream\":true", answers[3].clone()),
        ("POST /api/embed ", "", answers[4].clone()),
    ]);
    check(
        "Ollama (a stand-in that sends what its documentation shows), ollama for Python",
        &client,
        &stand_in.await,
        &[],
    );
}

/// Nobody has SGLang's GPU here: a stand-in sends what its documentation shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sglang() {
    let Some(client) = Client::python("with_sglang.py", "httpx") else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capture/testdata/sglang");
    let answer = |case: &str| std::fs::read(folder.join(format!("{case}.resp"))).unwrap();
    let path = "POST /generate ";
    let stand_in = upstream::replay([
        (path, "\"input_ids\"", answer("generate_ids")),
        (path, "\"1 2 3\"", answer("generate_batch")),
        (
            path,
            "\"top_logprobs_num\":2,\"return_text_in_logprobs\":true,\"stream\":true",
            answer("generate_stream_logprobs"),
        ),
        (path, "\"top_logprobs_num\"", answer("generate_logprobs")),
        (path, "\"stream\":true", answer("generate_stream")),
        (path, "", answer("generate")),
    ]);
    check(
        "SGLang (a stand-in that sends what its documentation shows), httpx for Python",
        &client,
        &stand_in.await,
        &[],
    );
}
