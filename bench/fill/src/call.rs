//! Calls of a model as they may come, each made from its number alone.
//!
//! A thousand sessions go on at a time. In every third the client sends the history of the conversation again with each
//! turn, as chats do; in the others each call stands for itself, as those of summarizers and code suggesters do.

use onrecord_capture::{BodyHead, Dialect, End, Limits, Request, Response};
use onrecord_proof::{Kind, Map, Record, field};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::words::Vocabulary;

/// Sessions that go on at the same time.
const AT_ONCE: u64 = 1000;
/// Models that are asked.
const MODELS: usize = 50;
/// Of these ranks are the words of the phrase that few calls have: each alone is in some of a hundred calls.
const PHRASE: [usize; 3] = [500, 900, 1500];
/// About so many messages have the phrase.
const PLANTED: u64 = 40;
/// The word of this rank is in most calls.
const COMMON: usize = 20;

/// What is to be made.
pub(crate) struct Plan {
    pub(crate) records: u64,
    /// Turns of a session.
    pub(crate) turns: u64,
    /// Every session is a conversation, with a system prompt of 4 KB that all share.
    pub(crate) conversations: bool,
    /// First and last time, in microseconds since 1970-01-01 UTC.
    pub(crate) times: (i64, i64),
    words: Vocabulary,
    systems: Vec<String>,
}

/// How a call ends.
#[derive(Clone, Copy)]
enum Ending {
    Answered,
    Failed(u16),
    TimedOut,
    Left,
}

impl Plan {
    pub(crate) fn new(records: u64, conversations: bool, times: (i64, i64)) -> Self {
        let words = Vocabulary::new();
        let (systems, bytes) = if conversations { (1_u64, 4096) } else { (20, 300) };
        let system = |n| words.text(&mut StdRng::seed_from_u64(1 << 60 | n), bytes);
        let systems = (0..systems).map(system).collect();
        Self { records, turns: if conversations { 30 } else { 10 }, conversations, times, words, systems }
    }

    /// The phrase that few calls have.
    pub(crate) fn rare_phrase(&self) -> String {
        PHRASE.map(|rank| self.words.word(rank)).join(" ")
    }

    /// A word that most calls have.
    pub(crate) fn common_word(&self) -> &str {
        self.words.word(COMMON)
    }

    /// The session and the turn of a call.
    fn turn(&self, number: u64) -> (u64, u64) {
        let block = AT_ONCE * self.turns;
        let (start, at) = (number / block, number % block);
        (start * AT_ONCE + at % AT_ONCE, at / AT_ONCE)
    }

    pub(crate) fn session(&self, number: u64) -> String {
        format!("session-{:08x}", self.turn(number).0.wrapping_mul(0x9e37_79b1) & 0xffff_ffff)
    }

    fn is_chat(&self, session: u64) -> bool {
        self.conversations || session.is_multiple_of(3)
    }

    /// A message of a session: even ones are questions.
    fn message(&self, session: u64, at: u64) -> String {
        let random = &mut StdRng::seed_from_u64(session << 8 | at);
        let bytes = match (self.is_chat(session), at % 2) {
            (true, 0) => random.random_range(50..250),
            (true, _) => random.random_range(150..550),
            (false, 0) => random.random_range(200..1600),
            (false, _) => random.random_range(100..1100),
        };
        let mut text = self.words.text(random, bytes);
        let messages = self.records.max(1) / 2;
        if at.is_multiple_of(2) && random.random_range(0..messages.max(PLANTED)) < PLANTED {
            text = format!("{text} {}.", self.rare_phrase());
        }
        text
    }

    fn messages(&self, session: u64, turn: u64) -> Vec<Value> {
        let system = &self.systems[session as usize % self.systems.len()];
        let first = if self.is_chat(session) { 0 } else { turn * 2 };
        let mut messages = vec![json!({"role": "system", "content": system})];
        messages.extend((first..=turn * 2).map(|at| {
            let role = if at.is_multiple_of(2) { "user" } else { "assistant" };
            json!({"role": role, "content": self.message(session, at)})
        }));
        messages
    }

    /// The record of a call.
    pub(crate) fn record(&self, number: u64) -> Record {
        let random = &mut StdRng::seed_from_u64(number | 1 << 61);
        let (session, turn) = self.turn(number);
        let (begin, end) = self.times;
        let time = begin + ((end - begin) as f64 * (number as f64 / self.records as f64)) as i64;
        let mut secret = [0; 32];
        random.fill_bytes(&mut secret);
        let mut record = Record::new(id(time, random), Kind::Interaction, time, secret);
        let model = model(session);
        self.describe(&mut record, number, session, random);
        let mut body = json!({"model": model, "messages": self.messages(session, turn), "max_tokens": 512});
        if session.is_multiple_of(2) {
            body["temperature"] = json!(0.7);
        }
        let body = body.to_string();
        let mut request = Request::new(Limits::default());
        request.push(body.as_bytes());
        request.finish(Dialect::OpenAiChat, head(), &mut record);
        let ending = match random.random_range(0..1000) {
            0..10 => Ending::Failed(if random.random_bool(0.5) { 500 } else { 429 }),
            10..20 => Ending::TimedOut,
            20..25 => Ending::Left,
            _ => Ending::Answered,
        };
        let answer = self.message(session, turn * 2 + 1);
        Self::end(&mut record, ending, &model, [body.len(), answer.len()], &answer, random);
        record
    }

    fn describe(&self, record: &mut Record, number: u64, session: u64, random: &mut StdRng) {
        let upstream = ["gpu-a", "gpu-b", "edge"][session as usize % 3];
        record.set(&field::PRINCIPAL, format!("app-{}", session % 20));
        record.set(&field::USER_ID, format!("user-{}", session % 20_011));
        record.set(&field::CLIENT_ADDRESS, format!("10.0.{}.{}", session % 16, session % 250));
        record.set(&field::USER_AGENT, "OpenAI/Python 1.99.9");
        record.set(&field::OPERATION, "chat");
        record.set(&field::SESSION, self.session(number));
        record.set(&field::REQUEST_ID, format!("{:032x}", random.random::<u128>()));
        let tags = [
            ("team", ["support", "search", "code", "legal", "sales", "care", "docs", "lab"][session as usize % 8]),
            ("env", if session.is_multiple_of(10) { "staging" } else { "prod" }),
        ];
        record.set(&field::TAGS, tags.into_iter().collect::<Map>());
        if session.is_multiple_of(2) {
            record.set(&field::TRACE_ID, format!("{:032x}", random.random::<u128>()));
            record.set(&field::PARENT_SPAN_ID, format!("{:016x}", random.random::<u64>()));
        }
        record.set(&field::METHOD, "POST");
        record.set(&field::PATH, "/v1/chat/completions");
        record.set(&field::UPSTREAM, upstream);
        record.set(&field::SERVER_ADDRESS, format!("{upstream}.internal"));
        record.set(&field::SERVER_PORT, 8000_u16);
        record.set(&field::DIALECT, "openai.chat");
        record.set(&field::CALLS_UNDER_WAY, random.random_range(0..12_i64));
    }

    fn end(record: &mut Record, ending: Ending, model: &str, bytes: [usize; 2], answer: &str, random: &mut StdRng) {
        let first = (latency(random) * 80_000.0) as i64;
        let [asked, answered] = bytes.map(|bytes| bytes as i64 / 4);
        let duration = first + answered * random.random_range(6_000..14_000_i64);
        let body = |body: Value, status: u16, end: End, record: &mut Record| {
            let mut response = Response::new(Dialect::OpenAiChat, status, head(), Limits::default());
            response.push(body.to_string().as_bytes(), first);
            response.finish(end, record);
            record.set(&field::STATUS, i64::from(status));
            record.set(&field::CONNECT, 0_i64);
            record.set(&field::FIRST_BYTE, first);
        };
        let outcome = match ending {
            Ending::Answered => {
                let usage =
                    json!({"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered});
                let choice =
                    json!({"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"});
                let id = format!("chatcmpl-{:024x}", random.random::<u64>());
                let whole = json!({"id": id, "object": "chat.completion", "created": record.captured_at / 1_000_000,
                    "model": model, "choices": [choice], "usage": usage});
                body(whole, 200, End::Complete, record);
                record.set(&field::FIRST_TOKEN, first);
                "completed"
            }
            Ending::Failed(status) => {
                let said =
                    if status == 429 { "too many requests, try again later" } else { "CUDA error: out of memory" };
                body(json!({"error": {"message": said, "type": "server_error"}}), status, End::Complete, record);
                "completed"
            }
            Ending::TimedOut => {
                failed(record, "timeout", "upstream", "the model server did not answer in time");
                "upstream_error"
            }
            Ending::Left => {
                failed(record, "client_disconnected", "client", "the client went away before the answer was complete");
                "client_disconnected"
            }
        };
        record.set(&field::DURATION, duration);
        record.set(&field::OUTCOME, outcome);
    }
}

fn failed(record: &mut Record, kind: &str, stage: &str, message: &str) {
    record.set(&field::ERROR_TYPE, kind);
    record.set(&field::ERROR_STAGE, stage);
    record.set(&field::ERROR_MESSAGE, message);
}

const fn head() -> BodyHead<'static> {
    BodyHead { content_type: Some("application/json"), content_encoding: None }
}

/// Some models are asked far more often than others.
fn model(session: u64) -> String {
    let spread = session.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let share = spread as f64 / 4_294_967_296.0;
    let rank = ((MODELS as f64 + 1.0).powf(share) - 1.0) as usize;
    let family = ["qwen3", "llama-3.2", "phi-4-mini", "gemma-3", "mistral", "smollm3", "granite", "olmo-2"][rank % 8];
    format!("{family}-{}b", [1, 3, 4, 7, 8, 12, 14][rank / 8])
}

/// UUIDv7 of that time.
fn id(time: i64, random: &mut StdRng) -> Uuid {
    let millis = (time / 1000) as u128;
    let low: u128 = random.random::<u128>() & 0xfff_3fff_ffff_ffff_ffff;
    Uuid::from_u128(millis << 80 | low | 0x7000_8000_0000_0000_0000)
}

/// Around 1, sometimes much more: log-normal.
fn latency(random: &mut StdRng) -> f64 {
    let [a, b]: [f64; 2] = [random.random(), random.random()];
    ((-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos() * 0.6).exp()
}
