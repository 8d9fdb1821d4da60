//! What is recorded of real answers, and of what no server should send.
#![allow(clippy::unwrap_used)]

mod anthropic;
mod compressed;
mod edges;
mod errors;
mod golden;
mod injection;
mod llamacpp;
mod lmstudio;
mod ollama;
mod openai;
mod oracle;
mod otlp;
mod pieces;
mod rubbish;
mod sglang;
mod support;
mod tgi;
