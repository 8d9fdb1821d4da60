//! Images, audio and files in bodies: named where a record is shown, and written with `onrecord show --media`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use onrecord_capture::Media;
use onrecord_proof::field;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::client::Client;
use super::show::read;
use crate::render::hex;
use crate::terminal::{NewFile, bytes, note, stdout};

/// Shorter base64 is shown as it is.
const ELIDED_MIN: usize = 1024;
/// Digits of a digest that are shown.
const DIGITS: usize = 16;

/// Media of a request, as its record lists it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Part {
    media_type: String,
    bytes: u64,
    sha256: String,
    /// RFC 6901 pointer into the body.
    at: String,
}

impl Part {
    fn mark(&self, number: usize) -> String {
        mark(&format!("media {number}: {}", self.media_type), self.bytes, &self.sha256)
    }
}

fn mark(what: &str, size: u64, sha256: &str) -> String {
    format!("<{what}, {}, sha256:{}…>", bytes(size), sha256.get(..DIGITS).unwrap_or(sha256))
}

/// The media of a request.
fn parts(record: &Value) -> Vec<Part> {
    let list = record["groups"]["input"][field::INPUT_MEDIA.name].as_str();
    list.and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default()
}

/// Puts a short mark in the place of each image, audio and file in the bodies of a record.
pub(super) fn elide(record: &mut Value) {
    let parts = parts(record);
    let groups = record["groups"].as_object_mut().into_iter().flat_map(|groups| groups.iter_mut());
    for (name, value) in groups.filter_map(|(_, group)| group.as_object_mut()).flatten() {
        let listed = if *name == field::INPUT_BODY.name { &parts[..] } else { &[] };
        if let Some(short) = value.as_str().and_then(|body| elided(body, listed)) {
            *value = Value::String(short);
        }
    }
}

/// A body with marks in the place of its media; `None` if it has none or is no JSON.
fn elided(body: &str, parts: &[Part]) -> Option<String> {
    if parts.is_empty() && body.len() < ELIDED_MIN {
        return None;
    }
    let mut body: Value = serde_json::from_str(body).ok()?;
    let mut found = false;
    for (part, number) in parts.iter().zip(1..) {
        if let Some(text @ Value::String(_)) = body.pointer_mut(&part.at) {
            *text = Value::String(part.mark(number));
            found = true;
        }
    }
    elide_within(&mut body, &mut found);
    found.then(|| body.to_string())
}

/// Media that is not listed, such as that of an answer.
fn elide_within(value: &mut Value, found: &mut bool) {
    match value {
        Value::String(text) if text.len() >= ELIDED_MIN => {
            let Some(Media { media_type, bytes }) = Media::of(text, None) else { return };
            if media_type != Media::UNKNOWN {
                *text = mark(media_type, bytes.len() as u64, &hex(&Sha256::digest(&bytes)));
                *found = true;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| elide_within(item, found)),
        Value::Object(members) => members.values_mut().for_each(|member| elide_within(member, found)),
        _ => {}
    }
}

/// Writes what media a request had: the one of that number, or the only one.
pub(super) async fn write(client: &Client, record: &str, number: usize, output: Option<&Path>) -> anyhow::Result<()> {
    ensure!(output.is_some() || !io::stdout().is_terminal(), "media is not text; name a file for it with -o FILE");
    let record = read(client, record).await?;
    let media = extract(&record, number)?;
    let Some(path) = output else {
        let mut out = stdout();
        out.write_all(&media)?;
        return Ok(out.flush()?);
    };
    let mut file = NewFile::create(path)?;
    file.write_all(&media)?;
    file.finish()?;
    note(format_args!("{}, sha256 {}", bytes(media.len() as u64), hex(&Sha256::digest(&media))));
    Ok(())
}

/// The bytes of the part of that number, or with 0 of the only one, which have the digest that is on record.
fn extract(record: &Value, number: usize) -> anyhow::Result<Vec<u8>> {
    let parts = parts(record);
    let number = match number {
        0 if parts.len() > 1 => bail!("this request has {}; choose with --media=N\n{}", parts.len(), list(&parts)),
        0 => 1,
        number => number,
    };
    let part = match parts.get(number - 1) {
        Some(part) => part,
        None if parts.is_empty() => bail!("no media is on record for this request"),
        None => bail!("there is no media {number} in this request\n{}", list(&parts)),
    };
    let body = body(&record["groups"]["input"][field::INPUT_BODY.name]).context("the body is not there")?;
    let body: Value = serde_json::from_slice(&body).context("the body is no JSON")?;
    let text = body.pointer(&part.at).and_then(Value::as_str);
    let media = text.and_then(|text| Media::of(text, None)).with_context(|| format!("no media is at {}", part.at))?;
    let digest = hex(&Sha256::digest(&media.bytes));
    ensure!(
        digest == part.sha256,
        "what is at {} of the body has the SHA-256 {digest}, and {} is on record",
        part.at,
        part.sha256
    );
    Ok(media.bytes)
}

fn list(parts: &[Part]) -> String {
    parts.iter().zip(1..).map(|(part, number)| part.mark(number)).collect::<Vec<_>>().join("\n")
}

/// The bytes of a body, as the API has it.
fn body(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        other => BASE64.decode(other["base64"].as_str()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(bytes: usize) -> (Vec<u8>, String) {
        let image = [b"\x89PNG".to_vec(), vec![7; bytes - 4]].concat();
        let text = BASE64.encode(&image);
        (image, text)
    }

    fn record(images: &[&[u8]], body: &Value) -> Value {
        let parts = images.iter().enumerate().map(|(at, image)| {
            let sha256 = hex(&Sha256::digest(image));
            json!({ "kind": "image", "media_type": "image/png", "bytes": image.len(), "sha256": sha256, "at": format!("/images/{at}") })
        });
        let parts = Value::Array(parts.collect()).to_string();
        json!({ "groups": { "input": { "onrecord.input.body": body.to_string(), "onrecord.input.media": parts } } })
    }

    #[test]
    fn media_is_named_where_it_is_shown() {
        let (small, large) = (image(12), image(3000));
        let body = json!({ "prompt": "a", "images": [small.1, large.1], "other": "x".repeat(2000) });
        let mut shown = record(&[&small.0, &large.0], &body);
        let answer = format!("data:image/webp;base64,{}", large.1);
        shown["groups"]["output"] = json!({ "onrecord.output.body": json!({ "url": answer }).to_string(), "size": 7 });
        elide(&mut shown);
        let body: Value =
            serde_json::from_str(shown["groups"]["input"]["onrecord.input.body"].as_str().unwrap()).unwrap();
        let digest = &hex(&Sha256::digest(&large.0))[..16];
        assert_eq!(body["images"][1], format!("<media 2: image/png, 2.93 KiB, sha256:{digest}…>"));
        assert!(body["images"][0].as_str().unwrap().starts_with("<media 1: image/png, 12 B, "), "{body}");
        assert_eq!(body["other"], "x".repeat(2000));
        let answer = shown["groups"]["output"]["onrecord.output.body"].as_str().unwrap();
        assert_eq!(answer, json!({ "url": format!("<image/webp, 2.93 KiB, sha256:{digest}…>") }).to_string());
    }

    #[test]
    fn media_is_written_as_it_was_or_not_at_all() {
        let (one, two) = (image(12), image(3000));
        let body = json!({ "images": [one.1, format!("data:image/png;base64,{}", two.1)] });
        let whole = record(&[&one.0, &two.0], &body);
        assert_eq!(extract(&whole, 2).unwrap(), two.0);
        let error = |record: &Value, number| extract(record, number).unwrap_err().to_string();
        assert!(error(&whole, 0).contains("choose with --media=N\n<media 1: image/png"));
        assert!(error(&whole, 3).contains("no media 3"));
        assert!(error(&record(&[], &body), 1).contains("no media is on record"));
        assert_eq!(extract(&record(&[&one.0], &body), 0).unwrap(), one.0);
        assert!(error(&record(&[&two.0], &body), 1).contains("and"), "another digest");
    }
}
