//! Token decisions: what each token of an answer was chosen from, in one form for all dialects.
//!
//! What the server sent stays stored as it came; this reads it again. While an answer is received only a summary is made.

mod collected;
mod stored;
mod token;

pub(crate) use collected::Decisions;
pub use stored::StoredDecisions;
pub(crate) use token::read_items;
pub use token::{Candidate, Token};

use onrecord_proof::{Record, field};

/// What the decisions of all answers of one call add up to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    tokens: i64,
    /// Of how many the log-probability is known, and their sum.
    known: i64,
    logprobs: f64,
    /// Of how many the entropy is known, their sum and the largest one.
    with_entropy: i64,
    entropies: f64,
    max_entropy: f64,
    min_margin: Option<f64>,
}

impl Summary {
    fn add(&mut self, token: &Token) {
        self.tokens += 1;
        if let Some(logprob) = token.chosen.logprob {
            self.known += 1;
            self.logprobs += logprob;
        }
        if let Some(entropy) = token.entropy() {
            self.with_entropy += 1;
            self.entropies += entropy;
            self.max_entropy = self.max_entropy.max(entropy);
        }
        if let Some(margin) = token.margin() {
            self.min_margin = Some(self.min_margin.map_or(margin, |least| least.min(margin)));
        }
    }

    /// What both add up to.
    pub(crate) fn and(self, other: &Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            known: self.known + other.known,
            logprobs: self.logprobs + other.logprobs,
            with_entropy: self.with_entropy + other.with_entropy,
            entropies: self.entropies + other.entropies,
            max_entropy: self.max_entropy.max(other.max_entropy),
            min_margin: self.min_margin.into_iter().chain(other.min_margin).reduce(f64::min),
        }
    }

    /// Records it; nothing if there are no decisions.
    pub(crate) fn record(&self, record: &mut Record) {
        if self.tokens == 0 {
            return;
        }
        record.set(&field::DECISION_COUNT, self.tokens);
        if record.get(&field::DECISIONS_SOURCE).is_none() {
            record.set(&field::DECISIONS_SOURCE, "client");
        }
        if self.known > 0 {
            record.set(&field::LOGPROB_SUM, self.logprobs);
            record.set(&field::PERPLEXITY, (-self.logprobs / self.known as f64).exp());
        }
        if self.with_entropy > 0 {
            record.set(&field::MEAN_ENTROPY, self.entropies / self.with_entropy as f64);
            record.set(&field::MAX_ENTROPY, self.max_entropy);
        }
        if let Some(margin) = self.min_margin {
            record.set(&field::MIN_MARGIN, margin);
        }
    }
}
