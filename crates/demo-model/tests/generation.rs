//! The model as a library, compared with llama.cpp running the same file and with itself.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::sync::LazyLock;

use onrecord_demo_model::{Completion, Error, Finish, Message, Model, Sampling, Token};
use serde::Deserialize;

static MODEL: LazyLock<Model> = LazyLock::new(|| Model::load().unwrap());

fn chat(question: &str) -> Vec<u32> {
    MODEL.encode(&MODEL.chat_prompt(&[Message::new("user", question)]).unwrap()).unwrap()
}

fn greedy() -> Sampling {
    Sampling { temperature: 0.0, ..Sampling::default() }
}

fn run(prompt: &[u32], sampling: &Sampling) -> (Vec<Token>, Completion) {
    let mut tokens = Vec::new();
    let completion = MODEL.generate(prompt, sampling, |token| {
        tokens.push(token);
        ControlFlow::Continue(())
    });
    (tokens, completion.unwrap())
}

fn answer(prompt: &[u32], sampling: &Sampling) -> String {
    let (tokens, completion) = run(prompt, sampling);
    tokens.iter().map(|token| token.text.as_str()).chain([completion.tail.as_str()]).collect()
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "chat: Hello!")]
    chat: Vec<Decision>,
    #[serde(rename = "text: Return a new")]
    text: Vec<Decision>,
}

#[derive(Deserialize)]
struct Decision {
    id: u32,
    logprob: f32,
    top: Vec<(u32, f32)>,
}

#[test]
fn decides_as_llama_cpp_does() {
    let reference: Reference = serde_json::from_str(include_str!("../testdata/llama_cpp.json")).unwrap();
    let check = |prompt: &[u32], expect: &[Decision]| {
        let (tokens, completion) = run(prompt, &Sampling { top_logprobs: 3, ..greedy() });
        assert_eq!((tokens.len(), completion.finish), (expect.len(), Finish::Stop));
        for (token, expect) in tokens.iter().zip(expect) {
            assert_eq!(token.id, expect.id);
            assert!((token.logprob - expect.logprob).abs() < 1e-2, "{token:?}");
            for (top, (id, logprob)) in token.top.iter().zip(&expect.top) {
                assert!(top.id == *id && (top.logprob - logprob).abs() < 1e-2, "{top:?} is not {id} {logprob}");
            }
        }
    };
    check(&chat("Hello!"), &reference.chat);
    check(&MODEL.encode("Return a new").unwrap(), &reference.text);
}

#[test]
fn answers_greedily() {
    let check = |question, expect| assert_eq!(answer(&chat(question), &greedy()), expect);
    check("What is the capital of France?", "The capital of France is Paris.");
    check("Hello!", "Hello! How can I help you today?");
}

#[test]
fn a_seed_fixes_the_answer() {
    let seeded = |seed| {
        let sampling = Sampling { seed, temperature: 1.5, top_p: 0.9, max_tokens: 40, ..Sampling::default() };
        run(&chat("Tell me a story."), &sampling).0
    };
    assert_eq!(seeded(1), seeded(1));
    assert_ne!(seeded(1), seeded(2));
}

#[test]
fn stops_at_a_text_that_spans_tokens() {
    // Tokens are `Hello`, `!`, ` How`, ` can`: the stop begins inside one and ends inside another.
    let sampling = Sampling { stop: vec!["w ca".to_owned()], ..greedy() };
    let (tokens, completion) = run(&chat("Hello!"), &sampling);
    let text: String = tokens.iter().map(|token| token.text.as_str()).collect();
    assert_eq!(text + &completion.tail, "Hello! Ho");
    assert_eq!((completion.finish, completion.tokens), (Finish::Stop, 4));
}

#[test]
fn a_stop_that_never_completes_costs_no_text() {
    let stop = vec!["today? No".to_owned(), "?!".to_owned()];
    assert_eq!(answer(&chat("Hello!"), &Sampling { stop, ..greedy() }), "Hello! How can I help you today?");
}

#[test]
fn the_limit_ends_the_answer() {
    let (tokens, completion) = run(&chat("Hello!"), &Sampling { max_tokens: 4, ..greedy() });
    assert_eq!((tokens.len(), completion.tokens, completion.finish), (4, 4, Finish::Length));
    let (tokens, completion) = run(&chat("Hello!"), &Sampling { max_tokens: 0, ..greedy() });
    assert_eq!((tokens.len(), completion.finish), (0, Finish::Length));
}

#[test]
fn the_context_ends_the_answer() {
    let prompt = vec![5; MODEL.context_length() - 3];
    let (tokens, completion) = run(&prompt, &Sampling { ignore_eos: true, ..greedy() });
    assert_eq!((tokens.len(), completion.finish), (3, Finish::Length));
}

#[test]
fn the_receiver_can_end_the_answer() {
    let mut received = 0;
    let completion = MODEL.generate(&chat("Hello!"), &greedy(), |_| {
        received += 1;
        if received == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(completion.unwrap().finish, Finish::Cancelled);
    assert_eq!(received, 2);
}

#[test]
fn text_is_the_bytes_of_the_tokens() {
    // So hot that half characters come up.
    let sampling = Sampling { temperature: 50.0, max_tokens: 400, seed: 3, ignore_eos: true, ..Sampling::default() };
    let (tokens, completion) = run(&chat("Grüße 你好 🙂🏽"), &sampling);
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.bytes.clone()).collect();
    let text: String = tokens.iter().map(|token| token.text.as_str()).chain([completion.tail.as_str()]).collect();
    assert!(text.contains('\u{fffd}'), "the seed produces no odd bytes");
    assert_eq!(text, String::from_utf8_lossy(&bytes));
    let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
    assert_eq!(MODEL.decode(&ids), text);
}

#[test]
fn bad_prompts_are_refused() {
    let generate = |prompt: &[u32]| MODEL.generate(prompt, &greedy(), |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(generate(&[]), Error::EmptyPrompt));
    assert!(matches!(generate(&[4096]), Error::UnknownToken { id: 4096, vocabulary: 4096 }));
    let long = vec![5; 2048];
    assert!(matches!(generate(&long), Error::ContextExceeded { prompt: 2048, context: 2048 }));
}

#[test]
fn says_what_it_is() {
    assert_eq!(MODEL.name(), "tiny-pydoc");
    assert_eq!(MODEL.digest(), "8aba70a13af1b475ff5873d93e6ec4912d338e5cd917e576e7cad7e51a07d2c6");
    assert_eq!((MODEL.parameters(), MODEL.context_length(), MODEL.vocabulary()), (1_926_560, 2048, 4096));
}
