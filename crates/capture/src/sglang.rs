//! SGLang (its documentation of the native API and of sampling parameters): `/generate`, whole and as a stream.
//!
//! An event of a stream has the whole text so far, unless the server was started to send what is new alone; then it has
//! fewer token ids than the tokens it counts. A batch, or several answers to one prompt, come as a list, or as events with
//! an index.

use std::collections::BTreeMap;

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::{Answer, Counts, Key, Kind, Message};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::request::asked::{Asked, Names, prompt};
use crate::wire::{Last, Text, Wire, each_of, object};

/// The members of `sampling_params` that have a field.
const PARAMETERS: Names = &[
    ("temperature", &field::TEMPERATURE),
    ("top_p", &field::TOP_P),
    ("top_k", &field::TOP_K),
    ("sampling_seed", &field::SEED),
    ("max_new_tokens", &field::MAX_TOKENS),
    ("n", &field::CHOICE_COUNT),
    ("stop", &field::STOP_SEQUENCES),
    ("frequency_penalty", &field::FREQUENCY_PENALTY),
    ("presence_penalty", &field::PRESENCE_PENALTY),
];

/// What a request says.
pub(crate) const REQUEST: Asked = Asked {
    shared: &[("model", &field::REQUEST_MODEL), ("stream", &field::STREAM)],
    within: Some(("sampling_params", PARAMETERS)),
    input: &[("text", prompt)],
    ..Asked::NOTHING
};

/// Members of a request of which one says what is to be continued. Text Generation Inference has `inputs` at the same path.
const PROMPTS: [&str; 3] = ["text", "input_ids", "input_embeds"];

/// True if a request at a path that Text Generation Inference has too is one of SGLang.
pub(crate) fn is_request(json: &str) -> bool {
    let (mut ours, mut theirs) = (false, false);
    let _ = json::members(json, |name, _| {
        ours |= PROMPTS.contains(&&*name);
        theirs |= name == "inputs";
    });
    ours && !theirs
}

object! {
    /// An answer to one prompt, as far as it is there.
    Generation { text, output_ids, meta_info, index, error } without {}
}

object! {
    /// What is to be said of it.
    Meta {
        id, finish_reason, prompt_tokens, completion_tokens, cached_tokens, output_token_logprobs, output_top_logprobs,
        output_token_logprobs_length, e2e_latency, queue_time, prefill_launch_latency, inference_time, decode_throughput
    } without {}
}

object! {
    /// Why it ended: `matched` is the stop string, or the number of the token.
    Finish { kind as "type", matched, message } without {}
}

/// What has come of one answer: tokens, decisions, and bytes of its text.
#[derive(Default)]
struct Known {
    ids: usize,
    decisions: usize,
    text: usize,
}

/// Reads answers. The stream ends with `[DONE]`.
#[derive(Default)]
pub(crate) struct Generate {
    /// By the number of the answer; no more than there are messages.
    known: BTreeMap<i64, Known>,
    counts: Counts,
}

impl Wire for Generate {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        self.take(event.json, 0, event.at_us, answer)?;
        Ok(Last::No)
    }

    fn whole(&mut self, json: &str, answer: &mut Answer) -> Result<()> {
        each_of(json, |one, place| self.take(one, place, 0, answer))
    }
}

impl Generate {
    /// Takes an answer, or what has come of it, which is that of the number `place` unless it says another one.
    fn take(&mut self, json: &str, place: i64, at_us: i64, answer: &mut Answer) -> Result<()> {
        let new = Generation::read(json)?;
        if let Some(error) = new.error {
            answer.fail(error);
        }
        let Some(meta) = new.meta_info else {
            let (extra, budget) = answer.extra(None);
            extra.set_all(&new.rest, budget);
            return Ok(());
        };
        let meta = Meta::read(meta.get())?;
        let index = new.index.and_then(json::int).unwrap_or(place);
        answer.set_id(meta.id);
        take_times(&meta, answer);
        if let Some((message, budget)) = answer.message(index) {
            let known = self.known.entry(index).or_default();
            if take_message(&new, &meta, known, message, budget) {
                answer.spoke(at_us);
            }
            let counts = [meta.prompt_tokens, meta.completion_tokens, meta.cached_tokens];
            answer.usage.set(&self.counts.take(index, counts));
        }
        fail_if_aborted(&meta, answer);
        Ok(())
    }
}

/// Takes what has come of one answer. True if the model said something that is new.
fn take_message(
    new: &Generation<'_>,
    meta: &Meta<'_>,
    known: &mut Known,
    message: &mut Message,
    budget: &mut Budget,
) -> bool {
    let counted = meta.completion_tokens.and_then(json::int).and_then(|count| usize::try_from(count).ok());
    let ids = new.output_ids.map(json::count);
    let is_all = ids.zip(counted).is_none_or(|(ids, counted)| ids >= counted);
    let mut spoke = false;
    if let Some(text) = new.text.and_then(json::text) {
        if is_all {
            spoke = text.len() > known.text;
            known.text = text.len();
            // At the end a stop string is taken off again.
            if let Some(part) = message.part(Kind::Text, Key::default(), budget) {
                part.replace(&text, budget);
            }
        } else {
            spoke = message.say(Kind::Text, &text, budget);
        }
    }
    if let Some(list) = new.output_ids {
        let skip = if is_all { known.ids } else { 0 };
        each_from(skip, list, |id| {
            message.token_ids.push(id.get(), budget);
        });
        known.ids = known.ids.max(skip) + json::count(list).saturating_sub(skip);
    }
    take_decisions(meta, if is_all { None } else { counted }, known, message, budget);
    if let Some(finish) = meta.finish_reason.and_then(|finish| Finish::read(finish.get()).ok()) {
        take_finish(&finish, message, budget);
    }
    message.extra.set_all(&meta.rest, budget);
    message.extra.set_all(&new.rest, budget);
    spoke
}

/// Takes the decisions that are new in a list, which has all of them, or the last of `counted`.
fn take_decisions(
    meta: &Meta<'_>,
    counted: Option<usize>,
    known: &mut Known,
    message: &mut Message,
    budget: &mut Budget,
) {
    let Some(list) = meta.output_token_logprobs else { return };
    let len = json::count(list);
    let told = meta.output_token_logprobs_length.and_then(json::int).and_then(|count| usize::try_from(count).ok());
    let total = if counted.is_some() { told.or(counted).unwrap_or(len).max(len) } else { len };
    let skip = known.decisions.saturating_sub(total - len);
    let mut tops = Vec::new();
    if let Some(list) = meta.output_top_logprobs {
        json::items(list, |top| tops.push(top));
    }
    let mut at = skip;
    each_from(skip, list, |token| {
        message.decisions.push(&decision(token, tops.get(at).copied()), budget);
        at += 1;
    });
    known.decisions = known.decisions.max(total);
}

/// A token with the alternatives that stand at its place in another list, under the names that both have.
fn decision(token: &RawValue, alternatives: Option<&RawValue>) -> String {
    let token = token.get();
    match alternatives.filter(|list| json::inside_list(list).is_some()) {
        Some(list) => format!("{{\"output_token_logprobs\":{token},\"output_top_logprobs\":{}}}", list.get()),
        None => format!("{{\"output_token_logprobs\":{token}}}"),
    }
}

fn take_finish(finish: &Finish<'_>, message: &mut Message, budget: &mut Budget) {
    if let Some(kind) = finish.kind {
        message.finish(kind, budget);
    }
    match finish.matched {
        Some(word) if json::text(word).is_some() => message.stopped_by(word, budget),
        Some(token) => message.extra.set("matched", token, budget),
        None => {}
    }
    message.extra.set_all(&finish.rest, budget);
}

/// What the server gave up says so where others say why they ended.
fn fail_if_aborted(meta: &Meta<'_>, answer: &mut Answer) {
    let Some(raw) = meta.finish_reason else { return };
    let is_abort = |finish: &Finish<'_>| finish.kind.and_then(json::text).is_some_and(|kind| kind == "abort");
    if Finish::read(raw.get()).is_ok_and(|finish| is_abort(&finish) && finish.message.is_some()) {
        answer.fail(raw);
    }
}

/// Times are there at the end, some of them only if the server measures them.
fn take_times(meta: &Meta<'_>, answer: &mut Answer) {
    let times = [
        ("e2e_latency", meta.e2e_latency),
        ("queue_time", meta.queue_time),
        ("prefill_launch_latency", meta.prefill_launch_latency),
        ("inference_time", meta.inference_time),
        ("decode_throughput", meta.decode_throughput),
    ];
    let mut there = times.into_iter().filter_map(|(name, time)| Some((name, time?))).peekable();
    if there.peek().is_some()
        && let Some(json) = json::object(there)
    {
        answer.set_timings(&json);
    }
}

fn each_from<'a>(skip: usize, list: &'a RawValue, mut each: impl FnMut(&'a RawValue)) {
    let mut at = 0;
    json::items(list, |item| {
        if at >= skip {
            each(item);
        }
        at += 1;
    });
}
