//! Embeddings: of OpenAI's API, of Ollama, and llama.cpp's own (`/embedding`).
//!
//! The vectors are in the body; the record says how many there are and how long.

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::Answer;
use crate::json::{self, RawValue};
use crate::ollama::durations;
use crate::request::asked::{Asked, prompt};
use crate::wire::{Last, Text, Wire, object};

/// What a request says. `content` is llama.cpp's name for the input.
pub(crate) const REQUEST: Asked = Asked {
    parameters: &[
        ("model", &field::REQUEST_MODEL),
        ("encoding_format", &field::ENCODING_FORMATS),
        ("embedding_type", &field::ENCODING_FORMATS),
    ],
    input: &[("input", prompt), ("content", prompt)],
    ..Asked::NOTHING
};

object! {
    /// An answer; which member has the vectors depends on the server.
    Vectors { id, model, data, embeddings, embedding, usage, prompt_eval_count, error } without {}
}

/// Reads answers.
pub(crate) struct Embed;

impl Wire for Embed {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        if event.json.trim_start().starts_with('[') {
            take_list(json::parse(event.json)?, answer);
            return Ok(Last::No);
        }
        let new = Vectors::read(event.json)?;
        answer.set_id(new.id);
        answer.set_model(new.model);
        if let Some(error) = new.error {
            answer.fail(error);
        }
        if let Some(usage) = new.usage {
            answer.usage.take(usage);
        }
        answer.usage.input = new.prompt_eval_count.and_then(json::int).or(answer.usage.input);
        if let Some(timings) = durations(&new.rest) {
            answer.set_timings(&timings);
        }
        if let Some(list) = new.data.or(new.embeddings) {
            take_list(list, answer);
        } else if let Some(vector) = new.embedding {
            take_vectors(1, Some(vector), answer);
        }
        Ok(Last::No)
    }
}

/// Takes a list of vectors, or of objects that have one each.
fn take_list(list: &RawValue, answer: &mut Answer) {
    let (mut count, mut first) = (0, None);
    json::items(list, |item| {
        count += 1;
        first = first.or(Some(item));
    });
    take_vectors(count, first.map(|item| json::member_of(item, "embedding").unwrap_or(item)), answer);
}

fn take_vectors(count: usize, first: Option<&RawValue>, answer: &mut Answer) {
    answer.understand();
    answer.set(&field::EMBEDDING_COUNT, count as i64);
    if let Some(dimensions) = first.and_then(dimensions) {
        answer.set(&field::EMBEDDING_DIMENSIONS, dimensions as i64);
    }
}

/// The length of a vector: of a list of numbers, of such a list in a list (llama.cpp, a vector for each token), or of
/// 32-bit floats in base64.
fn dimensions(vector: &RawValue) -> Option<usize> {
    if let Some(base64) = json::text(vector) {
        return Some(base64.trim_end_matches('=').len() * 3 / 4 / 4).filter(|numbers| *numbers > 0);
    }
    let (mut count, mut first) = (0, None);
    json::items(vector, |number| {
        count += 1;
        first = first.or(Some(number));
    });
    let inner = first?;
    Some(if inner.get().starts_with('[') { json::count(inner) } else { count })
}
