//! Telling reasoning and tool calls from the answer by the markers that the model writes around them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::answer::TokenLogprob;
use crate::text::partial_match;

/// A piece of an answer on its way to the client.
#[derive(Debug, Default)]
pub(super) struct Delta {
    pub(super) content: String,
    pub(super) reasoning: String,
    pub(super) tool_calls: Vec<ToolCall>,
    pub(super) logprobs: Vec<TokenLogprob>,
}

impl Delta {
    /// Whether there is something to show. Log-probabilities alone wait for the text they belong to.
    pub(super) fn shows(&self) -> bool {
        !(self.content.is_empty() && self.reasoning.is_empty() && self.tool_calls.is_empty())
    }

    /// Adds the next piece to a whole answer.
    pub(super) fn append(&mut self, mut next: Self) {
        self.content.push_str(&next.content);
        self.reasoning.push_str(&next.reasoning);
        let calls = next.tool_calls.into_iter();
        self.tool_calls.extend(calls.map(|call| ToolCall { index: None, ..call }));
        self.logprobs.append(&mut next.logprobs);
    }
}

/// A function that the model wants called.
#[derive(Debug, Serialize)]
pub(super) struct ToolCall {
    /// Which call of the answer this is. Only chunks say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    /// JSON, as the model wrote it.
    arguments: String,
}

#[derive(Clone, Copy)]
enum Place {
    Content,
    Reasoning,
    ToolCall,
}

const THINK: &str = "<think>";
const END_THINK: &str = "</think>";
const CALL: &str = "<tool_call>";
const END_CALL: &str = "</tool_call>";

/// Sorts the text of an answer into the fields of deltas.
pub(super) struct Splitter {
    place: Place,
    /// Text not sorted yet: the start of a marker, or an unfinished tool call.
    held: String,
    /// Whether tools were offered. Without any, a call is just text.
    tools: bool,
    calls: usize,
    /// Just behind a marker, where line breaks only set it off.
    trim: bool,
}

impl Splitter {
    pub(super) fn new(tools: bool) -> Self {
        Self { place: Place::Content, held: String::new(), tools, calls: 0, trim: false }
    }

    /// The number of tool calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    pub(super) fn push(&mut self, text: &str, delta: &mut Delta) {
        self.held.push_str(text);
        while let Some((at, marker)) = self.next_marker() {
            let rest = self.held.split_off(at + marker.len());
            self.held.truncate(at);
            let before = std::mem::replace(&mut self.held, rest);
            self.emit(&before, delta);
            self.pass(marker);
        }
        if !matches!(self.place, Place::ToolCall) {
            let safe = self.held.len() - partial_match(&self.held, self.markers().iter().copied());
            let rest = self.held.split_off(safe);
            let safe = std::mem::replace(&mut self.held, rest);
            self.emit(&safe, delta);
        }
    }

    /// Sorts what was held back. A tool call that was not finished is text.
    pub(super) fn finish(&mut self, delta: &mut Delta) {
        let rest = std::mem::take(&mut self.held);
        match self.place {
            Place::ToolCall => delta.content.extend([CALL, &rest]),
            Place::Content | Place::Reasoning => self.emit(&rest, delta),
        }
    }

    fn markers(&self) -> &'static [&'static str] {
        match self.place {
            Place::Content if self.tools => &[THINK, CALL],
            Place::Content => &[THINK],
            Place::Reasoning => &[END_THINK],
            Place::ToolCall => &[END_CALL],
        }
    }

    fn next_marker(&self) -> Option<(usize, &'static str)> {
        self.markers().iter().filter_map(|marker| Some((self.held.find(marker)?, *marker))).min()
    }

    fn pass(&mut self, marker: &str) {
        self.trim = true;
        self.place = match marker {
            THINK => Place::Reasoning,
            CALL => Place::ToolCall,
            _ => Place::Content,
        };
    }

    fn emit(&mut self, text: &str, delta: &mut Delta) {
        if matches!(self.place, Place::ToolCall) {
            return self.emit_call(text, delta);
        }
        let text = if self.trim { text.trim_start_matches('\n') } else { text };
        self.trim &= text.is_empty();
        match self.place {
            Place::Reasoning => delta.reasoning.push_str(text),
            _ => delta.content.push_str(text),
        }
    }

    fn emit_call(&mut self, text: &str, delta: &mut Delta) {
        match parse_call(text) {
            Some(function) => {
                let id = format!("call_{}", Uuid::now_v7().simple());
                delta.tool_calls.push(ToolCall { index: Some(self.calls), id, kind: "function", function });
                self.calls += 1;
            }
            None => delta.content.extend([CALL, text, END_CALL]),
        }
    }
}

fn parse_call(text: &str) -> Option<Function> {
    #[derive(Deserialize)]
    struct Call<'a> {
        name: String,
        #[serde(borrow)]
        arguments: &'a RawValue,
    }
    let call: Call<'_> = serde_json::from_str(text).ok()?;
    Some(Function { name: call.name, arguments: call.arguments.get().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits `text` given in pieces of one to three characters, which must not matter.
    fn split(text: &str, tools: bool) -> Delta {
        let characters: Vec<char> = text.chars().collect();
        let mut results = (1..=3).map(|size| {
            let (mut splitter, mut delta) = (Splitter::new(tools), Delta::default());
            for piece in characters.chunks(size) {
                splitter.push(&piece.iter().collect::<String>(), &mut delta);
            }
            splitter.finish(&mut delta);
            delta
        });
        let first = results.next().unwrap();
        assert!(results.all(|other| (&other.content, &other.reasoning) == (&first.content, &first.reasoning)));
        first
    }

    #[test]
    fn reasoning_is_set_apart() {
        let delta = split("<think>\nHm, 1 < 2.\n</think>\n\nYes\n\n<b>", false);
        assert_eq!((delta.reasoning.as_str(), delta.content.as_str()), ("Hm, 1 < 2.\n", "Yes\n\n<b>"));
    }

    #[test]
    fn a_tool_call_is_parsed() {
        let call = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1,  \"b\": 2}}\n</tool_call>";
        let delta = split(call, true);
        let [call] = &delta.tool_calls[..] else { panic!("{delta:?}") };
        assert_eq!(call.function.name, "add");
        assert_eq!(call.function.arguments, r#"{"a": 1,  "b": 2}"#);
        assert_eq!(delta.content, "");
    }

    #[test]
    fn what_is_not_a_call_stays_text() {
        let check = |text: &str, tools| assert_eq!(split(text, tools).content, text);
        check("<tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>", false);
        check("a <tool_call>not JSON</tool_call> b", true);
        check("<tool_call>{\"name\": ", true);
    }
}
