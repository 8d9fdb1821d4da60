//! What a model really read: a request's messages put into the chat template, and the tokens of that, as the model server
//! itself makes them when it is asked again.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Ask, Server, Told, json_of, text_at};
use crate::Dialect;
use crate::json;

/// Members of a chat request that its template depends on; vLLM's `/tokenize` takes no others.
const TEMPLATE_MEMBERS: [&str; 8] = [
    "model",
    "messages",
    "tools",
    "chat_template",
    "chat_template_kwargs",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
];

/// The prompt of one request, on its way: ask what [`next`](Self::next) gives until it gives nothing more.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    server: Server,
    request: Map<String, Value>,
    is_chat: bool,
    /// The text that the model read.
    pub text: Option<String>,
    /// The numbers of its tokens.
    pub tokens: Option<Vec<i64>>,
}

impl Prompt {
    /// True if this server has a way to tell the prompts of such requests.
    pub fn is_told(server: Server, dialect: Dialect) -> bool {
        is_chat(server, dialect).is_some()
    }

    /// The prompt of a request; `None` if this server has no way to tell it.
    pub fn of(server: Server, dialect: Dialect, body: &[u8]) -> Option<Self> {
        let is_chat = is_chat(server, dialect)?;
        let Ok(Value::Object(request)) = serde_json::from_slice(body) else { return None };
        // A completion may have several prompts, or one of tokens.
        let text = if is_chat { None } else { Some(request.get("prompt")?.as_str()?.to_owned()) };
        Some(Self { server, request, is_chat, text, tokens: None })
    }

    /// The next question.
    pub fn next(&self) -> Option<Ask> {
        let ask = |path: &str, body: Value| Some(Ask { path: path.into(), body: Some(body.to_string()) });
        match (self.server, &self.text, &self.tokens) {
            (Server::LlamaCpp, None, None) => ask("/apply-template", Value::Object(self.request.clone())),
            // As the server itself reads a prompt: the tokens that begin it, and those that are written out.
            (Server::LlamaCpp, Some(text), None) => {
                ask("/tokenize", json!({ "content": text, "add_special": true, "parse_special": true }))
            }
            (Server::Vllm, _, None) => ask("/tokenize", self.to_tokenize()),
            (Server::Vllm, None, Some(tokens)) => {
                ask("/detokenize", json!({ "model": self.request.get("model"), "tokens": tokens }))
            }
            _ => None,
        }
    }

    fn to_tokenize(&self) -> Value {
        let names: &[&str] = if self.is_chat { &TEMPLATE_MEMBERS } else { &["model", "prompt", "add_special_tokens"] };
        let members = names.iter().filter_map(|name| Some(((*name).to_owned(), self.request.get(*name)?.clone())));
        Value::Object(members.collect())
    }

    /// Takes the answer to the question. False if it does not answer it.
    pub fn take(&mut self, told: &Told) -> bool {
        let Some(answer) = json_of(told) else { return false };
        match told.ask.path.as_str() {
            "/apply-template" | "/detokenize" => {
                self.text = text_at(answer, &["prompt"]);
                self.text.is_some()
            }
            _ => {
                self.tokens = json::member_of(answer, "tokens").and_then(numbers);
                self.tokens.is_some()
            }
        }
    }
}

/// Whether a template is filled in, where the server can tell with what result.
fn is_chat(server: Server, dialect: Dialect) -> Option<bool> {
    match (server, dialect) {
        (Server::LlamaCpp | Server::Vllm, Dialect::OpenAiChat) => Some(true),
        (Server::LlamaCpp | Server::Vllm, Dialect::OpenAiCompletions)
        | (Server::LlamaCpp, Dialect::LlamaCompletion) => Some(false),
        _ => None,
    }
}

fn numbers(list: &RawValue) -> Option<Vec<i64>> {
    serde_json::from_str(list.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{told, transcript};
    use super::*;

    fn body(case: &str) -> Vec<u8> {
        let file = format!("{}/testdata/serving/{case}.req", env!("CARGO_MANIFEST_DIR"));
        let request = std::fs::read_to_string(file).unwrap();
        request.split_once("\n\n").or_else(|| request.split_once("\r\n\r\n")).unwrap().1.into()
    }

    #[test]
    fn of_llama_server() {
        let body = body("llama-server/apply_template");
        let mut prompt = Prompt::of(Server::LlamaCpp, Dialect::OpenAiChat, &body).unwrap();
        let ask = prompt.next().unwrap();
        assert_eq!(ask.path, "/apply-template");
        assert_eq!(
            ask.body.map(|body| serde_json::from_str::<Value>(&body).unwrap()),
            serde_json::from_slice(&body).ok()
        );
        assert!(prompt.take(&transcript("serving/llama-server/apply_template")));
        let text = prompt.text.clone().unwrap();
        assert!(text.starts_with("<|im_start|>system\nAnswer briefly.") && text.ends_with("assistant\n"), "{text}");
        let ask = prompt.next().unwrap();
        assert!(ask.path == "/tokenize" && ask.body.as_ref().unwrap().contains("\"parse_special\":true"), "{ask:?}");
        assert!(prompt.take(&told(ask, r#"{"tokens":[1,356]}"#)));
        assert_eq!((prompt.tokens.as_deref(), prompt.next()), (Some(&[1, 356][..]), None));
    }

    #[test]
    fn of_vllm() {
        let request = r#"{"model":"m","messages":[{"role":"user","content":"Hello!"}],"stream":true,"tools":[]}"#;
        let mut prompt = Prompt::of(Server::Vllm, Dialect::OpenAiChat, request.as_bytes()).unwrap();
        let ask = prompt.next().unwrap();
        let asked: Value = serde_json::from_str(ask.body.as_ref().unwrap()).unwrap();
        assert!(ask.path == "/tokenize" && asked.get("stream").is_none() && asked["tools"] == json!([]), "{asked}");
        assert!(prompt.take(&transcript("serving/vllm/tokenize_chat")));
        assert_eq!(prompt.tokens.as_ref().unwrap()[..3], [1, 356, 201]);
        let ask = prompt.next().unwrap();
        assert!(ask.path == "/detokenize" && ask.body.as_ref().unwrap().contains("[1,356,201,"), "{ask:?}");
        assert!(prompt.take(&transcript("serving/vllm/detokenize")));
        assert_eq!((prompt.text.as_deref(), prompt.next()), (Some(" this.__"), None));
    }

    #[test]
    fn of_a_completion_only_the_tokens_are_asked_for() {
        let prompt = Prompt::of(Server::LlamaCpp, Dialect::LlamaCompletion, br#"{"prompt":"a"}"#).unwrap();
        assert_eq!((prompt.text.as_deref(), prompt.next().unwrap().path.as_str()), (Some("a"), "/tokenize"));
        let vllm =
            Prompt::of(Server::Vllm, Dialect::OpenAiCompletions, br#"{"model":"m","prompt":"a","n":2}"#).unwrap();
        assert_eq!(vllm.next().unwrap().body.unwrap(), r#"{"model":"m","prompt":"a"}"#);
        for (server, dialect, body) in [
            (Server::Ollama, Dialect::OpenAiChat, "{}"),
            (Server::LlamaCpp, Dialect::OpenAiResponses, "{}"),
            (Server::LlamaCpp, Dialect::OpenAiCompletions, r#"{"prompt":["a","b"]}"#),
            (Server::LlamaCpp, Dialect::OpenAiChat, "["),
        ] {
            assert_eq!(Prompt::of(server, dialect, body.as_bytes()), None, "{server:?} {body}");
        }
    }

    #[test]
    fn what_is_no_answer() {
        let mut prompt = Prompt::of(Server::LlamaCpp, Dialect::OpenAiChat, b"{}").unwrap();
        for nothing in ["", "{}", r#"{"prompt":3}"#] {
            assert!(!prompt.take(&told(Ask::get("/apply-template"), nothing)), "{nothing}");
        }
        assert!(!prompt.take(&told(Ask::get("/tokenize"), r#"{"tokens":[{"id":1}]}"#)));
    }
}
