//! Chat completions (OpenAI API reference, “Chat”), with what llama.cpp, vLLM and other servers add to them.

mod answer;
mod choice;
mod message;
mod request;
mod stream;
mod tool;
mod wire;

use onrecord_proof::Record;
pub(crate) use request::request;
pub(crate) use stream::Stream;

use self::answer::Answer;
use crate::problem::Problem;

/// Records what a whole answer says. Messages and token decisions are in the body, which is recorded as it came.
pub(crate) fn whole(json: &str, record: &mut Record) -> Result<(), Problem> {
    if json.trim().is_empty() {
        return Err(Problem::Empty);
    }
    // The body is bounded, and so is what is taken from it.
    let mut answer = Answer::new(usize::MAX);
    answer.take(json, 0).map_err(Problem::NotJson)?;
    let understood = answer.has_choices() || answer.has_failed();
    answer.record_facts("upstream", record);
    if understood { Ok(()) } else { Err(Problem::NoChoices) }
}
