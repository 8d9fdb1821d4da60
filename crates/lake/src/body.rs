//! Cuts a body at its message boundaries and around the media in it, so that a message or an image which is sent again
//! with every turn of a conversation is one value that a dictionary keeps once. The pieces put together are the exact body.

use std::ops::Range;

use memchr::{memchr2, memmem};

/// A body is never cut into more pieces than this. The longest conversations have a few thousand messages.
const PIECES_MAX: usize = 4096;

/// Objects nested deeper than this end the search for boundaries.
const DEPTH_MAX: usize = 256;

/// Media of fewer bytes stays in its message.
const MEDIA_MIN: usize = 1024;

/// The base64 of a data URL (RFC 2397) begins within so many bytes.
const DATA_URL_HEAD_MAX: usize = 256;

/// The pieces of `body`, none of them empty: what stands before the first message, then each message with what parts it
/// from the one before, then the rest. A message is an object in an array that is a member of the top-level object,
/// such as the elements of `messages` or `tools`. A long base64 text is a piece of its own, wherever it stands and without
/// the head of its data URL: one image is the same piece in every message and in every dialect. Where the bytes stop being
/// JSON, the rest is one piece.
pub(crate) fn cut(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = boundaries(body).into_iter().chain([body.len()]);
    ends.map(move |end| &body[std::mem::replace(&mut start, end)..end]).filter(|piece| !piece.is_empty())
}

/// Where a body is cut, in ascending order.
fn boundaries(body: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut open = Vec::<u8>::new();
    let mut in_first_message = true;
    let mut at = 0;
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => match end_of_string(body, at + 1) {
                Some(end) => {
                    let media = media(body, at + 1..end);
                    found.extend(media.into_iter().flat_map(|media| [media.start, media.end]));
                    at = end;
                }
                None => break,
            },
            b'{' | b'[' => {
                let is_message = byte == b'{' && open == *b"{[";
                if is_message && std::mem::take(&mut in_first_message) {
                    found.push(at);
                }
                open.push(byte);
                in_first_message |= open == *b"{[";
            }
            // In ASCII each closing bracket comes two after its opening one.
            b'}' | b']' if open.pop() != Some(byte - 2) => break,
            b'}' if open == *b"{[" => found.push(at + 1),
            _ if open.is_empty() && !byte.is_ascii_whitespace() && byte != b'}' => break,
            _ => {}
        }
        if open.len() > DEPTH_MAX || found.len() + 3 > PIECES_MAX {
            break;
        }
        at += 1;
    }
    found
}

/// The position of the quote that ends the string whose text begins at `at`.
fn end_of_string(body: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Where in the string at `text` media stands. Members are not looked at, since nothing else is so long and has no space.
fn media(body: &[u8], text: Range<usize>) -> Option<Range<usize>> {
    let head = body[text.clone()].get(..DATA_URL_HEAD_MAX)?;
    let skipped = if head.starts_with(b"data:") { memmem::find(head, b";base64,")? + b";base64,".len() } else { 0 };
    let media = text.start + skipped..text.end;
    (media.len() >= MEDIA_MIN && body[media.clone()].iter().all(|byte| is_base64(*byte))).then_some(media)
}

/// True for the alphabets of RFC 4648, also where JSON has `/` as `\/`.
fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=-_\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(body: &str, expected: &[&str]) {
        let pieces: Vec<_> = cut(body.as_bytes()).map(|p| std::str::from_utf8(p).unwrap()).collect();
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_conversation_is_cut_between_its_messages() {
        check(
            r#"{"model":"m","messages":[{"a":[1,{}]}, {"b":"}]\"{"}],"tools":[{}],"n":1}"#,
            &[
                r#"{"model":"m","messages":["#,
                r#"{"a":[1,{}]}"#,
                r#", {"b":"}]\"{"}"#,
                r#"],"tools":["#,
                "{}",
                r#"],"n":1}"#,
            ],
        );
    }

    #[test]
    fn what_has_no_messages_stays_whole() {
        for body in [r#"{"input":[1,2,"x"]}"#, r#"[{"a":1},{"b":2}]"#, "data: {\"a\":[{}]}", r#"{"a":{"b":[{}]}}"#] {
            check(body, &[body]);
        }
        check("", &[]);
    }

    #[test]
    fn a_cut_off_body_is_cut_as_far_as_it_goes() {
        check(r#"{"messages":[{"a":1},{"b":"#, &[r#"{"messages":["#, r#"{"a":1}"#, r#",{"b":"#]);
        check(r#"{"messages":[{"a":1}},{"b":2}]}"#, &[r#"{"messages":["#, r#"{"a":1}"#, r#"},{"b":2}]}"#]);
    }

    #[test]
    fn media_is_a_piece_of_its_own_in_every_dialect() {
        let image = "iVBOR/+9".repeat(200);
        let escaped = image.replace('/', r"\/");
        for (before, media, after) in [
            (r#"{"role":"user","content":[{"image_url":{"url":"data:image/png;base64,"#, &image, r#""}}]}"#),
            (r#"{"content":[{"source":{"type":"base64","data":""#, &image, r#""}}]}"#),
            (r#"{"content":"a cat?","images":[""#, &image, r#""]}"#),
            (r#"{"content":[{"input_audio":{"data":""#, &image, r#"","format":"wav"}}]}"#),
            (r#"{"content":[{"image_url":{"url":"data:image\/png;base64,"#, &escaped, r#""}}]}"#),
        ] {
            let body = format!(r#"{{"messages":[{before}{media}{after}]}}"#);
            check(&body, &[r#"{"messages":["#, before, media, after, "]}"]);
        }
        check(
            &format!(r#"{{"prompt":"x","images":["{image}","{image}=="]}}"#),
            &[r#"{"prompt":"x","images":[""#, &image, r#"",""#, &format!("{image}=="), r#""]}"#],
        );
        check(&format!(r#"{{"image":"{image}"#), &[&format!(r#"{{"image":"{image}"#)]);
    }

    #[test]
    fn what_is_no_media_is_not_cut() {
        let words = "words with spaces ".repeat(100);
        let short = "iVBO".repeat(MEDIA_MIN / 4 - 1);
        for text in [words, short, format!("data:{}", "a".repeat(2000)), format!("{} ", "a".repeat(2000))] {
            let body = format!(r#"{{"prompt":"{text}"}}"#);
            check(&body, &[&body]);
        }
    }

    #[test]
    fn the_number_of_pieces_is_bounded() {
        let image = "a".repeat(MEDIA_MIN);
        for body in [
            format!(r#"{{"messages":[{}{{}}]}}"#, "{},".repeat(10_000)),
            format!(r#"{{"a":[{}0]}}"#, format!(r#""{image}","#).repeat(5_000)),
            format!(r#"{{"messages":[{{}},{{"a":[{}0]}}]}}"#, format!(r#""{image}","#).repeat(5_000)),
        ] {
            let pieces: Vec<_> = cut(body.as_bytes()).collect();
            assert!(pieces.len() > PIECES_MAX / 2 && pieces.len() <= PIECES_MAX && pieces.concat() == body.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_body(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(cut(&body).collect::<Vec<_>>().concat(), body);
        }

        #[test]
        fn the_pieces_of_near_json_are_the_body(body in r#"\{"[a-c]":\[[{}\[\]",:\\a ]{0,60}"#) {
            prop_assert_eq!(cut(body.as_bytes()).collect::<Vec<_>>().concat(), body.as_bytes());
        }

        #[test]
        fn the_pieces_of_near_json_with_media_are_the_body(parts in proptest::collection::vec(part(), 0..12)) {
            let body = parts.concat();
            prop_assert_eq!(cut(body.as_bytes()).collect::<Vec<_>>().concat(), body.as_bytes());
        }
    }

    /// What bodies with media are made of, in any order.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            r#"[{}\[\]",:\\a /]{0,4}"#,
            Just(r#"{"messages":[{"#.to_owned()),
            Just("data:image/png;base64,".to_owned()),
            (MEDIA_MIN - 2..MEDIA_MIN + 2).prop_map(|len| "A".repeat(len)),
            (1..3_usize).prop_map(|len| format!(r#""data:;base64,{}""#, "/9j+".repeat(len * MEDIA_MIN / 4))),
        ]
    }
}
