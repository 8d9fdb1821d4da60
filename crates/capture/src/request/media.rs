//! Images, audio and files that a request carries within its JSON: what they are and where they stand. Their bytes are
//! those of the body, so they are there once.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use onrecord_proof::{Record, field};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::json::{self, RawValue};

/// Parts that are listed; the body has them all.
const COUNT_MAX: usize = 256;
/// Members within members; a content part is five deep.
const DEPTH_MAX: usize = 16;
/// One of these is in every request with media; most requests have none, and cost a search for each.
const MARKS: [&str; 7] = [
    "base64",
    "\"input_audio\"",
    "\"images\"",
    "\"multimodal_data\"",
    "\"image_data\"",
    "\"audio_data\"",
    "\"video_data\"",
];
/// Members whose strings, or those of their lists, are media in base64 and nothing else: of Ollama and llama.cpp.
const BARE: [&str; 2] = ["images", "multimodal_data"];
/// Members in which SGLang takes the same, but also names of files and URLs.
const MAYBE_BARE: [&str; 3] = ["image_data", "audio_data", "video_data"];
/// Members of an object whose `data` is media: OpenAI's, Anthropic's and llama.cpp's.
const WITH_DATA: [&str; 3] = ["input_audio", "source", "image_data"];

/// Padding is left out by some clients.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Records what media a request has; nothing if there is none.
pub(super) fn record(json: &str, record: &mut Record) {
    if !MARKS.iter().any(|mark| memchr::memmem::find(json.as_bytes(), mark.as_bytes()).is_some()) {
        return;
    }
    let Ok(request) = json::parse(json) else { return };
    let mut finding = Finding::default();
    finding.value(request, "", None, 0);
    if !finding.parts.is_empty() {
        record.set(&field::INPUT_MEDIA, serde_json::Value::Array(finding.parts).to_string().into_bytes());
    }
}

/// What a string in base64 stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media<'a> {
    /// Its type as it is declared, or else what begins as it does.
    pub media_type: &'a str,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl<'a> Media<'a> {
    /// The type of what is not known to begin as it does.
    pub const UNKNOWN: &'static str = "application/octet-stream";

    /// What the string of a data URL stands for, or bare base64 that is declared to be of that type.
    pub fn of(text: &'a str, declared: Option<&'a str>) -> Option<Self> {
        let (media_type, data) = match data_url(text) {
            Some((media_type, data)) => (Some(media_type), data),
            None => (declared, text),
        };
        let bytes = BASE64.decode(data).ok().filter(|bytes| !bytes.is_empty())?;
        let media_type = media_type.filter(|name| !name.is_empty()).unwrap_or_else(|| sniffed(&bytes));
        Some(Self { media_type, bytes })
    }
}

#[derive(Default)]
struct Finding {
    parts: Vec<serde_json::Value>,
    /// Where it is: an RFC 6901 pointer.
    at: String,
}

impl Finding {
    /// Looks through a value that belongs to the member `name`; `declared` is the type that stands beside it.
    fn value(&mut self, raw: &RawValue, name: &str, declared: Option<&str>, depth: usize) {
        if depth > DEPTH_MAX || self.parts.len() >= COUNT_MAX {
            return;
        }
        match raw.get().as_bytes().first() {
            Some(b'"') => self.text(raw, name, declared),
            Some(b'[') => {
                let mut number = 0;
                json::items(raw, |item| {
                    self.within(&number.to_string(), |this| this.value(item, name, None, depth + 1));
                    number += 1;
                });
            }
            Some(b'{') => self.object(raw, name, depth),
            _ => {}
        }
    }

    fn object(&mut self, raw: &RawValue, name: &str, depth: usize) {
        let declared = WITH_DATA.contains(&name).then(|| declared(raw));
        let _ = json::members(raw.get(), |member, value| {
            let declared = declared.as_deref().filter(|_| member == "data");
            self.within(&member, |this| this.value(value, &member, declared, depth + 1));
        });
    }

    fn text(&mut self, raw: &RawValue, name: &str, declared: Option<&str>) {
        let Some(text) = json::text(raw) else { return };
        let is_certain = declared.is_some() || BARE.contains(&name) || data_url(&text).is_some();
        if !is_certain && !MAYBE_BARE.contains(&name) {
            return;
        }
        let Some(Media { media_type, bytes }) = Media::of(&text, declared) else { return };
        if !is_certain && media_type == Media::UNKNOWN {
            return;
        }
        self.parts.push(json!({
            "kind": kind(media_type),
            "media_type": media_type,
            "bytes": bytes.len(),
            "sha256": super::plugins::hex(&Sha256::digest(&bytes)),
            "at": self.at,
        }));
    }

    fn within(&mut self, token: &str, look: impl FnOnce(&mut Self)) {
        let before = self.at.len();
        self.at.push('/');
        self.at.push_str(&token.replace('~', "~0").replace('/', "~1"));
        look(self);
        self.at.truncate(before);
    }
}

/// The type that an object says its `data` is of, empty without one: Anthropic's `media_type`, or OpenAI's `format` of audio.
fn declared(object: &RawValue) -> String {
    let text = |name| json::member_of(object, name).and_then(json::text).map(Cow::into_owned);
    let format = || text("format").map(|format| format!("audio/{format}"));
    text("media_type").or_else(format).unwrap_or_default()
}

/// The type and the data of a URL of RFC 2397 that is in base64.
fn data_url(text: &str) -> Option<(&str, &str)> {
    let (head, data) = text.strip_prefix("data:")?.split_once(',')?;
    let head = head.strip_suffix(";base64")?;
    Some((head.split(';').next().unwrap_or_default(), data))
}

fn kind(media_type: &str) -> &str {
    let kind = media_type.split('/').next().unwrap_or_default();
    if ["image", "audio", "video"].contains(&kind) { kind } else { "file" }
}

/// What begins so.
fn sniffed(bytes: &[u8]) -> &'static str {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => "image/png",
        [0xff, 0xd8, 0xff, ..] => "image/jpeg",
        [b'G', b'I', b'F', b'8', ..] => "image/gif",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => "image/webp",
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => "audio/wav",
        [b'I', b'D', b'3', ..] | [0xff, 0xfb | 0xf3 | 0xf2, ..] => "audio/mpeg",
        [b'O', b'g', b'g', b'S', ..] => "audio/ogg",
        [b'f', b'L', b'a', b'C', ..] => "audio/flac",
        [b'%', b'P', b'D', b'F', ..] => "application/pdf",
        _ => Media::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use onrecord_proof::Kind;

    use super::*;
    use crate::{BodyHead, Dialect, Limits, Request};

    /// One white pixel.
    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5CYII=";
    /// A head of RIFF and no sample.
    const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA";

    fn media(dialect: Dialect, body: &serde_json::Value) -> Vec<serde_json::Value> {
        let mut record = Record::new(uuid::Uuid::nil(), Kind::Interaction, 0, [0; 32]);
        let mut request = Request::new(Limits::default());
        request.push(body.to_string().as_bytes());
        request.finish(dialect, BodyHead::default(), &mut record);
        let media = record.get(&field::INPUT_MEDIA).and_then(onrecord_proof::Value::as_bytes);
        media.map(|media| serde_json::from_slice(media).unwrap()).unwrap_or_default()
    }

    #[track_caller]
    fn check(dialect: Dialect, body: &serde_json::Value, expect: &[(&str, &str)]) {
        let found = media(dialect, body);
        let found: Vec<_> =
            found.iter().map(|part| (part["at"].as_str().unwrap(), part["media_type"].as_str().unwrap())).collect();
        assert_eq!(found, expect, "{body}");
        for (at, _) in expect {
            assert!(body.pointer(at).is_some_and(serde_json::Value::is_string), "{at} is where it stands");
        }
    }

    #[test]
    fn every_dialect_has_its_way() {
        let url = format!("data:image/png;base64,{PNG}");
        let chat = json!({ "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "What is base64?" },
            { "type": "image_url", "image_url": { "url": url } },
            { "type": "input_audio", "input_audio": { "data": WAV, "format": "wav" } },
            { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0=" } },
            { "type": "image_url", "image_url": { "url": "https://example.org/a.png" } },
        ] }] });
        check(
            Dialect::OpenAiChat,
            &chat,
            &[
                ("/messages/0/content/1/image_url/url", "image/png"),
                ("/messages/0/content/2/input_audio/data", "audio/wav"),
                ("/messages/0/content/3/file/file_data", "application/pdf"),
            ],
        );
        let responses = json!({ "input": [{ "content": [{ "type": "input_image", "image_url": url }] }] });
        check(Dialect::OpenAiResponses, &responses, &[("/input/0/content/0/image_url", "image/png")]);
        let source = json!({ "type": "base64", "media_type": "image/webp", "data": PNG });
        let anthropic = json!({ "messages": [{ "content": [{ "type": "image", "source": source }] }] });
        check(Dialect::AnthropicMessages, &anthropic, &[("/messages/0/content/0/source/data", "image/webp")]);
        let ollama = json!({ "messages": [{ "content": "a", "images": [PNG, WAV] }] });
        check(
            Dialect::OllamaChat,
            &ollama,
            &[("/messages/0/images/0", "image/png"), ("/messages/0/images/1", "audio/wav")],
        );
        let native = json!({ "prompt": { "prompt_string": "<__media__>", "multimodal_data": [PNG] } });
        check(Dialect::LlamaCompletion, &native, &[("/prompt/multimodal_data/0", "image/png")]);
        let native = json!({ "text": "<image>", "image_data": [PNG, "images/cat"], "audio_data": WAV });
        check(Dialect::TgiGenerate, &native, &[("/audio_data", "audio/wav"), ("/image_data/0", "image/png")]);
        let older = json!({ "prompt": "[img-1]", "image_data": [{ "data": PNG, "id": 1 }] });
        check(Dialect::LlamaCompletion, &older, &[("/image_data/0/data", "image/png")]);
    }

    #[test]
    fn it_is_named_by_its_own_bytes() {
        let [part] = &media(Dialect::OllamaGenerate, &json!({ "images": [PNG] }))[..] else { panic!("one") };
        let bytes = BASE64.decode(PNG).unwrap();
        assert_eq!((&part["kind"], &part["bytes"]), (&json!("image"), &json!(bytes.len())));
        assert_eq!(part["sha256"], super::super::plugins::hex(&Sha256::digest(&bytes)));
        let url = format!("data:image/webp;base64,{PNG}");
        for (text, declared, media_type) in [
            (PNG, None, "image/png"),
            (PNG, Some(""), "image/png"),
            (PNG, Some("a/b"), "a/b"),
            (&url, None, "image/webp"),
        ] {
            let media = Media::of(text, declared).unwrap();
            assert_eq!((media.media_type, &media.bytes), (media_type, &bytes));
        }
        assert_eq!(Media::of("data:image/png,x", None), None);
    }

    #[test]
    fn what_is_none() {
        for body in [
            json!({ "messages": [{ "content": "base64 of \"images\" is data:image/png;base64" }] }),
            json!({ "images": ["not base64!", "", 7, null], "a/b~c": { "data": PNG }, "x": "base64" }),
        ] {
            assert_eq!(media(Dialect::OllamaChat, &body), [] as [serde_json::Value; 0], "{body}");
        }
        let deep = (0..200).fold(json!({ "images": [PNG] }), |body, _| json!([body]));
        assert!(media(Dialect::OllamaChat, &json!({ "x": deep })).is_empty(), "nobody nests that deep");
        let many = json!({ "images": vec![PNG; 300] });
        assert_eq!(media(Dialect::OllamaChat, &many).len(), COUNT_MAX);
    }
}
