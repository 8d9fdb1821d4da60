//! What can go wrong between a prompt and its answer.

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the model could not be loaded, prompted or served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The GGUF file lacks a metadata key, or holds another type under it.
    #[error("the model file has no usable metadata under `{key}`")]
    Metadata {
        /// The GGUF metadata key.
        key: String,
    },
    /// A tensor could not be read or computed.
    #[error("tensor computation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The tokenizer could not be built from the model file, or could not encode a text.
    #[error("tokenization failed: {0}")]
    Tokenizer(#[source] tokenizers::Error),
    /// The chat template could not be compiled, or refused the conversation.
    #[error("the chat template failed: {0}")]
    Template(#[from] minijinja::Error),
    /// The prompt has no token to start from.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The prompt holds a token id that the vocabulary does not have.
    #[error("token {id} is outside the vocabulary of {vocabulary} tokens")]
    UnknownToken {
        /// The offending token id.
        id: u32,
        /// The number of tokens in the vocabulary.
        vocabulary: usize,
    },
    /// The prompt leaves no room for even one token of an answer.
    #[error("the prompt has {prompt} tokens, the context holds {context} including the answer")]
    ContextExceeded {
        /// Tokens in the prompt.
        prompt: usize,
        /// Tokens the context holds.
        context: usize,
    },
    /// The listener failed.
    #[error("serving failed: {0}")]
    Serve(#[from] std::io::Error),
}
