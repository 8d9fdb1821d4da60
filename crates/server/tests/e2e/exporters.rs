//! Real instrumentations: a program that asks models with the `openai` package, under each of them, sends its spans here. What
//! went through the gateway too is one call; what did not is on record as its span says it.

use std::path::Path;

use serde_json::{Value, json};

use crate::clients::Client;
use crate::support::upstream::{self, Upstream};
use crate::support::{Log, Server, compatibility};

const SCRIPT: &str = "with_otel.py";
const PORTS: &str = "[ingest]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n";
const CONTENT: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
const LATEST: (&str, &str) = ("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental");

/// What the client saw of a call, in a trace of its own.
struct Seen(Value);

impl Seen {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    fn is(&self, part: &str) -> bool {
        self.name().contains(part)
    }

    fn here(&self) -> String {
        format!("trace_id = '{}'", self.0["trace"].as_str().unwrap())
    }

    fn trace(&self, log: &Log) -> Vec<(u64, String)> {
        let trace = log.json(&["trace", self.0["trace"].as_str().unwrap(), "--json"]);
        let name =
            |node: &Value| ["name", "path", "evaluation"].iter().find_map(|key| Some(node[key].as_str()?.to_owned()));
        let nodes = trace["nodes"].as_array().unwrap().iter();
        nodes.map(|node| (node["depth"].as_u64().unwrap(), name(node).unwrap())).collect()
    }
}

/// An instrumentation, and how it is told to send content or not.
struct Instrumentation {
    name: &'static str,
    client: Client,
    /// The name of the span of a chat, and what sends it.
    span: fn(&str) -> String,
    on: &'static [(&'static str, &'static str)],
    off: &'static [(&'static str, &'static str)],
    /// How spans are sent with content, and without.
    protocols: [&'static str; 2],
    /// It says what was embedded.
    embedded: bool,
}

/// The model servers that a program asks.
struct Servers {
    model: Upstream,
    stand_in: Upstream,
}

impl Servers {
    async fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capture/testdata");
        let answer = |path: &str| std::fs::read(folder.join(path)).unwrap();
        let stand_in = upstream::replay_anew([
            ("POST /v1/embeddings ", "", answer("llama-server-embeddings/embeddings_base64.resp")),
            ("POST /v1/chat/completions ", "\"stream\":true", answer("llama-server/chat_stream_tools.resp")),
            ("POST /v1/chat/completions ", "", answer("llama-server/chat_tools.resp")),
        ]);
        Self { model: upstream::model().await, stand_in: stand_in.await }
    }

    fn config(&self) -> String {
        let Self { model, stand_in } = self;
        format!(
            "{PORTS}\n[[upstream]]\nname = \"model\"\nurl = \"{model}\"\nmodels = [\"tiny-pydoc\"]\n\n[[upstream]]\nname = \"stand-in\"\nurl = \"{stand_in}\"\n"
        )
    }

    /// Has a program make its calls, and what it wrote to standard error.
    fn ask(
        &self,
        instrumentation: &Instrumentation,
        environment: &[(&str, &str)],
        protocol: &str,
        server: &Server,
        through: bool,
    ) -> (Vec<Seen>, String) {
        let endpoint = format!("http://{}", server.otlp[usize::from(protocol == "http")]);
        let gateway = if through { format!("http://{}", server.gateway) } else { "-".to_owned() };
        let (model, stand_in) = (self.model.to_string(), self.stand_in.to_string());
        let arguments = [instrumentation.name, protocol, &endpoint, &model, &stand_in, &gateway];
        let ran = instrumentation.client.script(environment, &arguments);
        let written = ran.stderr.clone();
        let calls: Vec<Value> = serde_json::from_str(&ran.good()).unwrap();
        (calls.into_iter().map(Seen).collect(), written)
    }
}

/// A field of a record, in whichever group.
fn get<'r>(record: &'r Value, name: &str) -> &'r Value {
    let groups = record["groups"].as_object().unwrap();
    groups.values().find_map(|group| group.get(name)).unwrap_or(&Value::Null)
}

/// A body of a record, which is JSON.
fn body(record: &Value, name: &str) -> Value {
    match get(record, name) {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    }
}

/// A call that did not go through the gateway is what its span says.
fn check_direct(instrumentation: &Instrumentation, log: &Log, call: &Seen) -> Value {
    let record = log.only(&call.here());
    let is = |name: &str, expect: Value| {
        assert_eq!(*get(&record, name), expect, "{}, {}: {name} in {record:#}", instrumentation.name, call.name());
    };
    is("onrecord.source", json!("otlp"));
    is("onrecord.span.name", json!((instrumentation.span)(call.name())));
    is("gen_ai.provider.name", json!("openai"));
    let at_stand_in = call.is("tool") || call.is("embedding");
    is("gen_ai.request.model", json!(if at_stand_in { "stand-in" } else { "tiny-pydoc" }));
    is("gen_ai.operation.name", json!(if call.is("embedding") { "embeddings" } else { "chat" }));
    if call.is("refused") {
        is("onrecord.outcome", json!("upstream_error"));
        assert!(get(&record, "error.type").as_str().unwrap().ends_with("BadRequestError"), "{record:#}");
        assert!(get(&record, "onrecord.error.message").as_str().unwrap().contains("the context holds"), "{record:#}");
        assert!(get(&record, "onrecord.input.text").as_str().unwrap().starts_with("word word"), "{record:#}");
        return record;
    }
    is("onrecord.outcome", json!("completed"));
    is("gen_ai.response.model", json!("tiny-pydoc"));
    is("gen_ai.usage.input_tokens", call.0["tokens"][0].clone());
    if call.is("embedding") {
        let text = if instrumentation.embedded { json!("The cat sat on the mat.") } else { Value::Null };
        is("onrecord.input.text", text);
        return record;
    }
    let asked = if call.is("tool") { "What is the weather in Paris?" } else { "What is the capital of France?" };
    is("onrecord.input.text", json!(asked));
    is("gen_ai.usage.output_tokens", call.0["tokens"][1].clone());
    is("gen_ai.request.max_tokens", json!(24));
    is("gen_ai.request.temperature", json!(0.0));
    if call.is("stream") && instrumentation.name != "openai-v2" {
        is("gen_ai.request.stream", json!(true));
        assert!(get(&record, "onrecord.first_token_us").as_i64().unwrap() > 0, "{record:#}");
    }
    let finish = get(&record, "gen_ai.response.finish_reasons");
    // Of several calls of tools the conventions say `tool_call`.
    let plural = finish[0].as_str().map(|reason| reason.replace("tool_calls", "tool_call"));
    assert_eq!(plural, Some(call.0["finish"].as_str().unwrap().replace("tool_calls", "tool_call")), "{record:#}");
    assert_eq!(body(&record, "gen_ai.input.messages")[0]["role"], "user", "{record:#}");
    let answer = &body(&record, "gen_ai.output.messages")[0];
    assert_eq!(answer["role"], "assistant", "{record:#}");
    if call.is("tool") {
        let called = match &answer["parts"] {
            Value::Array(parts) => parts.iter().find(|part| part["type"] == "tool_call").unwrap(),
            _ => &answer["tool_calls"][0]["function"],
        };
        let arguments = match &called["arguments"] {
            Value::String(text) => serde_json::from_str(text).unwrap(),
            other => other.clone(),
        };
        assert_eq!((&called["name"], &arguments), (&json!("get_weather"), &json!({ "city": "Paris" })), "{record:#}");
    } else {
        is("onrecord.output.text", call.0["text"].clone());
    }
    record
}

/// A call that went through the gateway is one, whose spans are around it.
fn check_through(instrumentation: &Instrumentation, log: &Log, call: &Seen) {
    let record = log.only(&call.here());
    assert_eq!(get(&record, "onrecord.source"), &Value::Null, "{record:#}");
    let step = log.only_of("steps", &format!("{} AND step = 'model_call'", call.here()));
    assert_eq!(get(&step, "onrecord.subject"), &record["id"], "{step:#}");
    let path = if call.is("embedding") { "/v1/embeddings" } else { "/v1/chat/completions" };
    let span = (instrumentation.span)(call.name());
    let tree = [(0, call.name()), (1, &span), (2, "POST"), (3, path)];
    assert_eq!(call.trace(log), tree.map(|(depth, name)| (depth, name.to_owned())), "{}", instrumentation.name);
    if let Some(text) = call.0["text"].as_str().filter(|text| !text.is_empty() && !call.is("refused")) {
        assert_eq!(get(&record, "onrecord.output.text"), text, "{record:#}");
    }
}

/// What ran around a call is around it, and what was thought of it is on record.
fn check_pipeline(instrumentation: &Instrumentation, log: &Log, call: &Seen) {
    let through = call.is("gateway");
    let ours = instrumentation.name == "openinference";
    let span = (instrumentation.span)("chat");
    let chat = if through { "gateway pipeline-chat" } else { "direct pipeline-chat" };
    let mut tree = vec![(0, "pipeline"), (1, "search")];
    tree.extend(if ours { &[(1, "rank"), (1, "stock")][..] } else { &[(1, "execute_tool stock")] });
    tree.extend([(1, chat), (2, &span), (3, "POST")]);
    tree.extend(through.then_some((4, "/v1/chat/completions")));
    tree.extend(ours.then_some((1, "policy")));
    tree.push((1, "relevance"));
    let tree: Vec<_> = tree.into_iter().map(|(depth, name)| (depth, name.to_owned())).collect();
    assert_eq!(call.trace(log), tree, "{}", instrumentation.name);

    let here = call.here();
    let session = format!("{} {}", instrumentation.name, if through { "gateway" } else { "direct" });
    let root = log.only_of("steps", &format!("{here} AND name = 'pipeline'"));
    assert_eq!(get(&root, "gen_ai.conversation.id"), session.as_str());
    let judged = log.query(&format!(
        "SELECT subject_id, name, score, label, comment FROM feedback WHERE subject_id = '{}'",
        root["id"].as_str().unwrap()
    ));
    let expect = json!({ "subject_id": root["id"], "name": "relevance", "score": 0.25, "label": "poor", "comment": "It says nothing." });
    assert_eq!(judged, [expect]);

    let search = log.only_of("steps", &format!("{here} AND step = 'retrieval'"));
    let found = body(&search, "gen_ai.retrieval.documents");
    let order = |list: &Value| [0, 1].map(|at| (list[at]["id"].clone(), list[at]["score"].clone()));
    assert_eq!(order(&found), [(json!("d1"), json!(0.5)), (json!("d2"), json!(0.75))], "{search:#}");
    let tool = log.only_of("steps", &format!("{here} AND step = 'tool'"));
    assert_eq!(get(&tool, "gen_ai.tool.name"), "stock");
    let said = if ours {
        ["onrecord.input.body", "onrecord.output.body"]
    } else {
        ["gen_ai.tool.call.arguments", "gen_ai.tool.call.result"]
    };
    assert_eq!(said.map(|name| body(&tool, name)), [json!({ "item": 7 }), json!({ "left": 3 })], "{tool:#}");
    if ours {
        assert_eq!((&found[0]["content"], get(&search, "onrecord.input.text")), (&json!("Shoes"), &json!("stock")));
        let rank = log.only_of("steps", &format!("{here} AND step = 'rerank'"));
        let after = body(&rank, "onrecord.rerank.after");
        assert_eq!(order(&after), [(json!("d2"), json!(0.75)), (json!("d1"), json!(0.5))], "{rank:#}");
        assert_eq!(order(&body(&rank, "onrecord.rerank.before"))[0].0, "d1");
        assert_eq!(get(&rank, "gen_ai.request.model"), "ranker");
        let policy = log.only_of("steps", &format!("{here} AND step = 'guardrail'"));
        assert_eq!(get(&policy, "onrecord.output.text"), "pass");
    }
}

async fn check(instrumentation: &Instrumentation) {
    let servers = Servers::start().await;
    let log = Log::with_config(&servers.config());
    let server = log.serve("");
    let [protocol, other] = instrumentation.protocols;
    let (calls, written) = servers.ask(instrumentation, instrumentation.on, protocol, &server, true);
    let mut spans = Vec::new();
    for call in &calls {
        match call.name().split_once(' ').unwrap() {
            // Is a part of the next.
            (_, "pipeline-chat") => {}
            (_, "pipeline") => check_pipeline(instrumentation, &log, call),
            ("direct", name) => spans.push((name.to_owned(), check_direct(instrumentation, &log, call))),
            _ => check_through(instrumentation, &log, call),
        }
    }
    assert_eq!((calls.len(), spans.len()), (16, 6));
    assert_eq!(log.query("SELECT count(*) AS n FROM interactions"), [json!({ "n": 14 })], "no call is there twice");
    assert!(!server.messages().contains("do not say"), "{}", server.messages());
    assert!(!written.contains("Failed to export"), "{written}");

    let (calls, _) = servers.ask(instrumentation, instrumentation.off, other, &server, false);
    let chat = log.only(&calls[0].here());
    assert_eq!(get(&chat, "gen_ai.usage.output_tokens"), 8, "{chat:#}");
    for name in ["onrecord.input.text", "onrecord.output.text", "gen_ai.input.messages", "gen_ai.output.messages"] {
        assert_eq!(get(&chat, name), &Value::Null, "{chat:#}");
    }
    let warned = server.messages();
    assert!(warned.contains(&format!("in \"{}\" do not say what was asked", instrumentation.name)), "{warned}");
    assert!(instrumentation.on.iter().all(|(name, value)| warned.contains(&format!("{name}={value}"))), "{warned}");
    log.verify();
    assert!(!server.stop().contains("panicked"));
    compatibility::compare(&format!("Spans of {}", instrumentation.name), &spans);
}

fn conventional(call: &str) -> String {
    let model = if call.contains("tool") || call.contains("embedding") { "stand-in" } else { "tiny-pydoc" };
    format!("{} {model}", if call.contains("embedding") { "embeddings" } else { "chat" })
}

fn openai_v2_of(client: Client) -> Instrumentation {
    Instrumentation {
        name: "openai-v2",
        client,
        span: conventional,
        on: &[(CONTENT, "span_only"), LATEST],
        off: &[],
        protocols: ["grpc", "http"],
        embedded: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_v2() {
    let Some(client) = Client::python(SCRIPT, "opentelemetry.instrumentation.openai_v2") else { return };
    check(&openai_v2_of(client)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn genai_openai() {
    let client = Client::python_of("venv-genai", SCRIPT, "opentelemetry.instrumentation.genai.openai");
    let Some(client) = client else { return };
    check(&Instrumentation {
        name: "genai-openai",
        client,
        span: conventional,
        on: &[(CONTENT, "span_only")],
        off: &[],
        protocols: ["http", "grpc"],
        embedded: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openllmetry() {
    let Some(client) = Client::python(SCRIPT, "opentelemetry.instrumentation.openai") else { return };
    check(&Instrumentation {
        name: "openllmetry",
        client,
        span: |call| if call.contains("embedding") { "openai.embeddings" } else { "openai.chat" }.to_owned(),
        on: &[("TRACELOOP_TRACE_CONTENT", "true")],
        off: &[("TRACELOOP_TRACE_CONTENT", "false")],
        protocols: ["http", "grpc"],
        embedded: true,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openinference() {
    let Some(client) = Client::python(SCRIPT, "openinference.instrumentation.openai") else { return };
    check(&Instrumentation {
        name: "openinference",
        client,
        span: |call| if call.contains("embedding") { "CreateEmbeddings" } else { "ChatCompletion" }.to_owned(),
        on: &[("OPENINFERENCE_HIDE_INPUTS", "false"), ("OPENINFERENCE_HIDE_OUTPUTS", "false")],
        off: &[("OPENINFERENCE_HIDE_INPUTS", "true"), ("OPENINFERENCE_HIDE_OUTPUTS", "true")],
        protocols: ["grpc", "http"],
        embedded: true,
    })
    .await;
}

/// Content in log events is not taken in: whoever sends content as such is told so, and so is whoever runs the log.
#[tokio::test(flavor = "multi_thread")]
async fn content_in_log_events_is_refused_and_said_to_be() {
    let Some(client) = Client::python(SCRIPT, "opentelemetry.instrumentation.openai_v2") else { return };
    let instrumentation = openai_v2_of(client);
    let servers = Servers::start().await;
    for (protocol, told) in [("grpc", "only spans and evaluation results"), ("http", "400")] {
        let log = Log::with_config(&servers.config());
        let server = log.serve("");
        let environment = [(CONTENT, "event_only"), LATEST];
        let (calls, written) = servers.ask(&instrumentation, &environment, protocol, &server, false);
        assert!(written.contains(told), "{protocol}: {written}");
        let warned = server.messages();
        assert_eq!(warned.matches("an application sends logs").count(), 1, "{warned}");
        assert!(warned.contains("do not say what was asked and answered"), "{warned}");
        assert_eq!(get(&log.only(&calls[0].here()), "gen_ai.input.messages"), &Value::Null);
        server.stop();
    }
}

/// The SDK itself sends what an evaluator would.
#[tokio::test(flavor = "multi_thread")]
async fn judgements_as_log_events() {
    let Some(client) = Client::python("with_otel_logs.py", "opentelemetry.sdk._logs") else { return };
    let model = upstream::model().await;
    for protocol in ["http", "grpc"] {
        let log = Log::with_config(PORTS);
        let server = log.serve(&model);
        let endpoint = format!("http://{}", server.otlp[usize::from(protocol == "http")]);
        let ran = client.script(&[], &[protocol, &endpoint, &format!("http://{}", server.gateway)]);
        let written = ran.stderr.clone();
        let seen: Value = serde_json::from_str(&ran.good()).unwrap();
        let call = log.only("true");
        let step = log.only_of("steps", "name = 'search'");
        assert_eq!(get(&call, "gen_ai.response.id"), &seen["answer"]);
        let judged = log
            .query("SELECT subject_id, name, score, label, comment, response_id, source FROM feedback ORDER BY score");
        let expect =
            [("by-id", 0.25, "poor", &call), ("by-span", 0.75, "good", &call), ("of-a-step", 1.0, "good", &step)];
        let expect = expect.map(|(name, score, label, subject)| {
            let mut row = json!({ "subject_id": subject["id"], "name": name, "score": score, "label": label,
                "comment": format!("Because of {name}."), "source": "otlp" });
            if name == "by-id" {
                row["response_id"] = seen["answer"].clone();
            }
            row
        });
        assert_eq!(judged, expect, "{protocol}: {written}");
        let by_id = log.only_of("feedback", "name = 'by-id'");
        assert_eq!(get(&by_id, "app.rubric"), "v2");
        assert_eq!(
            (get(&by_id, "service.name"), get(&by_id, "otel.scope.name")),
            (&json!("judge"), &json!("evaluator"))
        );
        // What is alone in its request is refused, so that its sender writes it down.
        assert!(written.contains("Failed to export"), "{protocol}: {written}");
        assert_eq!(server.messages().matches("an application sends logs").count(), 1);
        log.verify();
        server.stop();
    }
}
