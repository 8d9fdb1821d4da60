//! One response body.

use onrecord_proof::Record;

use crate::answer::{Answer, stop};
use crate::body::{Body, OUTPUT};
use crate::coding::{self, Coding, Unpack};
use crate::error::Failure;
use crate::injection::{Strip, Undo};
use crate::problem::{Problem, record_capture};
use crate::stream::{DECODED_MAX, Framing, Stream};
use crate::{BodyHead, Dialect, End, Limits, json};

/// Raw bytes of a stream that are kept for the case that it cannot be parsed: enough to see why.
const RAW_PREFIX: usize = 64 << 10;
/// So much of an answer is held back at most to take something out of it again: decisions of some ten thousand tokens, of
/// which the record needs no more than its own limit. What is larger passes as it is.
const STRIPPED_MAX: usize = 64 << 20;

/// A response body that is being received.
pub struct Response {
    dialect: Dialect,
    status: u16,
    content_type: Option<String>,
    content_encoding: Option<String>,
    limits: Limits,
    body: Body,
    stream: Option<Stream>,
    /// What takes out again what was asked for on the client's behalf, and the decisions so far of one that is no stream.
    strip: Option<Strip>,
    /// What decodes it before that, and why it could not.
    unpack: Option<Unpack>,
    damage: Option<Problem>,
    taken: Vec<(i64, String)>,
}

impl Response {
    /// An empty body. It is a stream if its [content type says so](BodyHead::announces_stream), and one value otherwise.
    pub fn new(dialect: Dialect, status: u16, head: BodyHead<'_>, limits: Limits) -> Self {
        let framing = head.content_type.and_then(Framing::of);
        let stream = framing.map(|framing| Stream::new(dialect, framing, head.content_encoding, limits));
        let adds_up = stream.as_ref().is_some_and(Stream::is_parsed) && !limits.keep_raw_stream;
        Self {
            dialect,
            status,
            content_type: head.content_type.map(Into::into),
            content_encoding: head.content_encoding.map(Into::into),
            limits,
            body: Body::new(if adds_up { RAW_PREFIX.min(limits.body) } else { limits.body }),
            stream,
            strip: None,
            unpack: None,
            damage: None,
            taken: Vec::new(),
        }
    }

    /// The same of an answer to a request that was changed: its bytes are given to [`pass`](Self::pass). The encoding that
    /// the [`Undo`] knows of is no more in its head.
    #[must_use]
    pub fn with_undo(mut self, undo: Undo) -> Self {
        let framing = self.content_type.as_deref().and_then(Framing::of);
        let coding = undo.coding();
        let limit = self.limits.body.saturating_mul(DECODED_MAX);
        self.unpack = (coding != Coding::Identity).then(|| Unpack::new(coding, limit));
        self.strip = Some(Strip::new(undo, framing, STRIPPED_MAX));
        self
    }

    /// Takes the next bytes of such an answer and appends to `out` what the client gets of them, which is what
    /// [`push`](Self::push) takes. Tells how many of all bytes in `out` may flow.
    pub fn pass(&mut self, piece: &[u8], at_us: i64, out: &mut Vec<u8>) -> usize {
        let (mut unpack, mut damage) = (self.unpack.take(), self.damage.take());
        let free = self.strip_into(at_us, out, |strip, out, taken| match &mut unpack {
            None => strip.push(piece, out, taken),
            Some(_) if damage.is_some() => {}
            Some(unpack) => damage = unpack.push(piece, |plain| strip.push(plain, out, &mut *taken)).err(),
        });
        (self.unpack, self.damage) = (unpack, damage);
        free
    }

    /// Nothing more comes of such an answer: appends to `out` what was held of it. Tells how much of it may flow.
    pub fn pass_end(&mut self, at_us: i64, out: &mut Vec<u8>) -> usize {
        self.strip_into(at_us, out, |strip, out, taken| strip.finish(out, taken))
    }

    fn strip_into(
        &mut self,
        at_us: i64,
        out: &mut Vec<u8>,
        work: impl FnOnce(&mut Strip, &mut Vec<u8>, &mut dyn FnMut(i64, &str)),
    ) -> usize {
        let Some(mut strip) = self.strip.take() else { return 0 };
        let (stream, all) = (&mut self.stream, &mut self.taken);
        work(&mut strip, out, &mut |index, decisions| match stream {
            Some(stream) => stream.decided(index, decisions, at_us),
            None => all.push((index, decisions.to_owned())),
        });
        self.strip = Some(strip);
        self.push(out, at_us)
    }

    /// True if what comes has to go through [`pass`](Self::pass).
    pub const fn is_changed(&self) -> bool {
        self.strip.is_some()
    }

    /// True if what came cannot be decoded, so that the client does not get all of it.
    pub const fn is_damaged(&self) -> bool {
        self.damage.is_some()
    }

    /// Takes the next bytes of the body, `at_us` microseconds after the request's head, and tells how many of them
    /// may go to the client before the record is durable.
    ///
    /// A number above 0 also frees whatever earlier calls held back. Of a stream everything flows up to the event that
    /// ends it, which is `data: [DONE]` or what the dialect has for it, and nothing from its first byte on; a piece
    /// that ends within what may become that event is held from the start of that event. Of a compressed stream the
    /// whole piece is held in which that is so, and all of it if its end cannot be seen, because the encoding is not
    /// supported or the data is damaged. Of anything else every byte may flow: holding whole bodies is for the caller.
    pub fn push(&mut self, piece: &[u8], at_us: i64) -> usize {
        self.body.push(piece);
        match &mut self.stream {
            Some(stream) => stream.push(piece, at_us),
            None => piece.len(),
        }
    }

    /// True if the event that ends a stream was seen for certain. No token follows, so the record may be finished at
    /// once. False of a stream in which that event may come again, such as llama.cpp's when it answers several
    /// prompts: it is held back all the same, but only the end of the body ends the answer.
    pub fn has_ended(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::has_ended)
    }

    /// The model server's id of a streamed answer, once it has said it. Of any other answer the record has it in the end.
    pub fn id(&self) -> Option<&str> {
        self.stream.as_ref()?.id()
    }

    /// Records the body, as the client got it, and what it says. The bytes of a stream are left out if what it adds up to is recorded.
    pub fn finish(mut self, end: End, record: &mut Record) {
        let stream = self.stream.take();
        let adds_up = stream.is_some() && !self.limits.keep_raw_stream;
        let result = match stream {
            Some(stream) => stream.finish(end, self.status, record),
            None => self.whole(record),
        };
        let result = self.damage.take().map_or(result, |damage| Some(Err(damage)));
        if self.dialect != Dialect::Unknown {
            stop::record_end(end, record);
        }
        let parsed = record_capture(result, record);
        let (content_type, content_encoding) = (self.content_type.as_deref(), self.content_encoding.as_deref());
        self.body.record(&OUTPUT, BodyHead { content_type, content_encoding }, !(parsed && adds_up), record);
    }

    /// Records what a body says that is one value; `None` if the dialect is not known.
    fn whole(&self, record: &mut Record) -> Option<Result<(), Problem>> {
        let body = coding::decode(self.content_encoding.as_deref(), self.body.kept(), self.limits.body);
        let result = match body {
            Ok(body) if self.status >= 400 => {
                self.failure(&json::utf8(&body), record);
                Ok(())
            }
            Err(problem) => {
                self.failure("", record);
                Err(problem)
            }
            Ok(_) if self.body.is_cut() => Err(Problem::TooLong(self.limits.body)),
            Ok(body) => whole(self.dialect, &json::utf8(&body), &self.taken, record)?,
        };
        (self.dialect != Dialect::Unknown).then_some(result)
    }

    /// Records an error, which looks alike in all dialects.
    fn failure(&self, body: &str, record: &mut Record) {
        if self.status >= 400 {
            Failure::of_body(body).record("upstream", self.status, record);
        }
    }
}

/// Records what a whole answer says, beside the body that has all of it; `None` if the dialect is not known.
fn whole(dialect: Dialect, json: &str, taken: &[(i64, String)], record: &mut Record) -> Option<Result<(), Problem>> {
    let mut wire = dialect.wire()?;
    if json.trim().is_empty() {
        return Some(Err(Problem::Empty));
    }
    // The body is bounded, and so is what is taken from it.
    let mut answer = Answer::new(usize::MAX);
    for (index, decisions) in taken {
        answer.decided(*index, decisions, 0);
    }
    if let Err(error) = wire.whole(json, &mut answer) {
        return Some(Err(Problem::NotJson(error)));
    }
    if !taken.is_empty() {
        answer.record_decisions(record);
    }
    let understood = answer.is_answer() || answer.has_failed();
    answer.record_facts("upstream", record);
    Some(if understood { Ok(()) } else { Err(Problem::NoAnswer) })
}
