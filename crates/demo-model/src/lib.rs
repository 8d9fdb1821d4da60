//! A tiny real language model behind an OpenAI-compatible API, for the demo and the tests.
