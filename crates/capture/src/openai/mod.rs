//! The dialects of the OpenAI API.

pub(crate) mod chat;
