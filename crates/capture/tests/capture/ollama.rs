//! Ollama: what is particular to it.

use onrecord_capture::{Dialect, End, Limits};
use onrecord_proof::{Value, field};
use serde_json::json;

use crate::support::{LINES, answer, asked, feed, json_of, message, record, request_in, streamed, whole};

#[test]
fn options_are_sampling_parameters() {
    let sent = message("ollama/chat_stream", "req");
    let (facts, record) = request_in(sent.dialect, sent.head(), &sent.body, record());
    assert_eq!((facts.model.as_deref(), facts.stream), (Some("qwen3:0.6b"), true));
    let floats = [
        (&field::TEMPERATURE, 0.0),
        (&field::TOP_K, 20.0),
        (&field::TOP_P, 0.9),
        (&field::PRESENCE_PENALTY, 1.5),
        (&field::FREQUENCY_PENALTY, 1.0),
    ];
    for (field, expect) in floats {
        assert_eq!(record.get(field), Some(&Value::Float(expect)), "{}", field.name);
    }
    assert_eq!((record.int(&field::SEED), record.int(&field::MAX_TOKENS)), (Some(42), Some(32)));
    assert_eq!(record.get(&field::STOP_SEQUENCES), Some(&Value::Array(vec!["\n".into(), "user:".into()])));
    assert_eq!(record.text(&field::INPUT_TEXT), Some("Why is the sky blue?"));
}

#[test]
fn an_answer_is_a_stream_unless_it_is_asked_not_to_be() {
    for dialect in [Dialect::OllamaChat, Dialect::OllamaGenerate] {
        for (body, expect) in [("{}", true), (r#"{"stream":true}"#, true), (r#"{"stream":false}"#, false)] {
            let (facts, record) = asked(dialect, body);
            assert_eq!((facts.stream, record.get(&field::STREAM)), (expect, Some(&Value::Bool(expect))), "{body}");
        }
    }
    assert_eq!(asked(Dialect::OllamaEmbed, "{}").1.get(&field::STREAM), None);
}

#[test]
fn durations_are_the_timings_and_counts_the_usage() {
    let record = answer("ollama/chat_stream").recorded();
    let timings = r#"{"total_duration":412938208,"load_duration":61204917,"prompt_eval_duration":28501125,"eval_duration":40118083}"#;
    assert_eq!(record.get(&field::TIMINGS).unwrap().as_bytes(), Some(timings.as_bytes()));
    assert_eq!((record.int(&field::INPUT_TOKENS), record.int(&field::OUTPUT_TOKENS)), (Some(13), Some(5)));
    let extra = &json_of(&record, &field::OUTPUT_MESSAGES)[0]["extra"];
    assert_eq!(extra, &json!({"created_at":"2025-11-12T09:30:00.512345Z"}));
}

#[test]
fn a_whole_answer_says_the_same_as_a_stream() {
    let (stream, whole) = (answer("ollama/chat_stream").recorded(), answer("ollama/chat").recorded());
    for field in
        [&field::OUTPUT_TEXT, &field::FINISH_REASONS, &field::TIMINGS, &field::RESPONSE_MODEL, &field::OUTPUT_TOKENS]
    {
        assert_eq!(stream.get(field), whole.get(field), "{}", field.name);
        assert!(stream.get(field).is_some(), "{}", field.name);
    }
}

#[test]
fn tool_calls_come_whole_and_stay_apart() {
    let messages = json_of(&answer("ollama/chat_stream_tools").recorded(), &field::OUTPUT_MESSAGES);
    let call = |index, city| json!({"type":"tool_call","name":"get_weather","arguments":format!(r#"{{"city":"{city}"}}"#),"extra":{"index":index}});
    assert_eq!(messages[0]["parts"], json!([call(0, "Paris"), call(1, "Tokyo")]));
    let body = r#"{"message":{"role":"assistant","content":"","tool_calls":[
        {"id":"a","function":{"name":"f","arguments":{}}},{"id":"b","function":{"name":"f","arguments":{}}},
        {"id":"b","function":{"name":"g","arguments":[1]}}]},"done":true}"#
        .replace('\n', "");
    let fed = streamed(Dialect::OllamaChat, LINES, &body);
    assert_eq!(
        json_of(&fed.record, &field::OUTPUT_MESSAGES)[0]["parts"],
        json!([
            {"type":"tool_call","id":"a","name":"f","arguments":"{}"},
            {"type":"tool_call","id":"b","name":"f","arguments":"{}"},
            {"type":"tool_call","id":"b","name":"g","arguments":"[1]"},
        ])
    );
    assert_eq!(fed.held, body.as_bytes(), "the last line is held though nothing ends it");
}

#[test]
fn thoughts_and_token_decisions() {
    let record = answer("ollama/chat_stream_thinking").recorded();
    assert_eq!(
        (record.text(&field::OUTPUT_REASONING), record.text(&field::OUTPUT_TEXT)),
        (Some("The user greets."), Some("Hellö!"))
    );
    let tokens: Vec<_> =
        json_of(&record, &field::LOGPROBS).as_array().unwrap().iter().map(|one| one["token"].clone()).collect();
    assert_eq!(json!(tokens), json!(["The", " user", " greets", ".", "Hellö", "!"]));
    let thought = r#"{"response":"a","thinking":"b","done":true,"done_reason":"stop"}"#;
    let record = whole(Dialect::OllamaGenerate, thought);
    assert_eq!((record.text(&field::OUTPUT_REASONING), record.text(&field::OUTPUT_TEXT)), (Some("b"), Some("a")));
}

#[test]
fn an_error_in_a_stream_and_a_stream_that_breaks_off() {
    let error = answer("ollama/error_mid_stream");
    let fed = feed(error.dialect, 200, LINES, Limits::default(), &[&error.body], error.end);
    let words = "an error was encountered while running the model: unexpected EOF";
    assert_eq!(
        (fed.record.text(&field::ERROR_MESSAGE), fed.record.text(&field::ERROR_STAGE)),
        (Some(words), Some("stream"))
    );
    assert_eq!((fed.record.text(&field::OUTPUT_TEXT), fed.held.len()), (Some("Hel"), 0));
    let cut = answer("ollama/cut_off");
    assert_eq!(cut.end, End::CutOff);
    let record = cut.recorded();
    assert_eq!((record.text(&field::OUTPUT_TEXT), record.text(&field::CAPTURE)), (Some("Hello"), Some("parsed")));
    let ended = feed(cut.dialect, 200, LINES, Limits::default(), &[&cut.body], End::Complete).record;
    let problem = ended.text(&field::CAPTURE_PROBLEM).unwrap();
    assert!(problem.starts_with("1 of the events cannot be parsed; the first, event 3: EOF"), "{problem}");
    assert_eq!(ended.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(&cut.body[..]));
}

#[test]
fn embeddings_old_and_new() {
    for (case, count, dimensions, tokens, text) in [
        ("ollama/embed", 2, 3, Some(14), "Why is the sky blue?\nWhy is the grass green?"),
        ("ollama/embeddings", 1, 4, None, "Here is an article about llamas..."),
    ] {
        let record = answer(case).recorded();
        assert_eq!(
            (record.int(&field::EMBEDDING_COUNT), record.int(&field::EMBEDDING_DIMENSIONS)),
            (Some(count), Some(dimensions))
        );
        assert_eq!(record.int(&field::INPUT_TOKENS), tokens);
        let sent = String::from_utf8(message(case, "req").body).unwrap();
        assert_eq!(asked(Dialect::OllamaEmbed, &sent).1.text(&field::INPUT_TEXT), Some(text));
    }
}

#[test]
fn lines_are_a_stream_in_any_dialect() {
    assert!(LINES.announces_stream());
    let body = "{\"status\":\"pulling\"}\n{\"status\":\"success\"}\n";
    let fed = streamed(Dialect::Unknown, LINES, body);
    assert_eq!((fed.released, fed.held.len()), (body.into(), 0));
    assert_eq!(fed.record.text(&field::CAPTURE), Some("passthrough"));
    assert_eq!(fed.record.get(&field::OUTPUT_BODY).unwrap().as_bytes(), Some(body.as_bytes()));
}
