//! Why an answer ended, in the same words for all servers.

use onrecord_proof::{Record, Value, field};

use super::{Kind, Message};
use crate::End;

/// What servers say, and what it means. `stop` of OpenAI's dialects can mean two things.
const WORDS: [(&[&str], &str); 6] = [
    (&["end_turn", "eos", "eos_token", "eosFound", "completed"], "eos"),
    (&["stop_sequence", "word", "stopStringFound", "pause_turn"], "stop"),
    (
        &[
            "length",
            "max_tokens",
            "limit",
            "max_output_tokens",
            "model_context_window_exceeded",
            "maxPredictedTokensReached",
            "contextLengthReached",
        ],
        "limit",
    ),
    (&["tool_calls", "function_call", "tool_use", "toolCalls"], "tool_call"),
    (&["content_filter", "refusal"], "filter"),
    (&["abort", "cancelled", "userStopped"], "cancelled"),
];

/// Why a message ended; empty if that is not known. `may_stop` says that there were stop strings.
pub(super) fn reason(message: &Message, may_stop: bool) -> &'static str {
    let Some(told) = message.finish_reason.as_deref() else { return "" };
    if message.stopped_by.as_deref().is_some_and(|word| !word.is_empty() && word.parse::<i64>().is_err()) {
        return "stop";
    }
    let word = WORDS.iter().find(|(words, _)| words.contains(&told)).map_or("", |(_, word)| word);
    let has_call = message.parts.iter().any(|part| part.kind == Kind::ToolCall);
    match (told, word) {
        ("stop", _) | (_, "eos") if has_call => "tool_call",
        ("stop", _) if may_stop => "eos_or_stop",
        ("stop", _) => "eos",
        ("error" | "failed", _) => "error",
        _ => word,
    }
}

/// Says why those answers ended of which the server did not tell, because the call did.
pub(crate) fn record_end(end: End, record: &mut Record) {
    let failed = record.get(&field::ERROR_TYPE).is_some();
    let word = match end {
        End::Cancelled => "cancelled",
        End::CutOff => "error",
        End::Complete if failed => "error",
        End::Complete => return,
    };
    let told = record.get(&field::STOP_REASONS).and_then(Value::as_array).unwrap_or_default();
    let fill = |told: &Value| Value::from(told.as_text().filter(|told| !told.is_empty()).unwrap_or(word));
    let words = if told.is_empty() { vec![Value::from(word)] } else { told.iter().map(fill).collect() };
    record.set(&field::STOP_REASONS, words);
}
