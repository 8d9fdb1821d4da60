//! Text Generation Inference of Hugging Face (docs/openapi.json of its repository): `/generate` and `/generate_stream`,
//! and `/`, which is one or the other.

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::{Answer, Key, Kind, Message, Usage};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::request::asked::{Asked, Names, prompt};
use crate::wire::{Last, Text, Wire, object};

/// The members of `parameters` that have a field.
const PARAMETERS: Names = &[
    ("temperature", &field::TEMPERATURE),
    ("top_p", &field::TOP_P),
    ("top_k", &field::TOP_K),
    ("seed", &field::SEED),
    ("max_new_tokens", &field::MAX_TOKENS),
    ("best_of", &field::CHOICE_COUNT),
    ("stop", &field::STOP_SEQUENCES),
    ("frequency_penalty", &field::FREQUENCY_PENALTY),
];

/// What a request for a whole answer says.
pub(crate) const GENERATE: Asked = Asked {
    shared: &[("model", &field::REQUEST_MODEL), ("stream", &field::STREAM)],
    within: Some(("parameters", PARAMETERS)),
    input: &[("inputs", prompt)],
    ..Asked::NOTHING
};

/// What a request for a stream says.
pub(crate) const STREAM: Asked =
    Asked { shared: GENERATE.shared, within: GENERATE.within, input: GENERATE.input, streams: true, ..Asked::NOTHING };

object! {
    /// An event of a stream, or a whole answer, which has no token.
    Generation { token, top_tokens, generated_text, details, error } without { "index" }
}

object! {
    /// One token.
    Token { id, text, special } without { "logprob" }
}

object! {
    /// How a generation went.
    Details { finish_reason, generated_tokens, input_length, prefill, tokens, top_tokens, best_of_sequences } without {}
}

/// Reads answers. The event that has the whole text, or details, ends a stream.
pub(crate) struct Generate;

impl Wire for Generate {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        let new = Generation::read(event.json)?;
        if new.error.is_some() {
            answer.fail_with(event.json);
            return Ok(Last::No);
        }
        if new.token.or(new.generated_text).is_some()
            && let Some((message, budget)) = answer.message(0)
            && take(&new, message, budget)
        {
            answer.spoke(event.at_us);
        }
        if let Some(details) = new.details {
            take_details(details, answer);
        }
        let (extra, budget) = answer.extra(None);
        extra.set_all(&new.rest, budget);
        Ok(if new.generated_text.or(new.details).is_some() { Last::Yes } else { Last::No })
    }

    /// A list of answers is what `/` gives, and some proxies do.
    fn whole(&mut self, json: &str, answer: &mut Answer) -> Result<()> {
        let mut one = json::parse(json)?;
        let mut found = None;
        json::items(one, |item| found = found.or(Some(item)));
        one = found.unwrap_or(one);
        self.event(Text { name: "", json: one.get(), at_us: 0 }, answer).map(drop)
    }
}

/// Takes a token, or the whole text, which replaces what the tokens add up to. True if the model said something.
fn take(new: &Generation<'_>, message: &mut Message, budget: &mut Budget) -> bool {
    let mut spoke = false;
    if let Some(raw) = new.token
        && let Ok(token) = Token::read(raw.get())
    {
        let text = token.text.and_then(json::text).unwrap_or_default();
        if !token.special.and_then(json::boolean).unwrap_or(false) {
            spoke = message.say(Kind::Text, &text, budget);
        }
        if let Some(id) = token.id {
            message.token_ids.push(id.get(), budget);
        }
        message.decisions.push(&decision(raw, new.top_tokens), budget);
    }
    if let Some(text) = new.generated_text.and_then(json::text)
        && let Some(part) = message.part(Kind::Text, Key::default(), budget)
    {
        part.replace(&text, budget);
    }
    spoke
}

/// A token with the alternatives that stand beside it.
fn decision(token: &RawValue, alternatives: Option<&RawValue>) -> String {
    match (token.get().strip_suffix('}'), alternatives.filter(|list| json::inside_list(list).is_some())) {
        (Some(open), Some(list)) => format!("{},\"top_tokens\":{}}}", open.trim_end(), list.get()),
        _ => token.get().into(),
    }
}

fn take_details(json: &RawValue, answer: &mut Answer) {
    let Ok(details) = Details::read(json.get()) else { return };
    let count = |value: Option<&RawValue>| value.and_then(json::int);
    // The prompt's tokens are there only if they were asked for; older versions do not count them.
    let prefill = details.prefill.map(|list| json::count(list) as i64).filter(|count| *count > 0);
    let (input, output) = (count(details.input_length).or(prefill), count(details.generated_tokens));
    answer.usage.set(&Usage { input, output, ..Usage::default() });
    let Some((message, budget)) = answer.message(0) else { return };
    if let Some(reason) = details.finish_reason {
        message.finish(reason, budget);
    }
    // A whole answer has its tokens here, a stream has sent them before.
    if let (Some(tokens), true) = (details.tokens, message.decisions.items().is_empty()) {
        take_tokens(tokens, details.top_tokens, message, budget);
    }
    for (name, list) in [("prefill", details.prefill), ("best_of_sequences", details.best_of_sequences)] {
        if let Some(list) = list.filter(|list| json::inside_list(list).is_some()) {
            message.extra.set(name, list, budget);
        }
    }
    message.extra.set_all(&details.rest, budget);
}

fn take_tokens(tokens: &RawValue, alternatives: Option<&RawValue>, message: &mut Message, budget: &mut Budget) {
    let mut tops = Vec::new();
    if let Some(list) = alternatives {
        json::items(list, |top| tops.push(top));
    }
    let mut tops = tops.into_iter();
    json::items(tokens, |token| message.decisions.push(&decision(token, tops.next()), budget));
}
