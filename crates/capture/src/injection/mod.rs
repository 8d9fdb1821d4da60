//! Asking for token decisions on the client's behalf, and taking them out of the answer again.
//!
//! A request gets a member or two more, in its text and nowhere else; of the answer those members are taken out that are
//! there because of it, and every other byte stays. Clients and servers that are asked for nothing see nothing of this.

mod edit;
mod request;
mod strip;

pub use request::Ask;
pub(crate) use strip::Strip;

use crate::Dialect;
use crate::coding::Coding;

/// What is to be undone in the answer to a request that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    family: Family,
    /// So many alternatives the client asked for itself; `None` if it asked for no decisions.
    keep: Option<usize>,
    /// What `n_probs` would have been in the settings that llama.cpp tells.
    n_probs: String,
    /// What the answer is encoded with.
    coding: Coding,
}

impl Undo {
    /// The same for an answer that is encoded, which servers do although they are asked not to: the client then gets it
    /// plain. `None` if the encoding cannot be undone.
    #[must_use]
    pub fn encoded(self, content_encoding: &str) -> Option<Self> {
        let coding = Coding::of(Some(content_encoding)).ok()?;
        Some(Self { coding, ..self })
    }

    pub(crate) const fn coding(&self) -> Coding {
        self.coding
    }
}

/// Dialects that ask and answer alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    /// `logprobs` is true, `top_logprobs` a number; in the answer `logprobs` of each choice.
    Chat,
    /// `logprobs` is a number.
    Completions,
    /// `n_probs`; in the answer `completion_probabilities`.
    Native,
    /// As in chat completions; in the answer `logprobs` of each line.
    Ollama,
}

impl Family {
    const fn of(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::OpenAiChat => Some(Self::Chat),
            Dialect::OpenAiCompletions => Some(Self::Completions),
            Dialect::LlamaCompletion | Dialect::LlamaInfill => Some(Self::Native),
            Dialect::OllamaChat | Dialect::OllamaGenerate => Some(Self::Ollama),
            _ => None,
        }
    }
}
