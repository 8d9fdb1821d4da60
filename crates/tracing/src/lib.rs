//! The log in the process that does the work, without a server.
//!
//! A [`Recorder`] has a data folder open. Its [layer](Recorder::layer) turns the spans of `tracing` into records of kind
//! `step`, and a [`Call`] puts one call of a model on record, its beginning before the model computes. The records are
//! those that a server makes of OpenTelemetry spans and of calls through its gateway, with `embedded` as their source; once
//! the recorder is closed, `onrecord verify`, `trace`, `query` and all the rest read the folder (`--data DIR`).
//!
//! ```
//! use onrecord_tracing::{Options, Recorder};
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let recorder = Recorder::open(folder, Options { service: Some("shop".into()), ..Options::default() })?;
//! let subscriber = tracing_subscriber::registry().with(recorder.layer());
//!
//! // In a program: `subscriber.init()`.
//! tracing::subscriber::with_default(subscriber, || {
//!     let _whole = tracing::info_span!("answer", onrecord.step = "chain").entered();
//!     tracing::info_span!("rank", onrecord.step = "rerank", onrecord.rerank.after = r#"["d2","d1"]"#).in_scope(|| ());
//! });
//!
//! let written = recorder.close()?;
//! assert_eq!((written.steps, written.dropped), (2, 0));
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embedded.rs` records a whole pipeline: tokenization, reranking, every decision of the model, a guardrail.
//!
//! # What becomes of a span
//!
//! It is on record when it closes: its name, its place in the trace, its service and target, how long it took, and its
//! fields. Fields mean what attributes of OpenTelemetry spans mean: those of the GenAI semantic conventions, of
//! OpenInference, and `onrecord.step`, `onrecord.rerank.before`, `onrecord.rerank.after` and `onrecord.guardrail.verdict`;
//! any other is kept under its name. A span that is the call of a model (`gen_ai.operation.name = "chat"`, say) becomes an
//! interaction, unless a [`Call`] was made in it.
//!
//! A span has failed if it has a field `error`, or an event of level ERROR happened in it, as
//! `#[tracing::instrument(err)]` makes one. An event that was given a name, such as `gen_ai.evaluation.result`, is an event
//! of the span; all others are log lines and stay out. Which spans are recorded is up to a filter of the layer:
//! `recorder.layer().with_filter(LevelFilter::INFO)`.
//!
//! # When the log cannot keep up
//!
//! The layer never waits for the disk and gives the application no error. A step goes into a bounded queue, which a thread
//! of its own empties. What finds no room there, because spans close faster than the disk takes them or the disk is full,
//! is dropped and counted; when the log can be written again, a record of kind `gap` says how many steps it does not have
//! and of what time, and a warning says the same through `tracing`. [`Recorder::written`] has the counts at any time. A step
//! whose text is larger than [`Options::max_step_bytes`] is cut and says how much is missing.
//!
//! A call is different: [`Call::begin`] and [`Call::end`] give the log's answer, and it is for the application to wait for
//! it and to decide what to do without.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod call;
mod error;
mod layer;
mod queue;
mod recorder;
mod step;
mod writer;

#[cfg(test)]
mod tests;

pub use call::Call;
pub use error::Error;
pub use layer::StepLayer;
pub use queue::Written;
pub use recorder::{Options, Recorder};
