//! How the next token is chosen from the logits.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The most alternatives that are reported for one token.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// How an answer is sampled and where it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits before sampling; 0 always takes the most probable token.
    pub temperature: f32,
    /// Samples among the most probable tokens that have this much probability together, 0 to 1.
    pub top_p: f32,
    /// The same seed, prompt and settings give the same answer.
    pub seed: u64,
    /// The most tokens to generate. The end of the context is a limit as well.
    pub max_tokens: usize,
    /// Texts that end the answer and are not part of it. They may span tokens.
    pub stop: Vec<String>,
    /// How many alternatives to report for each token, at most [`MAX_TOP_LOGPROBS`].
    pub top_logprobs: usize,
    /// Goes on after a token that ends the answer, up to the limit. For measurements.
    pub ignore_eos: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            seed: 0,
            max_tokens: usize::MAX,
            stop: Vec::new(),
            top_logprobs: 0,
            ignore_eos: false,
        }
    }
}

/// A token that could have been chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alternative {
    /// The token.
    pub id: u32,
    /// Natural logarithm of its probability under the untempered softmax, over the whole vocabulary.
    pub logprob: f32,
}

/// Chooses tokens for one generation.
pub(crate) struct Sampler {
    rng: StdRng,
    temperature: f32,
    top_p: f32,
    top_logprobs: usize,
    /// Kept between steps so that a step allocates nothing.
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    pub(crate) fn new(sampling: &Sampling) -> Self {
        Self {
            rng: StdRng::seed_from_u64(sampling.seed),
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_logprobs: sampling.top_logprobs.min(MAX_TOP_LOGPROBS),
            candidates: Vec::new(),
        }
    }

    /// The chosen token, and the most probable ones in descending order.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> (Alternative, Vec<Alternative>) {
        let best = argmax(logits);
        let normalizer = log_sum_exp(logits, logits[best]);
        let id = if self.temperature > 0.0 { self.sample(logits, logits[best]) } else { best };
        let chosen = Alternative { id: id as u32, logprob: logits[id] - normalizer };
        (chosen, self.top(logits, normalizer))
    }

    fn sample(&mut self, logits: &[f32], max: f32) -> usize {
        let weight = |logit: &f32| ((logit - max) / self.temperature).exp();
        self.candidates.clear();
        self.candidates.extend((0..).zip(logits.iter().map(weight)));
        let mass = if self.top_p < 1.0 { self.keep_nucleus() } else { total(&self.candidates) };
        let mut left = self.rng.random::<f32>() * mass;
        let drawn = self.candidates.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        // Rounding can leave a rest after the last candidate.
        drawn.or(self.candidates.last()).map_or(0, |(id, _)| *id as usize)
    }

    /// Cuts the candidates down to the smallest set that reaches `top_p` and returns its weight.
    fn keep_nucleus(&mut self) -> f32 {
        let total = total(&self.candidates);
        // A token below this cannot be needed even if all of them were: most need not be sorted.
        let floor = (1.0 - self.top_p) * total / self.candidates.len() as f32;
        self.candidates.retain(|(_, weight)| *weight >= floor);
        self.candidates.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut mass = 0.0;
        let reached = self.candidates.iter().position(|(_, weight)| {
            mass += weight;
            mass >= self.top_p * total
        });
        self.candidates.truncate(reached.map_or(self.candidates.len(), |last| last + 1));
        mass
    }

    fn top(&mut self, logits: &[f32], normalizer: f32) -> Vec<Alternative> {
        let wanted = self.top_logprobs.min(logits.len());
        if wanted == 0 {
            return Vec::new();
        }
        self.candidates.clear();
        self.candidates.extend((0..).zip(logits.iter().copied()));
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        self.candidates.select_nth_unstable_by(wanted - 1, order);
        self.candidates.truncate(wanted);
        self.candidates.sort_unstable_by(order);
        let alternative = |(id, logit): &(u32, f32)| Alternative { id: *id, logprob: logit - normalizer };
        self.candidates.iter().map(alternative).collect()
    }
}

/// The index of the largest logit, the first if several are.
fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best
}

fn log_sum_exp(logits: &[f32], max: f32) -> f32 {
    max + logits.iter().map(|logit| (logit - max).exp()).sum::<f32>().ln()
}

fn total(candidates: &[(u32, f32)]) -> f32 {
    candidates.iter().map(|(_, weight)| weight).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [0.0, 3.0, 1.0, 2.0];

    fn draws(sampling: &Sampling, count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        (0..count).map(|_| sampler.choose(&LOGITS).0.id).collect()
    }

    #[test]
    fn temperature_zero_is_greedy() {
        let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
        assert_eq!(draws(&greedy, 50), vec![1; 50]);
    }

    #[test]
    fn a_seed_fixes_the_draws() {
        let seeded = |seed| draws(&Sampling { seed, ..Sampling::default() }, 50);
        assert_eq!(seeded(7), seeded(7));
        assert_ne!(seeded(7), seeded(8));
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let count = 20_000;
        let drawn = draws(&Sampling::default(), count);
        let total: f32 = LOGITS.iter().map(|logit| logit.exp()).sum();
        for (id, logit) in (0..).zip(LOGITS) {
            let share = drawn.iter().filter(|drawn| **drawn == id).count() as f32 / count as f32;
            assert!((share - logit.exp() / total).abs() < 0.02, "token {id} has {share}");
        }
    }

    #[test]
    fn top_p_leaves_out_the_tail() {
        // The probabilities are 0.64, 0.24, 0.09, 0.03.
        let kept = |top_p| {
            let mut ids = draws(&Sampling { top_p, ..Sampling::default() }, 2_000);
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        assert_eq!(kept(0.5), [1]);
        assert_eq!(kept(0.8), [1, 3]);
        assert_eq!(kept(0.9), [1, 2, 3]);
        assert_eq!(kept(0.0), [1]);
    }

    #[test]
    fn logprobs_ignore_the_temperature() {
        let at = |temperature| {
            let sampling = Sampling { temperature, top_logprobs: 4, ..Sampling::default() };
            Sampler::new(&sampling).choose(&LOGITS).1
        };
        assert_eq!(at(0.0), at(1.7));
        assert_eq!(at(0.0).iter().map(|top| top.id).collect::<Vec<_>>(), [1, 3, 2, 0]);
        let mass: f32 = at(1.0).iter().map(|top| top.logprob.exp()).sum();
        assert!((mass - 1.0).abs() < 1e-6);
    }
}
