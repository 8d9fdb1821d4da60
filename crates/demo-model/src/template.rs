//! The chat template of the model file: from a conversation to the text the model reads.

use minijinja::{Environment, Value, context};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::Result;

const NAME: &str = "chat";

/// One message of a conversation.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The text.
    pub content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_calls: Option<Value>,
}

impl Message {
    /// A message of text only.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), reasoning_content: None, tool_calls: None }
    }
}

/// What the template is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversation {
    pub(crate) messages: Vec<Message>,
    /// Tool definitions, as sent.
    pub(crate) tools: Vec<Value>,
    /// `Some(false)` asks the model to answer without reasoning.
    pub(crate) enable_thinking: Option<bool>,
}

pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
}

impl ChatTemplate {
    pub(crate) fn compile(source: &str) -> Result<Self> {
        let mut environment = Environment::new();
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, source.to_owned())?;
        Ok(Self { environment })
    }

    /// The prompt, ending where the assistant's answer starts.
    pub(crate) fn render(&self, conversation: &Conversation) -> Result<String> {
        let Conversation { messages, tools, enable_thinking } = conversation;
        // The template asks whether the variable is defined, so null will not do.
        let enable_thinking = enable_thinking.map_or(Value::UNDEFINED, Value::from);
        let values = context! { messages, tools, enable_thinking, add_generation_prompt => true };
        Ok(self.environment.get_template(NAME)?.render(values)?)
    }
}

/// JSON as Python's `json.dumps` writes it, which is what the model was trained on. minijinja's own filter writes it
/// compactly and escapes it for HTML.
fn to_json(value: &Value) -> Result<Value, minijinja::Error> {
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Spaced);
    value.serialize(&mut serializer).map_err(bad_json)?;
    String::from_utf8(bytes).map(Value::from_safe_string).map_err(bad_json)
}

fn bad_json(error: impl std::error::Error + Send + Sync + 'static) -> minijinja::Error {
    minijinja::Error::new(minijinja::ErrorKind::BadSerialization, "not expressible as JSON").with_source(error)
}

/// `{"a": 1, "b": [2, 3]}`
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        separate(writer, first)
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        separate(writer, first)
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(&mut self, writer: &mut W) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

fn separate<W: std::io::Write + ?Sized>(writer: &mut W, first: bool) -> std::io::Result<()> {
    if first { Ok(()) } else { writer.write_all(b", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;

    fn render(conversation: &Conversation) -> String {
        let file = Checkpoint::open().unwrap();
        let template = ChatTemplate::compile(file.string("tokenizer.chat_template").unwrap()).unwrap();
        template.render(conversation).unwrap()
    }

    fn weather() -> Value {
        let sent = r#"{"type":"function","function":{"name":"get_weather","description":"<b> & ü","a":[1,2.5,null]}}"#;
        serde_json::from_str(sent).unwrap()
    }

    #[test]
    fn a_question_becomes_a_prompt() {
        let messages = vec![Message::new("user", "Hello!")];
        let prompt = render(&Conversation { messages, ..Conversation::default() });
        assert_eq!(prompt, "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n");
    }

    #[test]
    fn tools_keep_their_key_order_and_spelling() {
        let messages = vec![Message::new("system", "Answer briefly."), Message::new("user", "Hi")];
        let prompt = render(&Conversation { messages, tools: vec![weather()], enable_thinking: None });
        let tool = r#"{"type": "function", "function": {"name": "get_weather", "description": "<b> & ü", "a": [1, 2.5, null]}}"#;
        assert!(prompt.contains(&format!("Answer briefly.\n\n# Tools\n<tools>\n{tool}\n</tools>")), "{prompt}");
    }

    #[test]
    fn earlier_calls_and_their_results_are_shown() {
        let call = r#"[{"id":"c","type":"function","function":{"name":"add","arguments":"{\"a\":1}"}}]"#;
        let mut assistant = Message::new("assistant", "");
        assistant.tool_calls = Some(serde_json::from_str(call).unwrap());
        let messages = vec![Message::new("user", "1+1?"), assistant, Message::new("tool", "2")];
        let prompt = render(&Conversation { messages, ..Conversation::default() });
        assert!(prompt.contains("<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\":1}}\n</tool_call><|im_end|>"));
        assert!(prompt.contains("<tool_response>\n2\n</tool_response>"), "{prompt}");
    }

    #[test]
    fn thinking_can_be_switched_off() {
        let messages = vec![Message::new("user", "Hi")];
        let prompt = render(&Conversation { messages, tools: Vec::new(), enable_thinking: Some(false) });
        assert!(prompt.ends_with("assistant\n<think>\n\n</think>\n\n"));
    }
}
