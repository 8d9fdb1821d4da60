//! The records of real calls, written out.

use std::fmt::Write as _;

use onrecord_capture::Dialect;

use crate::support::{answer, cases, message, record, request_in, streams, testdata, written};

#[test]
fn every_transcript_is_recorded_as_before() {
    for case in
        ["application/json", "text/event-stream", "application/x-ndjson", "text/plain"].into_iter().flat_map(cases)
    {
        let mut text = String::new();
        if testdata().join(format!("{case}.req")).exists() {
            let sent = message(&case, "req");
            let (_, record) = request_in(sent.dialect, sent.head(), &sent.body, record());
            writeln!(text, "{}\n{}", sent.start_line, written(&record)).unwrap();
        }
        let got = answer(&case);
        write!(text, "{} {:?}\n{}", got.start_line, got.end, written(&got.recorded())).unwrap();
        insta::assert_snapshot!(case.replace('/', "__"), text);
    }
}

#[test]
fn the_dialect_is_found_in_the_request() {
    for case in streams().iter().chain(&cases("application/json")) {
        let name = case.split('/').next_back().unwrap();
        let name = name.strip_prefix("v0_").unwrap_or(name);
        let expect = match name.split('_').next().unwrap() {
            "chat" if case.starts_with("ollama") => Dialect::OllamaChat,
            "generate" if case.starts_with("ollama") => Dialect::OllamaGenerate,
            "embed" | "embeddings" if case.starts_with("ollama") => Dialect::OllamaEmbed,
            "chat" => Dialect::OpenAiChat,
            "completions" => Dialect::OpenAiCompletions,
            "responses" => Dialect::OpenAiResponses,
            "embeddings" | "embedding" => Dialect::OpenAiEmbeddings,
            "generate" if case.starts_with("sglang") => Dialect::SglangGenerate,
            "generate" if name.starts_with("generate_stream") => Dialect::TgiGenerateStream,
            "generate" => Dialect::TgiGenerate,
            "v1" => Dialect::LmStudioChat,
            "native" => Dialect::LlamaCompletion,
            "infill" => Dialect::LlamaInfill,
            "apply" => Dialect::LlamaTemplate,
            "rerank" => Dialect::Rerank,
            "tokenize" => Dialect::Tokenize,
            "detokenize" => Dialect::Detokenize,
            "messages" => Dialect::AnthropicMessages,
            _ => continue,
        };
        assert_eq!(answer(case).dialect, expect, "{case}");
    }
}
