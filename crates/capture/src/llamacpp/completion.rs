//! `/completion`, which is also mounted as `/completions`, and `/infill`.
//!
//! Several prompts give several answers, told apart by `index`. In a stream each of them ends with `"stop":true`, one
//! after the other, so that only the end of the body tells that it was the last one.

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::{Answer, Counts, Kind, Message};
use crate::budget::Budget;
use crate::json::{self, RawValue};
use crate::request::asked::{Asked, Names, SAMPLING, prompt};
use crate::wire::{Last, Text, Wire, each_of, object};

const PARAMETERS: Names =
    &[("max_tokens", &field::MAX_TOKENS), ("n_predict", &field::MAX_TOKENS), ("n_cmpl", &field::CHOICE_COUNT)];

/// What a request of `/completion` says.
pub(crate) const REQUEST: Asked =
    Asked { parameters: PARAMETERS, shared: SAMPLING, input: &[("prompt", prompt)], ..Asked::NOTHING };

/// What a request of `/infill` says. Its prompt, if it has one, is what follows the prefix.
pub(crate) const INFILL: Asked = Asked {
    parameters: PARAMETERS,
    shared: SAMPLING,
    input: &[("prompt", prompt), ("input_prefix", prompt)],
    ..Asked::NOTHING
};

object! {
    /// An answer to one prompt, or what is new in it.
    Piece {
        index, content, tokens, stop, model, tokens_evaluated, tokens_predicted, generation_settings, stop_type,
        stopping_word, timings, completion_probabilities, probs, prompt_progress, error
    } without {}
}

/// Reads answers.
#[derive(Default)]
pub(crate) struct Native {
    counts: Counts,
}

impl Wire for Native {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        self.take(event.json, event.at_us, answer)
    }

    fn whole(&mut self, json: &str, answer: &mut Answer) -> Result<()> {
        each_of(json, |one, _| self.take(one, 0, answer).map(drop))
    }
}

impl Native {
    fn take(&mut self, json: &str, at_us: i64, answer: &mut Answer) -> Result<Last> {
        let new = Piece::read(json)?;
        answer.set_model(new.model);
        if let Some(error) = new.error {
            answer.fail(error);
        }
        for (json, set) in [
            (new.timings, Answer::set_timings as fn(&mut Answer, &str)),
            (new.generation_settings, Answer::set_settings),
        ] {
            if let Some(json) = json {
                set(answer, json.get());
            }
        }
        answer.set_prompt(new.rest.iter().find(|(name, _)| name == "prompt").map(|(_, prompt)| *prompt), None);
        if let Some(content) = new.content {
            let index = new.index.and_then(json::int).unwrap_or(0);
            let spoke = answer.message(index).map(|(message, budget)| take_message(&new, content, message, budget));
            if spoke == Some(true) {
                answer.spoke(at_us);
            }
            if spoke.is_some() {
                let cached = new.timings.and_then(|timings| json::member_of(timings, "cache_n"));
                answer.usage.set(&self.counts.take(index, [new.tokens_evaluated, new.tokens_predicted, cached]));
            }
        } else {
            let (extra, budget) = answer.extra(None);
            extra.set_all(&new.rest, budget);
        }
        let stop = new.stop.and_then(json::boolean).unwrap_or(false);
        Ok(if stop { Last::Perhaps } else { Last::No })
    }
}

/// Takes what is new of one answer. True if the model said something in it.
fn take_message(new: &Piece<'_>, content: &RawValue, message: &mut Message, budget: &mut Budget) -> bool {
    let spoke = json::text(content).is_some_and(|text| message.say(Kind::Text, &text, budget));
    // While the prompt is processed a token is sent that is none.
    if let (Some(tokens), None) = (new.tokens, new.prompt_progress) {
        message.token_ids.extend(tokens, budget);
    }
    // `probs` is what older versions call it.
    if let Some(decisions) = new.completion_probabilities.or(new.probs) {
        message.decisions.extend(decisions, budget);
    }
    if let Some(reason) = new.stop_type {
        message.finish(reason, budget);
    }
    if let Some(word) = new.stopping_word {
        message.stopped_by(word, budget);
    }
    if let Some(progress) = new.prompt_progress {
        message.extra.set("prompt_progress", progress, budget);
    }
    message.extra.set_all(&new.rest, budget);
    spoke
}
