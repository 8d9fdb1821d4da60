//! A pipeline in one process, on record without any server: a question is made into tokens, documents are reranked, a
//! model answers and every token that it samples is on record with what else it could have been, the answer is judged.
//!
//!     cargo run -p onrecord-tracing --example embedded -- onrecord-data
//!     onrecord verify --data onrecord-data

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

use onrecord_capture::{BodyHead, Candidate, Dialect, Generated, Limits, Request, Token};
use onrecord_demo_model::{Finish, Message, Model, Sampling};
use onrecord_proof::field;
use onrecord_tracing::{Options, Recorder, Written};
use serde_json::{Value, json};
use tracing::field::Empty;
use tracing::{Level, event, info_span};
use tracing_subscriber::layer::SubscriberExt as _;
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const QUESTION: &str = "What is the capital of France?";
const DOCUMENTS: [&str; 3] = ["A list is ordered.", "France is a country.", "Paris is the capital of France."];

#[allow(dead_code, reason = "tests run what is below")]
fn main() -> Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "onrecord-data".to_owned());
    let (call, written) = record(Path::new(&folder))?;
    println!("{} steps on record, {} dropped; now run", written.steps, written.dropped);
    println!("  onrecord verify --data {folder}");
    println!("  onrecord trace {call} --data {folder}");
    Ok(())
}

/// Runs the pipeline with a log in `folder`. Gives the id of the call.
pub(crate) fn record(folder: &Path) -> Result<(Uuid, Written)> {
    let recorder = Recorder::open(folder, Options { service: Some("embedded".into()), ..Options::default() })?;
    let subscriber = tracing_subscriber::registry().with(recorder.layer());
    let call = tracing::subscriber::with_default(subscriber, || pipeline(&recorder))?;
    Ok((call, recorder.close()?))
}

fn pipeline(recorder: &Recorder) -> Result<Uuid> {
    let _whole = info_span!("answer", onrecord.step = "chain", gen_ai.conversation.id = "s-1").entered();
    let model = Model::load()?;
    let best = rerank(QUESTION, &DOCUMENTS);
    let prompt = tokenize(&model, QUESTION)?;
    let (call, answer) = generate(recorder, &model, QUESTION, &prompt)?;
    judge(&answer, best);
    Ok(call)
}

/// The best document: the one that shares most words with the question.
fn rerank(question: &str, documents: &[&'static str]) -> &'static str {
    let words = |text: &str| words(text).filter(|word| question.contains(word)).count();
    let span = info_span!(
        "rank",
        onrecord.step = "rerank",
        gen_ai.retrieval.query.text = question,
        onrecord.rerank.before = %json!(documents),
        onrecord.rerank.after = Empty
    );
    let mut ranked = documents.to_vec();
    ranked.sort_by_key(|document| std::cmp::Reverse(words(document)));
    let scored: Vec<_> = ranked.iter().map(|document| json!({ "text": document, "score": words(document) })).collect();
    span.record("onrecord.rerank.after", Value::from(scored).to_string());
    ranked.first().copied().unwrap_or_default()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([' ', '.', '?']).filter(|word| !word.is_empty())
}

fn tokenize(model: &Model, question: &str) -> Result<Vec<u32>> {
    let span =
        info_span!("tokenize", onrecord.step = "tokenization", input.value = Empty, output.value = Empty).entered();
    let prompt = model.chat_prompt(&[Message::new("user", question)])?;
    let tokens = model.encode(&prompt)?;
    span.record("input.value", prompt.as_str()).record("output.value", json!(tokens).to_string());
    Ok(tokens)
}

/// One call of the model: its question is durable before it computes, its answer when this returns.
fn generate(recorder: &Recorder, model: &Model, question: &str, prompt: &[u32]) -> Result<(Uuid, String)> {
    let _span = info_span!("generate", gen_ai.operation.name = "chat", gen_ai.request.model = model.name()).entered();
    let sampling = Sampling { temperature: 0.7, seed: 3, max_tokens: 24, top_logprobs: 3, ..Sampling::default() };
    let mut call = recorder.call();
    let id = call.id();
    let asked = json!({
        "model": model.name(), "temperature": 0.7, "seed": sampling.seed, "max_tokens": sampling.max_tokens,
        "messages": [{ "role": "user", "content": question }]
    });
    // The form of a request that is widely understood; what it says becomes fields.
    let mut request = Request::new(Limits::default());
    request.push(asked.to_string().as_bytes());
    request.finish(Dialect::OpenAiChat, BodyHead::default(), call.record());
    call.record().set(&field::OPERATION, "chat");
    call.record().set(&field::RESPONSE_MODEL, model.name());
    call.begin()?.wait()?;

    let mut answer = Generated::new(Limits::default());
    let mut text = String::new();
    let completion = model.generate(prompt, &sampling, |token| {
        let candidate = |id: u32, logprob: f32| {
            let bytes = model.token_bytes(id).to_vec();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Candidate { id: Some(id.into()), text, bytes: Some(bytes), logprob: Some(logprob.into()) }
        };
        let alternatives = token.top.iter().map(|other| candidate(other.id, other.logprob)).collect();
        let decision = Token { chosen: candidate(token.id, token.logprob), alternatives, ..Token::default() };
        answer.push(&decision, &token.text, call.elapsed_us());
        text.push_str(&token.text);
        ControlFlow::Continue(())
    })?;
    answer.push_text(0, &completion.tail);
    let reason = if completion.finish == Finish::Stop { "eos" } else { "length" };
    answer.finish(reason, i64::try_from(prompt.len())?, call.record());
    call.end("completed")?.wait()?;
    Ok((id, text + &completion.tail))
}

/// Whether the document supports the answer, as a guardrail and as a judgement.
fn judge(answer: &str, document: &str) {
    let is_supported = words(answer).all(|word| document.contains(word));
    let verdict = if is_supported { "supported" } else { "unsupported" };
    let span = info_span!("policy", onrecord.step = "guardrail", onrecord.guardrail.verdict = verdict).entered();
    let score = f64::from(u8::from(is_supported));
    event!(
        name: "gen_ai.evaluation.result",
        Level::INFO,
        { gen_ai.evaluation.name = "support", gen_ai.evaluation.score.value = score }
    );
    drop(span);
}
