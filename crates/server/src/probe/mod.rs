//! What the model server really runs: asked at start, on a schedule, and when an answer looks different; put on record
//! when it changed, and referred to by every call.
//!
//! `in_force` is what the calls look at, `prober` the task that keeps it right, `ask` its way to the model server, `known`
//! what the log has from earlier. `gauge` and `sampler` do the same for how busy the server is during a call,
//! `prompts` for what the model read. Parsing is in `onrecord_capture::serving`.

mod ask;
mod gauge;
mod in_force;
mod known;
mod prober;
mod prompts;
mod sampler;

pub(crate) use ask::Asking;
pub(crate) use gauge::{Gauge, Watched};
pub(crate) use in_force::InForce;
pub(crate) use prober::{Prober, Schedule};
pub(crate) use prompts::Prompts;
pub(crate) use sampler::Sampler;
