//! The configuration of one model on one server.

use onrecord_proof::{Field, Map, Record, Value, field};
use sha2::{Digest as _, Sha256};

use super::gguf::Header;
use super::{Server, Told};

/// What a model is served with. What a server does not tell is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// The server.
    pub server: Server,
    /// The name under which the model answers.
    pub model: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// True if the server answers with this model whatever name is asked for.
    pub is_only: bool,
    /// The server's own digest or revision of the model.
    pub revision: Option<String>,
    /// Where the model's file is, as the server names it.
    pub path: Option<String>,
    /// Bytes of that file.
    pub size: Option<i64>,
    /// SHA-256 of that file.
    pub sha256: Option<[u8; 32]>,
    /// E.g. `llama`.
    pub architecture: Option<String>,
    /// Number of parameters.
    pub parameters: Option<i64>,
    /// E.g. `Q4_K_M`.
    pub quantization: Option<String>,
    /// Tokens of context that a call can use.
    pub context_length: Option<i64>,
    /// The text of the chat template.
    pub chat_template: Option<String>,
    /// The sampling parameters of a call that asks for none: JSON.
    pub sampling: Option<String>,
    /// Adapters (LoRA), with their scale where it is known.
    pub adapters: Vec<String>,
    /// The server's build or version.
    pub build: Option<String>,
    /// How the server was started.
    pub command: Vec<String>,
    /// The answers that all of this comes from, as they came.
    pub told: Vec<Told>,
}

/// The fields that make up a configuration, in the order in which a change of them is told.
pub const FACTS: [&Field; 16] = [
    &field::PROVIDER,
    &field::SERVER_BUILD,
    &field::MODEL,
    &field::MODEL_REVISION,
    &field::MODEL_PATH,
    &field::MODEL_SIZE,
    &field::MODEL_SHA256,
    &field::ARCHITECTURE,
    &field::PARAMETERS,
    &field::QUANTIZATION,
    &field::CONTEXT_LENGTH,
    &field::TEMPLATE_SHA256,
    &field::TEMPLATE_TEXT,
    &field::DEFAULT_SAMPLING,
    &field::ADAPTERS,
    &field::SERVER_COMMAND,
];

impl Setup {
    /// A setup of which only the names are known.
    pub fn new(server: Server, model: impl Into<String>) -> Self {
        Self {
            server,
            model: model.into(),
            aliases: Vec::new(),
            is_only: false,
            revision: None,
            path: None,
            size: None,
            sha256: None,
            architecture: None,
            parameters: None,
            quantization: None,
            context_length: None,
            chat_template: None,
            sampling: None,
            adapters: Vec::new(),
            build: None,
            command: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Adds what the file says and the server did not.
    pub fn complete_from(&mut self, header: Header) {
        self.architecture = self.architecture.take().or(header.architecture);
        self.parameters = self.parameters.or(header.parameters);
        self.quantization = self.quantization.take().or(header.quantization);
        self.context_length = self.context_length.or(header.context_length);
        self.chat_template = self.chat_template.take().or(header.chat_template);
    }

    /// What tells one configuration from another: SHA-256 of the canonical encoding of its [`FACTS`] but the digest of the
    /// model's file, which may come later than the rest. The answers themselves are no part of it, since servers put
    /// the time of day and random marks into them.
    pub fn digest(&self) -> [u8; 32] {
        let mut facts = self.facts();
        facts.remove(field::MODEL_SHA256.name);
        Sha256::digest(facts.to_bytes()).into()
    }

    /// Puts the configuration into a record, with its digest and the answers that it comes from.
    pub fn record(&self, record: &mut Record) {
        let facts = self.facts();
        for field in FACTS {
            if let Some(value) = facts.get(field.name) {
                record.set(field, value.clone());
            }
        }
        record.set(&field::CONFIG_SHA256, self.digest());
        let answers: Map = self.told.iter().map(|told| (told.ask.name(), Value::Bytes(told.body.clone()))).collect();
        if !answers.is_empty() {
            record.set(&ANSWERS, Value::Map(answers));
        }
    }

    fn facts(&self) -> Map {
        let mut facts = Map::new();
        let mut set = |field: &Field, value: Option<Value>| {
            if let Some(value) = value {
                facts.set(field.name, value);
            }
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let texts = |texts: &[String]| {
            let list = || Value::Array(texts.iter().map(|text| Value::from(text.as_str())).collect());
            (!texts.is_empty()).then(list)
        };
        set(&field::PROVIDER, Some(self.server.name().into()));
        set(&field::SERVER_BUILD, text(&self.build));
        set(&field::MODEL, Some(self.model.as_str().into()));
        set(&field::MODEL_REVISION, text(&self.revision));
        set(&field::MODEL_PATH, text(&self.path));
        set(&field::MODEL_SIZE, self.size.map(Value::from));
        set(&field::MODEL_SHA256, self.sha256.map(|digest| Value::Bytes(digest.to_vec())));
        set(&field::ARCHITECTURE, text(&self.architecture));
        set(&field::PARAMETERS, self.parameters.map(Value::from));
        set(&field::QUANTIZATION, text(&self.quantization));
        set(&field::CONTEXT_LENGTH, self.context_length.map(Value::from));
        let template = self.chat_template.as_deref();
        set(&field::TEMPLATE_SHA256, template.map(|text| Value::Bytes(Sha256::digest(text).to_vec())));
        set(&field::TEMPLATE_TEXT, text(&self.chat_template));
        set(&field::DEFAULT_SAMPLING, self.sampling.as_ref().map(|json| Value::Bytes(json.as_bytes().to_vec())));
        set(&field::ADAPTERS, texts(&self.adapters));
        set(&field::SERVER_COMMAND, texts(&self.command));
        facts
    }
}

/// The answers that a configuration comes from, by what was asked. Without a column: nobody filters by it.
const ANSWERS: Field = Field {
    group: onrecord_proof::Group::Config,
    name: "onrecord.config.answers",
    shape: onrecord_proof::Shape::Body,
    doc: "",
};
