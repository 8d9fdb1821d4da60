//! Reading other people's JSON (RFC 8259) without trusting it: members as raw text, the last of equal names wins,
//! a value of another type is no value.
//!
//! Values are read as [`RawValue`] and interpreted one by one: that keeps their exact bytes, costs nothing for
//! members that nobody looks at, and lets one ill-typed member be ill-typed alone.

use std::borrow::Cow;

use serde::de::{self, Deserialize, Deserializer as _, MapAccess, SeqAccess, Visitor};
pub(crate) use serde_json::value::RawValue;
use serde_json::{Deserializer, Result};

/// Bytes as text; what is not UTF-8 is replaced by U+FFFD.
pub(crate) fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    // The plain check is several times as fast as the one that looks for what to replace.
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Calls `each` with the name and the value of every member of an object. After an error the members that came
/// before it have been seen.
pub(crate) fn members<'a>(json: &'a str, each: impl FnMut(Cow<'a, str>, &'a RawValue)) -> Result<()> {
    let mut input = Deserializer::from_str(json);
    input.deserialize_map(Members(each))?;
    input.end()
}

/// Calls `each` with every item of a list; with none if it is not a list.
pub(crate) fn items<'a>(raw: &'a RawValue, each: impl FnMut(&'a RawValue)) {
    if raw.get().starts_with('[') {
        // A raw value has been checked, so there is nothing left to go wrong.
        let _ = Deserializer::from_str(raw.get()).deserialize_seq(Items(each));
    }
}

/// The value, unless it is null.
pub(crate) fn present(raw: &RawValue) -> Option<&RawValue> {
    (raw.get() != "null").then_some(raw)
}

/// The text of a string.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let text = serde_json::from_str(raw.get()).unwrap_or_else(|_| unpaired(raw.get()));
    Some(Cow::Owned(text))
}

/// The text of a string that is not empty.
pub(crate) fn non_empty(raw: &RawValue) -> Option<Cow<'_, str>> {
    text(raw).filter(|text| !text.is_empty())
}

/// The integer of a number that is one and fits.
pub(crate) fn int(raw: &RawValue) -> Option<i64> {
    raw.get().parse().ok()
}

/// The number, unless it is too large for a double.
pub(crate) fn float(raw: &RawValue) -> Option<f64> {
    // Only JSON's own numbers: Rust would also read `inf`, which is not JSON and so cannot be in a raw value.
    raw.get().parse().ok().filter(|n: &f64| n.is_finite())
}

/// The truth value.
pub(crate) fn boolean(raw: &RawValue) -> Option<bool> {
    raw.get().parse().ok()
}

/// What is between the brackets of a list, if there is anything.
pub(crate) fn inside_list(raw: &RawValue) -> Option<&str> {
    let inner = raw.get().strip_prefix('[')?.strip_suffix(']')?.trim();
    (!inner.is_empty()).then_some(inner)
}

/// Calls `with` with what is between the brackets of a list, if there is anything; false if it is no list.
pub(crate) fn in_list<'a>(raw: &'a RawValue, with: impl FnOnce(&'a str)) -> bool {
    if let Some(items) = inside_list(raw) {
        with(items);
    }
    raw.get().starts_with('[')
}

/// The text of a message's content: a string, or the text parts of a list put together with `between`.
pub(crate) fn content_text<'a>(content: &'a RawValue, between: &str) -> Option<Cow<'a, str>> {
    if let Some(text) = text(content) {
        return Some(text);
    }
    let mut texts = Vec::new();
    items(content, |part| texts.extend(part_text(part, between)));
    (!texts.is_empty()).then(|| Cow::Owned(texts.join(between)))
}

/// The text of a content part, or of what a tool gave back, which has content of its own.
fn part_text<'a>(part: &'a RawValue, between: &str) -> Option<Cow<'a, str>> {
    let own = member_of(part, "text").and_then(text);
    own.or_else(|| {
        let content = member_of(part, "content")?;
        text(content).or_else(|| {
            let mut texts = Vec::new();
            items(content, |part| texts.extend(member_of(part, "text").and_then(text)));
            (!texts.is_empty()).then(|| Cow::Owned(texts.join(between)))
        })
    })
}

/// The number of items of a list.
pub(crate) fn count(raw: &RawValue) -> usize {
    let mut count = 0;
    items(raw, |_| count += 1);
    count
}

/// Texts: of a string, or of a list of nothing but strings.
pub(crate) fn texts(raw: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    if let Some(text) = text(raw) {
        return Some(vec![text]);
    }
    let mut texts = raw.get().starts_with('[').then(Vec::new);
    items(raw, |item| match (&mut texts, text(item)) {
        (Some(texts), Some(text)) => texts.push(text),
        _ => texts = None,
    });
    texts
}

/// An object of these members.
pub(crate) fn object<'a>(members: impl Iterator<Item = (&'a str, &'a RawValue)>) -> Option<String> {
    let mut object = String::from("{");
    for (name, value) in members {
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&serde_json::to_string(name).ok()?);
        object.push(':');
        object.push_str(value.get());
    }
    object.push('}');
    Some(object)
}

/// The member of that name, if the value is an object that has it.
pub(crate) fn member_of<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    let _ = members(object.get(), |have, value| {
        if have == name {
            found = Some(value);
        }
    });
    found
}

/// A string with half of a surrogate pair in it is valid JSON (RFC 8259 §8.2) and no valid text.
fn unpaired(json: &str) -> String {
    let bytes = Deserializer::from_str(json).deserialize_bytes(Bytes);
    bytes.map(|bytes| utf8(&bytes).into_owned()).unwrap_or_default()
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            (self.0)(name, map.next_value()?);
        }
        Ok(())
    }
}

struct Items<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> std::result::Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> std::result::Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

/// A raw value from any text.
pub(crate) fn parse(json: &str) -> Result<&RawValue> {
    serde_json::from_str(json)
}

/// A raw value from its text, which has been one before.
pub(crate) fn raw(json: &str) -> Option<&RawValue> {
    let mut input = Deserializer::from_str(json);
    <&RawValue>::deserialize(&mut input).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text() {
        for (json, expect) in [
            (r#""""#, Some("")),
            (r#""plain ü""#, Some("plain ü")),
            (r#""a\nb\u00fc\ud83d\ude00""#, Some("a\nbü😀")),
            (r#""half \ud83d pair""#, Some("half \u{fffd}\u{fffd}\u{fffd} pair")),
            ("12", None),
            ("null", None),
            (r#"["a"]"#, None),
        ] {
            assert_eq!(text(raw(json).unwrap()).as_deref(), expect, "{json}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_none() {
        let number = |json| (int(raw(json).unwrap()), float(raw(json).unwrap()));
        assert_eq!(number("9223372036854775807"), (Some(i64::MAX), Some(9_223_372_036_854_775_807.0)));
        assert_eq!(number("9223372036854775808").0, None);
        assert_eq!(number("1.5"), (None, Some(1.5)));
        assert_eq!(number("1e999"), (None, None));
        assert_eq!(number("\"1\""), (None, None));
    }

    #[test]
    fn members_before_an_error_are_seen_and_the_last_of_equal_names_wins() {
        let mut seen = Vec::new();
        let result = members(r#"{"a":1,"a":{"b":[2]},"c\u0041":tru"#, |name, value| seen.push((name, value.get())));
        assert!(result.is_err());
        assert_eq!(seen, [("a".into(), "1"), ("a".into(), r#"{"b":[2]}"#)]);
        assert_eq!(member_of(raw(r#"{"a":1,"a":2}"#).unwrap(), "a").unwrap().get(), "2");
    }

    #[test]
    fn texts_are_a_string_or_a_list_of_nothing_else() {
        for (json, expect) in [
            (r#""a""#, Some(vec!["a"])),
            (r#"["a","b\n"]"#, Some(vec!["a", "b\n"])),
            ("[]", Some(vec![])),
            (r#"["a",1]"#, None),
            ("1", None),
        ] {
            let got = texts(raw(json).unwrap());
            let got: Option<Vec<_>> = got.as_ref().map(|texts| texts.iter().map(AsRef::as_ref).collect());
            assert_eq!(got, expect, "{json}");
        }
        assert_eq!((count(raw("[1,[2],3]").unwrap()), count(raw("{}").unwrap())), (3, 0));
    }

    #[test]
    fn content_is_a_string_or_parts() {
        let parts =
            r#"[{"type":"text","text":"one"},{"type":"image_url","image_url":{}},{"type":"text","text":"two"},7]"#;
        assert_eq!(content_text(raw(parts).unwrap(), "\n").as_deref(), Some("one\ntwo"));
        assert_eq!(content_text(raw(r#""one""#).unwrap(), "\n").as_deref(), Some("one"));
        assert_eq!(content_text(raw("[]").unwrap(), "\n"), None);
    }
}
