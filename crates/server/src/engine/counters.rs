//! What the gateway counts of its calls. Some atomics a call; nothing is locked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use onrecord_ledger::Histogram;
use onrecord_proof::{Record, field};

/// From an answer out of a cache to one of a slow model with a long output.
const CALL_BOUNDS: [Duration; 11] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(5),
];
/// How a call can end, as its record says.
pub(crate) const OUTCOMES: [&str; 4] = ["completed", "upstream_error", "client_disconnected", "rejected"];

/// What was counted since the program started.
#[derive(Debug)]
pub(crate) struct Counters {
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// Calls that went through without a record.
    unrecorded: AtomicU64,
    pub durations: Histogram,
    pub first_tokens: Histogram,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    input_bytes: AtomicU64,
    output_bytes: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            unrecorded: AtomicU64::new(0),
            durations: Histogram::new(&CALL_BOUNDS),
            first_tokens: Histogram::new(&CALL_BOUNDS),
            input_tokens: AtomicU64::new(0),
            output_tokens: AtomicU64::new(0),
            input_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
        }
    }
}

fn add(counter: &AtomicU64, number: Option<i64>) {
    if let Some(number) = number.and_then(|number| u64::try_from(number).ok()) {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}

fn observe(histogram: &Histogram, micros: Option<i64>) {
    if let Some(micros) = micros.and_then(|micros| u64::try_from(micros).ok()) {
        histogram.observe(Duration::from_micros(micros));
    }
}

impl Counters {
    /// A call has ended in this way, with this record.
    pub(crate) fn ended(&self, outcome: &str, record: &Record) {
        if let Some(number) = OUTCOMES.iter().position(|known| *known == outcome) {
            self.outcomes[number].fetch_add(1, Ordering::Relaxed);
        }
        observe(&self.durations, record.int(&field::DURATION));
        observe(&self.first_tokens, record.int(&field::FIRST_TOKEN));
        add(&self.input_tokens, record.int(&field::INPUT_TOKENS));
        add(&self.output_tokens, record.int(&field::OUTPUT_TOKENS));
        add(&self.input_bytes, record.int(&field::INPUT_SIZE));
        add(&self.output_bytes, record.int(&field::OUTPUT_SIZE));
    }

    pub(crate) fn unrecorded(&self) {
        self.unrecorded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES.into_iter().zip(self.outcomes.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Tokens read and written, as the model servers count them.
    pub(crate) fn tokens(&self) -> [u64; 2] {
        [&self.input_tokens, &self.output_tokens].map(|count| count.load(Ordering::Relaxed))
    }

    /// Bytes of requests and of answers.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        [&self.input_bytes, &self.output_bytes].map(|count| count.load(Ordering::Relaxed))
    }

    pub(crate) fn unrecorded_calls(&self) -> u64 {
        self.unrecorded.load(Ordering::Relaxed)
    }
}
