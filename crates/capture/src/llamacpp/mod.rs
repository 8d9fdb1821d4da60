//! llama.cpp's own API (tools/server/README.md of its repository). What it shares with vLLM and others is here as well.

pub(crate) mod completion;
pub(crate) mod rerank;
pub(crate) mod side;
