//! Tokens, as the server counts them.

use std::collections::BTreeMap;

use onrecord_proof::{Record, field};

use crate::json::{self, RawValue};

/// Counts of one answer.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) input: Option<i64>,
    pub(crate) output: Option<i64>,
    pub(crate) cached: Option<i64>,
    pub(crate) cache_written: Option<i64>,
    pub(crate) reasoning: Option<i64>,
}

impl Usage {
    /// Takes the counts of a `usage` object; those that it does not have stay as they are. OpenAI says `prompt_tokens` in
    /// one API and `input_tokens` in the other, each with its details; Anthropic says `input_tokens` for those that were
    /// neither read from a cache nor written to it, and OpenTelemetry wants all of them. Proxies say `prompt_tokens` with
    /// Anthropic's counts of the cache beside it, which are a part of it.
    pub(crate) fn take(&mut self, usage: &RawValue) {
        let (mut of_api, mut of_cache, mut without_cache) = (Self::default(), Self::default(), None);
        let _ = json::members(usage.get(), |name, value| match &*name {
            "prompt_tokens" => of_api.input = json::int(value),
            "input_tokens" => without_cache = json::int(value),
            "completion_tokens" | "output_tokens" => of_api.output = json::int(value).or(of_api.output),
            "cache_read_input_tokens" => of_cache.cached = json::int(value),
            "cache_creation_input_tokens" => of_cache.cache_written = json::int(value),
            "prompt_tokens_details" | "input_tokens_details" => {
                of_api.cached = count(value, "cached_tokens").or(of_api.cached);
                of_api.cache_written = count(value, "cache_write_tokens").or(of_api.cache_written);
            }
            "completion_tokens_details" | "output_tokens_details" => {
                let reasoning = ["reasoning_tokens", "thinking_tokens"].into_iter().find_map(|name| count(value, name));
                of_api.reasoning = reasoning.or(of_api.reasoning);
            }
            _ => {}
        });
        let beside = of_cache.cached.unwrap_or(0).saturating_add(of_cache.cache_written.unwrap_or(0));
        of_api.input = of_api.input.or(without_cache.map(|input| input.saturating_add(beside)));
        self.set(&of_api);
        self.set(&of_cache);
    }

    /// Takes the counts that `new` has.
    pub(crate) fn set(&mut self, new: &Self) {
        let counts = [
            (&mut self.input, new.input),
            (&mut self.output, new.output),
            (&mut self.cached, new.cached),
            (&mut self.cache_written, new.cache_written),
            (&mut self.reasoning, new.reasoning),
        ];
        for (count, new) in counts {
            *count = new.or(*count);
        }
    }

    pub(super) fn record(&self, record: &mut Record) {
        let counts = [
            (&field::INPUT_TOKENS, self.input),
            (&field::OUTPUT_TOKENS, self.output),
            (&field::CACHED_TOKENS, self.cached),
            (&field::CACHE_WRITTEN_TOKENS, self.cache_written),
            (&field::REASONING_TOKENS, self.reasoning),
        ];
        for (field, count) in counts {
            if let Some(count) = count {
                record.set(field, count);
            }
        }
    }
}

/// Counts of several answers to one request, each of which has counts of its own that grow.
#[derive(Default)]
pub(crate) struct Counts {
    /// Of the input, of the output and from the cache, by the number of the answer.
    of_answers: BTreeMap<i64, [i64; 3]>,
    total: [i64; 3],
}

impl Counts {
    /// Takes those of the answer of that number, of which no more may come than there are messages. Gives what all add up
    /// to, where that has changed.
    pub(crate) fn take(&mut self, index: i64, counts: [Option<&RawValue>; 3]) -> Usage {
        let known = self.of_answers.entry(index).or_default();
        let mut totals = known.iter_mut().zip(&mut self.total).zip(counts).map(|((known, total), new)| {
            let new = new.and_then(json::int)?;
            *total = total.saturating_sub(*known).saturating_add(new);
            *known = new;
            Some(*total)
        });
        let mut next = || totals.next().flatten();
        Usage { input: next(), output: next(), cached: next(), ..Usage::default() }
    }
}

fn count(usage: &RawValue, name: &str) -> Option<i64> {
    json::member_of(usage, name).and_then(json::int)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_several_answers_add_up() {
        let (mut counts, mut usage) = (Counts::default(), Usage::default());
        let number = |json| json::raw(json);
        for (index, new) in [
            (0, [number("3"), number("1"), None]),
            (1, [number("5"), number("1"), number("2")]),
            (0, [number("3"), number("4"), None]),
            (1, [None, number("null"), None]),
        ] {
            usage.set(&counts.take(index, new));
        }
        assert_eq!((usage.input, usage.output, usage.cached), (Some(8), Some(5), Some(2)));
    }

    #[test]
    fn every_form() {
        for (json, expect) in [
            (r#"{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}"#, [Some(3), Some(2), None, None, None]),
            (
                r#"{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":{"reasoning_tokens":9}}"#,
                [Some(3), None, Some(1), None, Some(9)],
            ),
            (
                r#"{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":2,"output_tokens_details":null}"#,
                [Some(3), Some(2), Some(1), None, None],
            ),
            (
                r#"{"input_tokens":3,"cache_read_input_tokens":10,"cache_creation_input_tokens":100,"output_tokens":2}"#,
                [Some(113), Some(2), Some(10), Some(100), None],
            ),
            (
                r#"{"prompt_tokens":113,"completion_tokens":2,"cache_read_input_tokens":10,"cache_creation_input_tokens":100}"#,
                [Some(113), Some(2), Some(10), Some(100), None],
            ),
            (
                r#"{"prompt_tokens":30,"prompt_tokens_details":{"cached_tokens":10,"cache_write_tokens":5}}"#,
                [Some(30), None, Some(10), Some(5), None],
            ),
            (
                r#"{"input_tokens":30,"input_tokens_details":{"cached_tokens":10,"cache_write_tokens":5}}"#,
                [Some(30), None, Some(10), Some(5), None],
            ),
            (
                r#"{"input_tokens":3,"output_tokens":20,"output_tokens_details":{"thinking_tokens":9}}"#,
                [Some(3), Some(20), None, None, Some(9)],
            ),
            ("[]", [None; 5]),
        ] {
            let mut usage = Usage::default();
            usage.take(json::raw(json).unwrap());
            let Usage { input, output, cached, cache_written, reasoning } = usage;
            assert_eq!([input, output, cached, cache_written, reasoning], expect, "{json}");
        }
    }
}
