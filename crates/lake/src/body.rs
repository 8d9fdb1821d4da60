//! Cuts a body at its message boundaries, so that a message which is sent again with every turn of a conversation is
//! one value that a dictionary keeps once. The pieces put together are the exact body.

use memchr::memchr2;

/// A body is never cut into more pieces than this. The longest conversations have a few thousand messages.
const PIECES_MAX: usize = 4096;

/// Objects nested deeper than this end the search for boundaries.
const DEPTH_MAX: usize = 256;

/// The pieces of `body`, none of them empty: what stands before the first message, then each message with what parts it
/// from the one before, then the rest. A message is an object in an array that is a member of the top-level object,
/// such as the elements of `messages` or `tools`. Where the bytes stop being JSON, the rest is one piece.
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
                Some(end) => at = end,
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
        if open.len() > DEPTH_MAX || found.len() + 2 > PIECES_MAX {
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
    fn the_number_of_pieces_is_bounded() {
        let body = format!(r#"{{"messages":[{}{{}}]}}"#, "{},".repeat(10_000));
        let pieces: Vec<_> = cut(body.as_bytes()).collect();
        assert!(pieces.len() <= PIECES_MAX && pieces.concat() == body.as_bytes());
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
    }
}
