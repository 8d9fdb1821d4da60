//! `onrecord trace` and `onrecord feedback`.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::options::FeedbackArgs;
use super::uri::segment;
use crate::engine::{Node, Trace};
use crate::terminal::{duration, escape, print_json, print_line};

/// Columns of the bars that show when something ran.
const BAR: usize = 24;

pub(super) async fn trace(client: &Client, wanted: &str, json: bool) -> anyhow::Result<()> {
    let trace: Value = client.json(&format!("/api/v1/traces/{}", segment(wanted))).await?;
    if json {
        return Ok(print_json(&format!("{trace:#}"))?);
    }
    let trace: Trace = serde_json::from_value(trace)?;
    lines(&trace).iter().try_for_each(|line| print_line(line)).map_err(Into::into)
}

/// The tree, a record a line: a bar for when it ran, how long, what it was, how it ended.
fn lines(trace: &Trace) -> Vec<String> {
    let begin = trace.nodes.iter().map(|node| node.began_us).min().unwrap_or(0);
    let end = trace
        .nodes
        .iter()
        .map(|node| node.began_us.saturating_add(node.duration_us.unwrap_or(0)))
        .max()
        .unwrap_or(begin);
    let total = micros(end.saturating_sub(begin));
    let name = trace.trace_id.as_deref().map_or_else(|| "no trace id".into(), |id| format!("trace {}", escape(id)));
    let more = if trace.more { ", and more" } else { "" };
    let mut lines = vec![format!("{name}, {}, {}{more}", records(trace.nodes.len()), duration(total))];
    let names: Vec<_> = trace.nodes.iter().map(|node| format!("{}{}", "  ".repeat(node.depth), what(node))).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(64);
    for (node, name) in trace.nodes.iter().zip(names) {
        let took = node.duration_us.map_or_else(String::new, |us| duration(micros(us)));
        let bar = bar(node.began_us - begin, node.duration_us.unwrap_or(0), end - begin);
        let line = format!("{bar} {took:>8}  {name:width$}  {}  {}", how(node), escape(&node.id));
        lines.push(line.trim_end().to_owned());
    }
    lines
}

pub(super) fn records(count: usize) -> String {
    format!("{count} record{}", if count == 1 { "" } else { "s" })
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

/// When it ran within the whole: `·····▇▇▇▇·····`.
fn bar(offset: i64, took: i64, whole: i64) -> String {
    let at = |us: i64| ((us.max(0) as f64 / whole.max(1) as f64) * BAR as f64) as usize;
    let start = at(offset).min(BAR - 1);
    let end = at(offset + took).clamp(start + 1, BAR);
    format!("{}{}{}", "·".repeat(start), "▇".repeat(end - start), "·".repeat(BAR - end))
}

/// What a record is: its kind, its name, its model.
fn what(node: &Node) -> String {
    let kind = match (node.kind.as_str(), &node.step) {
        ("step", Some(step)) => step.clone(),
        ("interaction", _) => node.operation.clone().unwrap_or_else(|| "call".to_owned()),
        (kind, _) => kind.to_owned(),
    };
    let name = match node.kind.as_str() {
        "feedback" => node.evaluation.clone(),
        _ => node.tool.clone().or_else(|| node.name.clone()).or_else(|| node.path.clone()),
    };
    let parts = [Some(kind), name, node.model.clone()];
    escape(&parts.into_iter().flatten().collect::<Vec<_>>().join(" ")).into_owned()
}

/// How it ended, or what was judged.
fn how(node: &Node) -> String {
    let score = node.score.map(|score| score.to_string());
    let parts = match node.kind.as_str() {
        "feedback" => [score, node.label.clone()],
        _ => [node.outcome.clone(), node.error_type.clone()],
    };
    escape(&parts.into_iter().flatten().collect::<Vec<_>>().join(" ")).into_owned()
}

pub(super) async fn feedback(client: &Client, args: &FeedbackArgs) -> anyhow::Result<()> {
    let about = if args.session { "session" } else { "record" };
    let mut body = json!({ about: args.about });
    for (name, value) in
        [("name", &args.name), ("label", &args.label), ("comment", &args.comment), ("user", &args.user)]
    {
        if let Some(value) = value {
            body[name] = value.as_str().into();
        }
    }
    if let Some(score) = args.score {
        body["score"] = score.into();
    }
    let answer: Value = client.post_json("/api/v1/feedback", &body).await?;
    let id = answer["id"].as_str().unwrap_or_default();
    Ok(print_line(&format!("{} at leaf {}", escape(id), answer["leaf_index"]))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_a_tree_with_times() {
        let node = |kind: &str, depth, began_us, duration_us| Node {
            id: "0".into(),
            kind: kind.into(),
            depth,
            began_us,
            duration_us,
            outcome: Some("completed".into()),
            ..Node::default()
        };
        let nodes = vec![
            Node {
                step: Some("chain".into()),
                name: Some("ask\u{1b}".into()),
                ..node("step", 0, 1_000_000, Some(2400))
            },
            Node {
                operation: Some("chat".into()),
                model: Some("tiny".into()),
                ..node("interaction", 1, 1_000_600, Some(1200))
            },
            Node { score: Some(1.0), label: Some("good".into()), ..node("feedback", 2, 1_002_400, None) },
        ];
        assert_eq!(
            lines(&Trace { trace_id: Some("aa".into()), nodes, more: true }),
            [
                "trace aa, 3 records, 2.40 ms, and more",
                "▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇  2.40 ms  chain ask\\u{1b}  completed  0",
                "······▇▇▇▇▇▇▇▇▇▇▇▇······  1.20 ms    chat tiny      completed  0",
                "·······················▇               feedback     1 good  0",
            ]
        );
    }
}
