//! Untrusted text made harmless. What a model or a client wrote can hold control sequences that move the cursor, retitle
//! the window or answer on the keyboard's behalf, and invisible characters that make a line read differently from what
//! it is (Unicode Technical Report 36; CVE-2021-42574). All of them are shown as what they are.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A form in which text is harmless for a terminal.
pub(crate) type Escape = fn(&str) -> Cow<'_, str>;

/// Text for one line: also line breaks and tabs become visible.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    replace(text, is_hazard, rust_form)
}

/// Text for several lines: line feeds and tabs stay.
pub(crate) fn escape_lines(text: &str) -> Cow<'_, str> {
    replace(text, |c| is_hazard(c) && !matches!(c, '\n' | '\t'), rust_form)
}

/// JSON with the same value that is harmless to print. The characters concerned can only stand inside of its strings,
/// where `\u` stands for them; the line breaks and tabs of pretty JSON stay.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    replace(json, |c| is_hazard(c) && !matches!(c, '\n' | '\r' | '\t'), json_form)
}

/// True for what a terminal obeys or hides. The joiners U+200C and U+200D and the variation selectors up to U+FE0F stay:
/// Persian, Indic scripts and emoji need them.
fn is_hazard(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'                        // soft hyphen
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction
            | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' // no width
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // blank letters
            | '\u{2028}' | '\u{2029}'       // line breaks
            | '\u{fff9}'..='\u{fffb}'       // annotations
            | '\u{1d173}'..='\u{1d17a}'     // musical control
            | '\u{e0000}'..='\u{e0fff}' // tags and further selectors, which can carry a hidden text
        )
}

fn replace(text: &str, is_bad: impl Fn(char) -> bool, show: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let Some(first) = text.find(&is_bad) else { return Cow::Borrowed(text) };
    let (clean, rest) = text.split_at(first);
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(clean);
    for c in rest.chars() {
        if is_bad(c) { show(c, &mut shown) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// `\n`, `\u{1b}`, `\u{202e}`.
fn rust_form(c: char, shown: &mut String) {
    match c {
        '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
        c => shown.extend(c.escape_unicode()),
    }
}

fn json_form(c: char, shown: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a string cannot fail.
        let _ = write!(shown, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_not_copied() {
        for text in ["", "plain", "Größe 寿司 🍣 👩‍💻 می‌خواهم ❤️", r"back\slash"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_a_terminal_obeys_or_hides_is_shown() {
        for (text, shown) in [
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("\0\u{7f}", r"\u{0}\u{7f}"),
            ("one\ntwo\r\n\tthree", r"one\ntwo\r\n\tthree"),
            ("user\u{202e}nimda", r"user\u{202e}nimda"),
            ("a\u{2066}b\u{2069}\u{200f}", r"a\u{2066}b\u{2069}\u{200f}"),
            ("pass\u{200b}word\u{feff}", r"pass\u{200b}word\u{feff}"),
            ("hi\u{e0041}\u{e0100}", r"hi\u{e0041}\u{e0100}"),
        ] {
            assert_eq!(escape(text), shown);
        }
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(escape_lines("a\n\tb\r\n\u{1b}[m"), "a\n\tb\\r\n\\u{1b}[m");
    }

    #[test]
    fn json_keeps_its_value() {
        let value = serde_json::json!({"a": "\u{202e}x\u{7f}\u{9b}\u{e0041}\u{1b}\n", "b": ["寿司"]});
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let safe = escape_json(&json);
            assert!(!safe.chars().any(|c| is_hazard(c) && c != '\n'), "{safe}");
            assert!(safe.contains("寿司") && safe.contains(r"\udb40\udc41"), "{safe}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }
}
