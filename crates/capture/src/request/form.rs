//! A field of a form (`multipart/form-data`, RFC 7578), found while its body comes in.

use memchr::memmem;

/// The head of a part is at most so long, in bytes: the name of its field, and that of a file.
const HEAD_MAX: usize = 4 << 10;
/// What stands between parts has no more characters (RFC 2046, 5.1.1).
const BOUNDARY_MAX: usize = 70;
const HEAD_END: &[u8] = b"\r\n\r\n";
const LINE_END: &[u8] = b"\r\n";

/// Looks for a field by its name. Of the body it keeps what may still become the beginning of a part, and a part's head.
pub(super) struct Form {
    /// What stands in the head of the part: `name="…"`.
    wanted: Vec<u8>,
    /// What stands before every part.
    delimiter: Vec<u8>,
    value_max: usize,
    kept: Vec<u8>,
    /// What is kept begins behind a delimiter.
    in_part: bool,
}

/// How far a search came.
enum Found {
    Value(Vec<u8>),
    /// There is nothing before this place.
    NotBefore(usize),
    /// What is at this place needs more of the body.
    More(usize),
}

impl Form {
    /// A form of this content type; `None` if it is none, or does not say what stands between its parts. A value of more
    /// than `value_max` bytes is none.
    pub(super) fn new(content_type: &str, field: &str, value_max: usize) -> Option<Self> {
        let mut parts = content_type.split(';');
        is_form(parts.next()?).then_some(())?;
        let boundary = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
            let value = value.trim().trim_matches('"');
            let is_one = (1..=BOUNDARY_MAX).contains(&value.len());
            (name.trim().eq_ignore_ascii_case("boundary") && is_one).then_some(value)
        })?;
        Some(Self {
            wanted: format!("name=\"{field}\"").into_bytes(),
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            value_max,
            // The first delimiter stands at the beginning of the body, as if a line had ended there.
            kept: LINE_END.to_vec(),
            in_part: false,
        })
    }

    /// Takes the next bytes of the body; the value of the field once it is there.
    pub(super) fn push(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        self.kept.extend_from_slice(piece);
        let mut at = 0;
        loop {
            let found = if self.in_part { self.part(at) } else { self.before_part(at) };
            match found {
                Found::Value(value) => return Some(value),
                Found::NotBefore(next) => {
                    at = next;
                    self.in_part = !self.in_part;
                }
                Found::More(next) => {
                    self.kept.drain(..next);
                    return None;
                }
            }
        }
    }

    /// Looks for the delimiter of the next part.
    fn before_part(&self, at: usize) -> Found {
        match memmem::find(&self.kept[at..], &self.delimiter) {
            Some(found) => Found::NotBefore(at + found + self.delimiter.len()),
            // It may have begun.
            None => Found::More(at.max(self.kept.len().saturating_sub(self.delimiter.len() - 1))),
        }
    }

    /// Looks into the part whose delimiter ends at this place.
    fn part(&self, at: usize) -> Found {
        let part = &self.kept[at..];
        let Some(head) = memmem::find(&part[..part.len().min(HEAD_MAX)], HEAD_END) else {
            // Nothing in it is looked at again, so that a body of delimiters takes no longer than another one.
            let skipped = at + HEAD_MAX - self.delimiter.len();
            return if part.len() < HEAD_MAX { Found::More(at) } else { Found::NotBefore(skipped) };
        };
        // The end of a head begins a line, and so does what may stand behind it at once: the next delimiter.
        let (value, next) = (&part[head + HEAD_END.len()..], Found::NotBefore(at + head + LINE_END.len()));
        if !self.is_wanted(&part[..head]) {
            return next;
        }
        match memmem::find(&value[..value.len().min(self.value_max + LINE_END.len())], LINE_END) {
            Some(end) => Found::Value(value[..end].to_vec()),
            None if value.len() < self.value_max + LINE_END.len() => Found::More(at),
            None => next,
        }
    }

    fn is_wanted(&self, head: &[u8]) -> bool {
        head.split(|byte| b";\r\n".contains(byte)).any(|part| part.trim_ascii() == self.wanted)
    }
}

/// True if a content type is that of a form.
pub(super) fn is_form(content_type: &str) -> bool {
    content_type.trim_start().get(..10).is_some_and(|begin| begin.eq_ignore_ascii_case("multipart/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=b";

    fn of(content_type: &str, body: &[u8], size: usize) -> Option<String> {
        let mut form = Form::new(content_type, "model", 9)?;
        body.chunks(size).find_map(|piece| form.push(piece)).map(|value| String::from_utf8(value).unwrap())
    }

    fn part(disposition: &str, value: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
    }

    #[test]
    fn the_field_and_nothing_that_looks_like_it() {
        let model = part("name=\"model\"", "whisper-1");
        let long = part("name=\"model\"", "whisper-10");
        let file =
            part("name=\"file\"; filename=\"a; name=\\\"model\\\".wav\"", "RIFF\r\n-- name=\"model\"\r\n\r\nno\r\n");
        let named = part("name=\"file\"; filename=\"model\"", "no");
        let endless = format!("--b\r\nX: {}", "x".repeat(2 * HEAD_MAX));
        for (parts, expect) in [
            (vec![&model], Some("whisper-1")),
            (vec![&file, &model], Some("whisper-1")),
            (vec![&named, &model], Some("whisper-1")),
            (vec![&long, &model], Some("whisper-1")),
            (vec![&endless, &"\r\n".to_owned(), &model], Some("whisper-1")),
            (vec![&file, &named, &long, &endless], None),
        ] {
            let body = parts.into_iter().cloned().collect::<String>() + "--b--\r\n";
            for size in [1, 2, 7, 1000, 100_000] {
                assert_eq!(of(TYPE, body.as_bytes(), size).as_deref(), expect, "{size} {body:.200}");
            }
        }
    }

    #[test]
    fn an_empty_part_before_it() {
        let body = format!("--b\r\nX: y\r\n\r\n{}", part("name=\"model\"", "m"));
        assert_eq!(of(TYPE, body.as_bytes(), 3).as_deref(), Some("m"));
    }

    #[test]
    fn the_boundary() {
        let body = part("name=\"model\"", "m");
        for (content_type, is_found) in [
            ("Multipart/Form-Data; charset=x; Boundary=\"b\"", true),
            ("multipart/form-data;boundary= b ", true),
            ("multipart/form-data", false),
            ("multipart/form-data; boundary=\"\"", false),
            ("multipart/form-data; boundary=c", false),
            ("application/json; boundary=b", false),
        ] {
            assert_eq!(of(content_type, body.as_bytes(), 5).is_some(), is_found, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn it_keeps_little_and_pieces_do_not_matter(
            words in prop::collection::vec(prop::sample::select(vec![
                "--b", "\r\n", "\r\n\r\n", "; name=\"model\"", "filename=\"model\"", "m", "\0", "-",
            ]), 0..60),
            size in 1..20_usize,
        ) {
            let body = words.concat();
            let mut form = Form::new(TYPE, "model", 9).unwrap();
            let mut found = None;
            for piece in body.as_bytes().chunks(size) {
                found = found.or_else(|| form.push(piece));
                prop_assert!(form.kept.len() <= HEAD_MAX + 9 + size);
            }
            prop_assert_eq!(found.map(|value| String::from_utf8(value).unwrap()), of(TYPE, body.as_bytes(), body.len().max(1)));
        }
    }
}
