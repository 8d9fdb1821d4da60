//! One operation end to end: everything on record that belongs to one trace.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use onrecord_capture::otlp::SpanKey;
use onrecord_lake::QueryLimits;
use onrecord_lake::datafusion::scalar::ScalarValue;
use onrecord_proof::field;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Engine, Wanted};
use crate::render::hex;

/// Records of one trace that are read at most.
const SPANS_MAX: usize = 10_000;

/// Spans that are judged are looked up for so long: whoever judges waits for it.
const JUDGED_WITHIN: Duration = Duration::from_secs(5);

const COLUMNS: &str = "id, kind, onrecord_source AS source, span_id, parent_span_id, onrecord_subject AS subject, \
    CAST(captured_at AS BIGINT) AS began_us, onrecord_duration_us AS duration_us, onrecord_step AS step, \
    onrecord_span_name AS name, coalesce(gen_ai_response_model, gen_ai_request_model) AS model, \
    gen_ai_operation_name AS operation, service_name AS service, gen_ai_tool_name AS tool, url_path AS path, \
    onrecord_outcome AS outcome, error_type, gen_ai_evaluation_name AS evaluation, \
    gen_ai_evaluation_score_value AS score, gen_ai_evaluation_score_label AS label";

/// What a trace shows of one record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Node {
    pub id: String,
    pub kind: String,
    pub source: Option<String>,
    pub span_id: Option<String>,
    pub parent_span_id: Option<String>,
    pub subject: Option<String>,
    /// Microseconds since 1970-01-01 UTC.
    pub began_us: i64,
    pub duration_us: Option<i64>,
    pub step: Option<String>,
    pub name: Option<String>,
    pub model: Option<String>,
    pub operation: Option<String>,
    pub service: Option<String>,
    pub tool: Option<String>,
    pub path: Option<String>,
    pub outcome: Option<String>,
    pub error_type: Option<String>,
    pub evaluation: Option<String>,
    pub score: Option<f64>,
    pub label: Option<String>,
    /// How deep it is in the tree.
    #[serde(default)]
    pub depth: usize,
}

/// A trace: its records in the order of the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "a trace id is called so everywhere")]
pub(crate) struct Trace {
    /// None if the record that was named has none; then these are the record and what is about it.
    pub trace_id: Option<String>,
    pub nodes: Vec<Node>,
    /// True if there are more records than are shown, which began later.
    pub more: bool,
}

impl Engine {
    /// The trace of that id, or of the record that `wanted` names. `None` if nothing of it is on record.
    pub(crate) async fn trace(&self, wanted: &str) -> anyhow::Result<Option<Trace>> {
        let is_trace_id = wanted.len() == 32 && wanted.bytes().all(|b| b.is_ascii_hexdigit());
        if is_trace_id {
            let trace_id = wanted.to_ascii_lowercase();
            let (nodes, more) = self.nodes("trace_id = $1", &trace_id, SPANS_MAX).await?;
            if !nodes.is_empty() {
                return Ok(Some(Trace { trace_id: Some(trace_id), nodes, more }));
            }
        }
        let Ok(wanted) = wanted.parse::<Wanted>() else { return Ok(None) };
        let Some(found) = self.find(wanted).await? else { return Ok(None) };
        let trace_id = found.record.text(&field::TRACE_ID).map(str::to_owned);
        let id = found.record.id.to_string();
        let (condition, value) = match &trace_id {
            Some(trace_id) => ("trace_id = $1", trace_id),
            None => ("(id = $1 OR onrecord_subject = $1)", &id),
        };
        let (nodes, more) = self.nodes(condition, value, SPANS_MAX).await?;
        Ok((!nodes.is_empty()).then_some(Trace { trace_id, nodes, more }))
    }

    /// What is judged where the spans are, as far as they are on record: the call that a client's span is around, or that came
    /// from the span, or else what the span itself became.
    pub(crate) async fn judged(&self, spans: &[SpanKey]) -> anyhow::Result<HashMap<SpanKey, Uuid>> {
        if spans.is_empty() {
            return Ok(HashMap::new());
        }
        let traces: BTreeSet<_> = spans.iter().map(|(trace, _)| hex(trace)).collect();
        let places = (1..=traces.len()).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ");
        let statement = format!(
            "SELECT {COLUMNS}, trace_id FROM records WHERE trace_id IN ({places}) AND kind IN ('interaction', 'step') LIMIT {SPANS_MAX}"
        );
        let limits = QueryLimits { rows: SPANS_MAX, time: JUDGED_WITHIN, ..self.limits.clone() };
        let nodes: Vec<InTrace> =
            self.rows(&statement, traces.into_iter().map(ScalarValue::from).collect(), limits).await?;
        let judged = |span: &SpanKey| Some((*span, judged(&nodes, &hex(&span.0), &hex(&span.1))?));
        Ok(spans.iter().filter_map(judged).collect())
    }

    /// The records for which a condition holds, at most so many, in the order of their tree; and whether there are more.
    async fn nodes(&self, condition: &str, value: &str, most: usize) -> anyhow::Result<(Vec<Node>, bool)> {
        let statement = format!(
            "SELECT {COLUMNS} FROM records WHERE {condition} AND kind IN ('interaction', 'step', 'feedback') ORDER BY captured_at, leaf_index LIMIT {}",
            most + 1
        );
        let values = vec![ScalarValue::from(value)];
        let limits = QueryLimits { rows: most + 1, ..self.limits.clone() };
        let mut nodes = self.rows(&statement, values, limits).await?;
        let more = nodes.len() > most;
        nodes.truncate(most);
        Ok((in_order(nodes), more))
    }
}

/// A node, and which trace it is of.
#[derive(Debug, Clone, Deserialize)]
struct InTrace {
    trace_id: String,
    #[serde(flatten)]
    node: Node,
}

fn judged(nodes: &[InTrace], trace: &str, span: &str) -> Option<Uuid> {
    let mut nodes = nodes.iter().filter(|found| found.trace_id == trace).map(|found| &found.node);
    let is_of = |id: &Option<String>| id.as_deref() == Some(span);
    let own = nodes.clone().find(|node| is_of(&node.span_id));
    let id = match own {
        Some(own) => own.subject.as_ref().unwrap_or(&own.id),
        None => &nodes.find(|node| node.kind == "interaction" && is_of(&node.parent_span_id))?.id,
    };
    id.parse().ok()
}

/// Each node behind its parent: the record of its parent span; of a call that the gateway saw the span of its client; of
/// what has no span of its own the record that it is about. A node whose parent is not on record is a root.
fn in_order(mut nodes: Vec<Node>) -> Vec<Node> {
    let parents = parents(&nodes);
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut roots = Vec::new();
    for (at, parent) in parents.into_iter().enumerate() {
        match parent {
            Some(parent) => children[parent].push(at),
            None => roots.push(at),
        }
    }
    let mut places = vec![None; nodes.len()];
    let mut next = 0;
    // Spans that name each other as parents hang on no root; they come last, each as if it were one.
    for root in roots.into_iter().chain(0..nodes.len()) {
        let mut stack = vec![(root, 0)];
        while let Some((at, depth)) = stack.pop() {
            if places[at].is_none() {
                places[at] = Some(next);
                next += 1;
                nodes[at].depth = depth;
                stack.extend(children[at].iter().rev().map(|child| (*child, depth + 1)));
            }
        }
    }
    let mut ordered: Vec<_> = places.into_iter().zip(nodes).collect();
    ordered.sort_by_key(|(place, _)| *place);
    ordered.into_iter().map(|(_, node)| node).collect()
}

/// Where the parent of each node is.
fn parents(nodes: &[Node]) -> Vec<Option<usize>> {
    let mut spans = HashMap::new();
    let mut ids = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        ids.entry(node.id.as_str()).or_insert(at);
        if let Some(span) = &node.span_id {
            spans.entry(span.as_str()).or_insert(at);
        }
    }
    let of_span = |at: usize| {
        let span = nodes[at].parent_span_id.as_deref()?;
        spans.get(span).copied().filter(|parent| *parent != at)
    };
    // A client's span is about the call that it is the parent of.
    let of_subject = |at: usize| {
        let subject = nodes[at].subject.as_deref()?;
        ids.get(subject).copied().filter(|subject| *subject != at && of_span(*subject) != Some(at))
    };
    (0..nodes.len()).map(|at| of_span(at).or_else(|| of_subject(at))).collect()
}

#[cfg(test)]
mod tests {
    use onrecord_proof::Kind;

    use super::*;
    use crate::config::{Overrides, load_only};
    use crate::engine::new_record;

    #[tokio::test]
    async fn a_trace_that_is_cut_says_so() {
        let data = tempfile::tempdir().unwrap();
        let flags = Overrides { data: Some(data.path().to_owned()), ..Overrides::default() };
        let options = crate::server::engine_options(&load_only(&flags).unwrap()).unwrap();
        let engine = Engine::open(data.path(), options).await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..3 {
            let mut record = new_record(Kind::Step);
            record.set(&field::TRACE_ID, "aa");
            ids.push(record.id.to_string());
            engine.ledger.append(&record).unwrap().await.unwrap();
        }
        for (most, more) in [(1, true), (2, true), (3, false), (4, false)] {
            let (nodes, cut) = engine.nodes("trace_id = $1", "aa", most).await.unwrap();
            let shown: Vec<_> = nodes.into_iter().map(|node| node.id).collect();
            assert_eq!((shown.as_slice(), cut), (&ids[..most.min(3)], more));
        }
        engine.close().await.unwrap();
    }

    fn node(id: &str, span: &str, parent: &str, subject: &str) -> Node {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Node {
            id: id.into(),
            span_id: some(span),
            parent_span_id: some(parent),
            subject: some(subject),
            ..Node::default()
        }
    }

    #[test]
    fn a_judgement_is_about_the_call_in_its_span() {
        let kinds = |kind: &str, node: Node| InTrace { trace_id: "t".into(), node: Node { kind: kind.into(), ..node } };
        let [around, call, alone, direct] = [1_u128, 2, 3, 4].map(|id| Uuid::from_u128(id).to_string());
        let nodes = [
            kinds("step", node(&around, "a", "", &call)),
            kinds("interaction", node(&call, "", "a", "")),
            kinds("step", node(&alone, "b", "a", "")),
            kinds("interaction", node(&direct, "", "c", "")),
        ];
        for (trace, span, id) in
            [("t", "a", Some(2)), ("t", "b", Some(3)), ("t", "c", Some(4)), ("t", "d", None), ("u", "a", None)]
        {
            assert_eq!(judged(&nodes, trace, span), id.map(Uuid::from_u128), "{trace} {span}");
        }
    }

    #[test]
    fn children_follow_their_parents() {
        let nodes = vec![
            node("call", "", "b", ""),
            node("root", "a", "", ""),
            node("client", "b", "a", "call"),
            node("thumb", "", "", "call"),
            node("lost", "z", "y", ""),
            node("loop-1", "p", "q", ""),
            node("loop-2", "q", "p", ""),
            node("answer", "", "d", ""),
            node("asker", "d", "", "answer"),
        ];
        let ordered: Vec<_> = in_order(nodes).into_iter().map(|node| (node.id, node.depth)).collect();
        let expected = [
            ("root", 0),
            ("client", 1),
            ("call", 2),
            ("thumb", 3),
            ("lost", 0),
            ("asker", 0),
            ("answer", 1),
            ("loop-1", 0),
            ("loop-2", 1),
        ];
        assert_eq!(ordered, expected.map(|(id, depth)| (id.to_owned(), depth)));
    }
}
