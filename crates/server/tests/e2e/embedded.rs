//! A program that keeps the log itself, without a server; the command line reads its folder like any other.

#[path = "../../../tracing/examples/embedded.rs"]
mod example;

use serde_json::{Value, json};

use crate::support::Log;
use crate::support::log::field;

#[test]
fn the_command_line_reads_what_a_program_recorded_itself() {
    let log = Log::new();
    let (call, written) = example::record(&log.data()).unwrap();
    assert_eq!((written.steps, written.dropped, written.unstated), (5, 0, 0));
    let verified = log.run(&["verify", "--data", "data"]).good();
    assert!(verified.contains("7 of 7"), "{verified}");
    assert_eq!(log.verify()["problems"], json!([]));

    let trace = log.json(&["trace", &call.to_string(), "--json"]);
    let tree: Vec<_> = trace["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            let name = node["name"].as_str().or(node["evaluation"].as_str()).or(node["operation"].as_str());
            (node["depth"].as_u64().unwrap(), name.unwrap(), node["source"].as_str().unwrap())
        })
        .collect();
    let expect =
        [(0, "answer"), (1, "rank"), (1, "tokenize"), (1, "generate"), (2, "chat"), (1, "policy"), (2, "support")];
    assert_eq!(tree, expect.map(|(depth, name)| (depth, name, "embedded")));
    let drawn = log.run(&["trace", &call.to_string()]).good();
    assert!(drawn.contains(", 7 records, ") && drawn.contains("rerank rank"), "{drawn}");

    let steps = log.query("SELECT step, name, service, interaction_id, outcome FROM steps ORDER BY time");
    assert_eq!(steps.len(), 5);
    assert_eq!(
        steps[3],
        json!({ "step": "model_call", "name": "generate", "service": "embedded", "interaction_id": call, "outcome": "completed" })
    );
    let calls = log.query("SELECT id, operation, model, temperature, prompt, source, outcome FROM interactions");
    assert_eq!(
        calls,
        [json!({ "id": call, "operation": "chat", "model": "tiny-pydoc", "temperature": 0.7,
            "prompt": "What is the capital of France?", "source": "embedded", "outcome": "completed" })]
    );
    let record = log.show(&call.to_string());
    let decisions = |name| field(&record, "decisions", name).clone();
    assert_eq!(decisions("onrecord.decisions.count"), *field(&record, "performance", "gen_ai.usage.output_tokens"));
    assert!(decisions("onrecord.decisions.entropy.max").as_f64().unwrap() > 0.0);
    let logprobs: Value = serde_json::from_str(decisions("onrecord.decisions.logprobs").as_str().unwrap()).unwrap();
    assert_eq!(logprobs[0]["top_logprobs"].as_array().unwrap().len(), 3, "{logprobs:#}");
}
