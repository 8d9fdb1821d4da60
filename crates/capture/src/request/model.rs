//! The model that a request names, found while its body comes in.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::form::{self, Form};
use crate::BodyHead;
use crate::coding::{Coding, Unpack};
use crate::json::{self, RawValue};

/// A name is at most so long, in bytes.
const NAME_MAX: usize = 1024;

/// Looks for the member `model` of a JSON object, or for the field `model` of a form (`multipart/form-data`). Of several the
/// first that has a text counts, since a call is on its way before the others come; requests are read in the same way. It
/// keeps no more than a name and some KiB, however long the body is.
pub struct NamedModel {
    unpack: Option<Unpack>,
    looking: Looking,
}

enum Looking {
    Json(Object),
    Form(Form),
    /// Found, or `None`: there is none, or none that can be read.
    Settled(Option<String>),
}

/// A JSON object as far as it has come: only its own members matter, so a nesting is but a number.
#[derive(Default)]
struct Object {
    depth: usize,
    /// What has come of a string.
    string: Option<Text>,
    /// The next string at depth 1 is the name of a member.
    is_name: bool,
    /// The value that comes belongs to `model`.
    is_model: bool,
}

#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    is_escaped: bool,
}

impl NamedModel {
    /// Nothing has come of a body with this head.
    pub fn new(head: BodyHead<'_>) -> Self {
        let (unpack, is_readable) = match Coding::of(head.content_encoding) {
            Ok(Coding::Identity) => (None, true),
            // What is decoded is not kept, and there is less of it than a body may have.
            Ok(coding) => (Some(Unpack::new(coding, usize::MAX)), true),
            Err(_) => (None, false),
        };
        let looking = match head.content_type.filter(|name| form::is_form(name)) {
            _ if !is_readable => Looking::Settled(None),
            Some(name) => Form::new(name, "model", NAME_MAX).map_or(Looking::Settled(None), Looking::Form),
            None => Looking::Json(Object::default()),
        };
        Self { unpack, looking }
    }

    /// Takes the next bytes of the body; true once it is settled which model is named, or that none is.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        let looking = &mut self.looking;
        match &mut self.unpack {
            None => looking.push(piece),
            Some(unpack) => {
                if unpack.push(piece, |decoded| looking.push(decoded)).is_err() {
                    *looking = Looking::Settled(None);
                }
            }
        }
        matches!(self.looking, Looking::Settled(_))
    }

    /// The model that is named, as far as the body has come.
    pub fn found(&self) -> Option<&str> {
        if let Looking::Settled(model) = &self.looking { model.as_deref() } else { None }
    }
}

impl Looking {
    fn push(&mut self, piece: &[u8]) {
        let settled = match self {
            Self::Json(object) => object.push(piece),
            Self::Form(form) => match form.push(piece) {
                Some(model) => ControlFlow::Break(Some(json::utf8(&model).into_owned())),
                None => ControlFlow::Continue(()),
            },
            Self::Settled(_) => return,
        };
        if let ControlFlow::Break(model) = settled {
            *self = Self::Settled(model);
        }
    }
}

impl Object {
    /// Goes on until the model has come, or the end of the object, or what is no object.
    fn push(&mut self, mut piece: &[u8]) -> ControlFlow<Option<String>> {
        while !piece.is_empty() {
            if let Some(text) = &mut self.string {
                let (rest, ended) = text.push(piece);
                piece = rest;
                if ended && let Some(found) = self.string_ended() {
                    return ControlFlow::Break(Some(found));
                }
                continue;
            }
            if !self.sign(piece[0]) {
                return ControlFlow::Break(None);
            }
            piece = &piece[1..];
        }
        ControlFlow::Continue(())
    }

    /// Takes a byte between strings; false once no model can follow.
    fn sign(&mut self, byte: u8) -> bool {
        match (byte, self.depth) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b'{', 0) => (self.depth, self.is_name) = (1, true),
            (_, 0) | (b'}' | b']', 1) => return false,
            (b'"', _) => self.string = Some(Text::default()),
            (b'{' | b'[', _) => self.depth += 1,
            (b'}' | b']', _) => self.depth -= 1,
            (b',', 1) => (self.is_name, self.is_model) = (true, false),
            (b':', 1) => self.is_name = false,
            _ => {}
        }
        true
    }

    fn string_ended(&mut self) -> Option<String> {
        let Text { bytes, .. } = self.string.take()?;
        if self.depth != 1 {
            return None;
        }
        if self.is_name {
            let is_escaped = bytes.contains(&b'\\');
            self.is_model = bytes == b"model" || is_escaped && unescaped(&bytes).as_deref() == Some("model");
            return None;
        }
        if self.is_model { unescaped(&bytes) } else { None }
    }
}

impl Text {
    /// Takes bytes up to the closing quote, if it is there, and gives what follows.
    fn push<'a>(&mut self, mut piece: &'a [u8]) -> (&'a [u8], bool) {
        loop {
            if self.is_escaped && !piece.is_empty() {
                self.is_escaped = false;
                self.keep(&piece[..1]);
                piece = &piece[1..];
            }
            let Some(at) = memchr::memchr2(b'"', b'\\', piece) else {
                self.keep(piece);
                return (&[], false);
            };
            self.keep(&piece[..at]);
            if piece[at] == b'"' {
                return (&piece[at + 1..], true);
            }
            self.keep(&piece[at..=at]);
            (self.is_escaped, piece) = (true, &piece[at + 1..]);
        }
    }

    /// One byte more than a name can have tells that this is none.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (NAME_MAX + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// True if a value names a model.
pub(super) fn is_name(value: &RawValue) -> bool {
    value.get().starts_with('"') && value.get().len() <= NAME_MAX + 2
}

/// The text between the quotes of a string; `None` if it is longer than a name.
fn unescaped(bytes: &[u8]) -> Option<String> {
    if bytes.len() > NAME_MAX {
        return None;
    }
    let json = format!("\"{}\"", json::utf8(bytes));
    json::parse(&json).ok().and_then(json::text).map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(content_type: &str, body: &[u8], size: usize) -> (bool, Option<String>) {
        let head = BodyHead { content_type: Some(content_type), content_encoding: None };
        let mut model = NamedModel::new(head);
        let settled = body.chunks(size).any(|piece| model.push(piece));
        (settled, model.found().map(str::to_owned))
    }

    #[test]
    fn wherever_it_stands() {
        for (body, expect) in [
            (r#" {"model":"m"}"#, Some("m")),
            (
                r#"{"messages":[{"model":"no","content":"}\"{[\\"}],"stream":true,"x":{"model":"no"},"model" : "a\/b\u00fc"}"#,
                Some("a/bü"),
            ),
            (r#"{"a":"model","b":["model","no"],"model":7}"#, None),
            (r#"{"model":null,"model2":"x"}"#, None),
            (r#"{"mod\u0065l":"m"}"#, Some("m")),
            (r#"{"model":7,"\u006dodel":"first","model":"second"}"#, Some("first")),
            (r#"["model","m"]"#, None),
            ("{}", None),
            ("model=m", None),
        ] {
            for size in [1, 2, 3, 100] {
                assert_eq!(of("application/json", body.as_bytes(), size), (true, expect.map(Into::into)), "{body}");
            }
        }
        let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(NAME_MAX + 1));
        assert_eq!(of("application/json", long.as_bytes(), 64).1, None, "that is no name");
        assert_eq!(of("application/json", br#"{"model":"m"#, 64), (false, None));
    }

    #[test]
    fn in_a_form() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n";
        assert_eq!(of("multipart/form-data; boundary=b", body, 7), (true, Some("whisper-1".into())));
        assert_eq!(of("multipart/form-data; boundary=b", &body[..60], 7), (false, None));
        assert_eq!(of("multipart/form-data", body, 7), (true, None), "nobody knows where a field begins");
    }

    #[test]
    fn in_a_compressed_body() {
        use std::io::Write as _;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(br#"{"messages":[],"model":"m"}"#).unwrap();
        let mut model = NamedModel::new(BodyHead { content_type: None, content_encoding: Some("gzip") });
        assert!(model.push(&gzip.finish().unwrap()));
        assert_eq!(model.found(), Some("m"));
        assert!(NamedModel::new(BodyHead { content_type: None, content_encoding: Some("x") }).push(b"{"));
    }

    proptest! {
        #[test]
        fn it_is_what_a_parser_says(
            before in prop::collection::vec(("[a-z]{1,3}", r#"[a-z"\\{}\[\],:]{0,8}"#), 0..4),
            model in r#"[a-z"\\é/]{1,9}"#,
            size in 1..20_usize,
        ) {
            let mut object: serde_json::Map<_, _> =
                before.into_iter().map(|(name, value)| (name, serde_json::json!([value, { "model": "no" }]))).collect();
            object.insert("model".into(), model.clone().into());
            let body = serde_json::Value::Object(object).to_string();
            prop_assert_eq!(of("application/json", body.as_bytes(), size), (true, Some(model)));
        }

        #[test]
        fn any_bytes_do_no_harm(body: Vec<u8>, size in 1..9_usize) {
            of("application/json", &body, size);
            of("multipart/form-data; boundary=b", &body, size);
        }
    }
}
