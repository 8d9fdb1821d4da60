//! A tiny real language model behind an OpenAI-compatible API, for the demo and the tests.
//!
//! The model is a Llama-architecture transformer with 1.9 million parameters, trained on Python's documentation and
//! small enough to be compiled in. Its sentences are word-like rather than clever, but every token is computed: it has
//! a tokenizer, a chat template, a context limit, log-probabilities and a seed, so that a recorder in front of it sees
//! what it would see in front of a large one.
//!
//! [`Model`] is the model as a library, [`router`] and [`serve`] put it behind HTTP.
//!
//! ```
//! use std::ops::ControlFlow;
//! use onrecord_demo_model::{Message, Model, Sampling};
//!
//! let model = Model::load()?;
//! let prompt = model.encode(&model.chat_prompt(&[Message::new("user", "Hello!")])?)?;
//! let mut answer = String::new();
//! let sampling = Sampling { temperature: 0.0, ..Sampling::default() };
//! let completion = model.generate(&prompt, &sampling, |token| {
//!     answer.push_str(&token.text);
//!     ControlFlow::Continue(())
//! })?;
//! answer.push_str(&completion.tail);
//! assert_eq!(answer, "Hello! How can I help you today?");
//! # Ok::<(), onrecord_demo_model::Error>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod checkpoint;
mod error;
mod generate;
mod http;
mod llama;
mod model;
mod sampling;
mod template;
mod text;
mod tokenizer;

pub use error::{Error, Result};
pub use generate::{Completion, Finish, Token};
pub use http::{router, serve};
pub use model::Model;
pub use sampling::{Alternative, MAX_TOP_LOGPROBS, Sampling};
pub use template::Message;
