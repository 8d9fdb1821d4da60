//! From tokens to text that may be shown: whole characters only, and nothing of a stop string.

/// Joins token bytes into text. A token may hold part of a character; that part waits for the rest.
#[derive(Default)]
pub(crate) struct Utf8Joiner {
    /// At most three bytes: the start of a character.
    pending: Vec<u8>,
}

impl Utf8Joiner {
    /// The characters that are whole now. Bytes that cannot become one read as U+FFFD.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let whole = self.pending.len() - incomplete(&self.pending);
        let rest = self.pending.split_off(whole);
        let whole = std::mem::replace(&mut self.pending, rest);
        String::from_utf8_lossy(&whole).into_owned()
    }

    /// What is left when no more bytes come: nothing, or U+FFFD for half a character.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// The length of the unfinished character at the end of `bytes`, 0 to 3.
fn incomplete(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let invalid = last.map_or(&[][..], |chunk| chunk.invalid());
    // Only a sequence that ends too early, not one that is wrong, has no error length.
    match std::str::from_utf8(invalid) {
        Err(error) if error.error_len().is_none() => invalid.len(),
        _ => 0,
    }
}

/// Lets text through up to the first stop string, holding back what could be the start of one.
pub(crate) struct StopGate {
    stop: Vec<String>,
    held: String,
    /// A stop string was met; nothing comes through any more.
    stopped: bool,
}

/// What came through, and whether a stop string was met behind it.
#[derive(Debug, PartialEq)]
pub(crate) struct Released {
    pub(crate) text: String,
    pub(crate) stopped: bool,
}

impl StopGate {
    pub(crate) fn new(stop: &[String]) -> Self {
        let stop = stop.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stop, held: String::new(), stopped: false }
    }

    pub(crate) fn push(&mut self, text: &str) -> Released {
        if self.stopped {
            return Released { text: String::new(), stopped: true };
        }
        self.held.push_str(text);
        if let Some(at) = self.stop.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.held.truncate(at);
            self.stopped = true;
            return Released { text: std::mem::take(&mut self.held), stopped: true };
        }
        let safe = self.held.len() - partial_match(&self.held, self.stop.iter().map(String::as_str));
        let rest = self.held.split_off(safe);
        Released { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// What was held back for nothing.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The length of the longest end of `text` with which one of the `patterns` starts.
pub(crate) fn partial_match<'a>(text: &str, patterns: impl Iterator<Item = &'a str>) -> usize {
    let longest = |pattern: &str| {
        let starts = pattern.char_indices().map(|(at, _)| &pattern[..at]);
        starts.filter(|start| text.ends_with(start)).map(str::len).max()
    };
    patterns.filter_map(longest).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_out_whole() {
        let mut joiner = Utf8Joiner::default();
        let out: Vec<String> = "aé你🙂".bytes().map(|byte| joiner.push(&[byte])).collect();
        assert_eq!(out, ["a", "", "é", "", "", "你", "", "", "", "🙂"]);
        assert_eq!(joiner.finish(), "");
    }

    #[test]
    fn broken_bytes_become_replacement_characters() {
        let mut joiner = Utf8Joiner::default();
        assert_eq!(joiner.push(&[0xFF, b'a', 0xE4, 0xBD]), "\u{fffd}a");
        assert_eq!(joiner.push(b"b"), "\u{fffd}b");
        assert_eq!(joiner.push(&[0xF0, 0x9F]), "");
        assert_eq!(joiner.finish(), "\u{fffd}");
    }

    fn gate(stop: &[&str], parts: &[&str]) -> (Vec<String>, bool, String) {
        let stop: Vec<String> = stop.iter().map(ToString::to_string).collect();
        let mut gate = StopGate::new(&stop);
        let mut out = Vec::new();
        for part in parts {
            let released = gate.push(part);
            out.push(released.text);
            if released.stopped {
                return (out, true, gate.finish());
            }
        }
        (out, false, gate.finish())
    }

    #[test]
    fn a_stop_string_may_span_tokens() {
        let (out, stopped, rest) = gate(&["\n\nUser:"], &["Hi", "\n", "\nUs", "er: x", "y"]);
        assert_eq!((out.concat().as_str(), stopped, rest.as_str()), ("Hi", true, ""));
    }

    #[test]
    fn a_false_start_is_let_go() {
        let (out, stopped, rest) = gate(&["aab"], &["a", "a", "a", "c", "aa"]);
        assert_eq!(out, ["", "", "a", "aac", ""]);
        assert_eq!((stopped, rest.as_str()), (false, "aa"));
    }

    #[test]
    fn the_first_of_several_stops_wins() {
        let (out, stopped, _) = gate(&["three", "two", ""], &["one two three"]);
        assert_eq!((out, stopped), (vec!["one ".to_owned()], true));
    }

    #[test]
    fn partial_matches_respect_characters() {
        let check = |text, pattern, expect| assert_eq!(partial_match(text, std::iter::once(pattern)), expect);
        check("x你", "你好", 3);
        check("x", "你好", 0);
        check("<th", "<think>", 3);
        check("<think>", "<think>", 0);
    }
}
