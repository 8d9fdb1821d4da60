//! What may still be kept of an answer, shared by all of its parts.

/// A value of which an answer has one, such as why it ended, is short up to here, in bytes.
const SHORT: usize = 1 << 10;

/// So many bytes of what an answer says, and as many of what is told of its tokens: with alternatives that is a hundred
/// times as much as the text, and must not take its place.
#[derive(Debug)]
pub(crate) struct Budget {
    said: Room,
    tokens: Room,
}

/// A number of bytes that is left. Once something did not fit nothing more is taken, so that what is kept of each
/// text is a prefix of it.
#[derive(Debug, Clone, Copy)]
struct Room {
    left: usize,
    cut: bool,
}

impl Budget {
    pub(crate) const fn new(bytes: usize) -> Self {
        let room = Room { left: bytes, cut: false };
        Self { said: room, tokens: room }
    }

    /// True if something did not fit.
    pub(crate) const fn is_cut(&self) -> bool {
        self.said.cut || self.tokens.cut
    }

    /// Takes nothing more of what is said.
    pub(crate) const fn cut(&mut self) {
        self.said.cut = true;
    }

    /// Takes `bytes`, if there are so many.
    pub(crate) const fn take(&mut self, bytes: usize) -> bool {
        self.said.take(bytes)
    }

    /// The same for what is told token by token.
    pub(crate) const fn take_tokens(&mut self, bytes: usize) -> bool {
        self.tokens.take(bytes)
    }

    /// Gives `old` bytes back and takes `new` ones; if they do not fit the old ones stay taken.
    pub(crate) const fn exchange(&mut self, old: usize, new: usize) -> bool {
        let Room { left, cut } = &mut self.said;
        *cut |= new.saturating_sub(old) > *left;
        if !*cut {
            *left = left.saturating_add(old) - new;
        }
        !*cut
    }

    /// Sets a value of which there is one, in the place of the old one. A short one costs nothing: why an answer ended, and
    /// how long it took, is known of one that was cut too.
    pub(crate) fn set(&mut self, known: &mut Option<String>, new: &str) {
        let old = known.as_ref().map_or(0, String::len);
        if new.len() <= SHORT || self.exchange(if old <= SHORT { 0 } else { old }, new.len()) {
            new.clone_into(known.get_or_insert_default());
        }
    }

    /// Appends `piece` to `text`, or as many of its characters as fit.
    pub(crate) fn append(&mut self, text: &mut String, piece: &str) {
        let Room { left, cut } = &mut self.said;
        if *cut {
            return;
        }
        let fitting = &piece[..piece.floor_char_boundary(*left)];
        *left -= fitting.len();
        *cut = fitting.len() < piece.len();
        text.push_str(fitting);
    }
}

impl Room {
    const fn take(&mut self, bytes: usize) -> bool {
        self.cut |= bytes > self.left;
        if !self.cut {
            self.left -= bytes;
        }
        !self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_stays_a_prefix() {
        let (mut budget, mut text) = (Budget::new(4), String::new());
        for piece in ["ab", "üüü", "c"] {
            budget.append(&mut text, piece);
        }
        assert_eq!((text.as_str(), budget.is_cut()), ("abü", true));
        assert!(!budget.take(0) && !budget.exchange(5, 1), "nothing is taken after a cut");
    }

    #[test]
    fn an_exchange_pays_the_difference() {
        let mut budget = Budget::new(10);
        assert!(budget.take(6) && budget.exchange(6, 9) && budget.take(1));
        assert!(!budget.exchange(9, 10) && budget.is_cut());
    }

    #[test]
    fn tokens_take_no_room_of_what_is_said_and_neither_takes_that_of_short_values() {
        let (mut budget, mut known) = (Budget::new(4), None);
        assert!(budget.take_tokens(3) && !budget.take_tokens(2) && !budget.take_tokens(1), "a prefix of them");
        assert!(budget.take(4) && !budget.take(1) && budget.is_cut());
        budget.set(&mut known, "stop");
        budget.set(&mut known, &"x".repeat(SHORT + 1));
        assert_eq!(known.as_deref(), Some("stop"));
    }

    #[test]
    fn a_long_value_pays_the_difference_to_the_one_before() {
        let (mut budget, mut known) = (Budget::new(SHORT + 10), None);
        for bytes in [1, SHORT + 5, SHORT + 9, SHORT + 2] {
            budget.set(&mut known, &"x".repeat(bytes));
            assert_eq!(known.as_ref().map(String::len), Some(bytes));
        }
        assert!(budget.take(8) && !budget.take(1));
    }
}
