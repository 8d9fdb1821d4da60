//! Reranking, as Jina and Cohere defined it and llama.cpp, vLLM and others serve it. The order is in the body.

use onrecord_proof::field;
use serde_json::Result;

use crate::answer::{Answer, Usage};
use crate::json;
use crate::request::asked::{Asked, prompt};
use crate::wire::{Last, Text, Wire, object};

/// What a request says. Its text is the query.
pub(crate) const REQUEST: Asked =
    Asked { parameters: &[("model", &field::REQUEST_MODEL)], input: &[("query", prompt)], ..Asked::NOTHING };

object! {
    /// An answer.
    Ranking { id, model, results, usage, error } without {}
}

/// Reads answers.
pub(crate) struct Rerank;

impl Wire for Rerank {
    fn event(&mut self, event: Text<'_>, answer: &mut Answer) -> Result<Last> {
        if event.json.trim_start().starts_with('[') {
            json::parse(event.json)?;
            answer.understand();
            return Ok(Last::No);
        }
        let ranking = Ranking::read(event.json)?;
        answer.set_id(ranking.id);
        answer.set_model(ranking.model);
        if let Some(error) = ranking.error {
            answer.fail(error);
        }
        if let Some(usage) = ranking.usage {
            // All tokens are input, and vLLM says no more than how many in all.
            let input = json::member_of(usage, "total_tokens").and_then(json::int);
            answer.usage.set(&Usage { input, ..Usage::default() });
            answer.usage.take(usage);
        }
        if ranking.results.is_some() {
            answer.understand();
        }
        Ok(Last::No)
    }
}
