//! The model: what it is, and how texts become tokens.

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::checkpoint::Checkpoint;
use crate::llama::Llama;
use crate::template::{ChatTemplate, Conversation, Message};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// A loaded model. Clones share the weights, 8 MB; any number of threads may generate at once.
#[derive(Clone)]
pub struct Model(Arc<Parts>);

struct Parts {
    name: String,
    digest: String,
    llama: Llama,
    tokenizer: Tokenizer,
    template: ChatTemplate,
}

impl Model {
    /// Loads the model that is compiled in.
    ///
    /// # Errors
    ///
    /// Fails only if the embedded file is not a usable Llama model in GGUF.
    pub fn load() -> Result<Self> {
        let file = Checkpoint::open()?;
        Ok(Self(Arc::new(Parts {
            name: file.string("general.name")?.to_owned(),
            digest: hex(&Sha256::digest(Checkpoint::bytes())),
            llama: Llama::load(&file)?,
            tokenizer: Tokenizer::load(&file)?,
            template: ChatTemplate::compile(file.string("tokenizer.chat_template")?)?,
        })))
    }

    /// The name it answers to, `tiny-pydoc`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// SHA-256 of the model file, in lower-case hexadecimal.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The number of trained parameters.
    pub fn parameters(&self) -> usize {
        self.0.llama.parameters()
    }

    /// The most tokens that prompt and answer may have together.
    pub fn context_length(&self) -> usize {
        self.0.llama.context_length()
    }

    /// The number of different tokens.
    pub fn vocabulary(&self) -> usize {
        self.0.tokenizer.vocabulary()
    }

    /// The text that the model reads for a conversation, by its own chat template. It ends where the answer starts.
    ///
    /// # Errors
    ///
    /// [`Error::Template`] if the template cannot show the conversation, as when it is empty.
    pub fn chat_prompt(&self, messages: &[Message]) -> Result<String> {
        self.render(&Conversation { messages: messages.to_vec(), ..Conversation::default() })
    }

    pub(crate) fn render(&self, conversation: &Conversation) -> Result<String> {
        self.0.template.render(conversation)
    }

    /// The tokens of a text. The names of control tokens, such as `<|im_end|>`, are read as those tokens.
    ///
    /// # Errors
    ///
    /// [`Error::Tokenizer`] if the text cannot be split.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.0.tokenizer.encode(text)
    }

    /// The text of tokens. Control tokens have none; bytes that are no UTF-8 read as U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.token_bytes(*id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes a token adds to a text: possibly part of a character, none for control tokens and unknown ids.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.0.tokenizer.piece(id)
    }

    /// A token as a text to show: its bytes read as UTF-8, or the name of a control token.
    pub fn token_label(&self, id: u32) -> String {
        self.0.tokenizer.label(id)
    }

    pub(crate) fn llama(&self) -> &Llama {
        &self.0.llama
    }

    pub(crate) fn ends_answer(&self, id: u32) -> bool {
        self.0.tokenizer.ends_answer(id)
    }

    /// Checks that a prompt can be read and answered by at least one token.
    pub(crate) fn check_prompt(&self, prompt: &[u32]) -> Result<()> {
        let (context, vocabulary) = (self.context_length(), self.vocabulary());
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if prompt.len() >= context {
            return Err(Error::ContextExceeded { prompt: prompt.len(), context });
        }
        match prompt.iter().find(|id| **id as usize >= vocabulary) {
            Some(id) => Err(Error::UnknownToken { id: *id, vocabulary }),
            None => Ok(()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
