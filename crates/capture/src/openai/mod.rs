//! The dialects of the OpenAI API.

pub(crate) mod chat;
pub(crate) mod choice;
pub(crate) mod completions;
pub(crate) mod embeddings;
mod item;
pub(crate) mod responses;
