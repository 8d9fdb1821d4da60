//! What may still be kept of an answer, shared by all of its parts.

/// A number of bytes that is left. Once something did not fit nothing more is taken, so that what is kept of each
/// text is a prefix of it.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
    cut: bool,
}

impl Budget {
    pub(crate) const fn new(bytes: usize) -> Self {
        Self { left: bytes, cut: false }
    }

    /// True if something did not fit.
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// Takes nothing more.
    pub(crate) const fn cut(&mut self) {
        self.cut = true;
    }

    /// Takes `bytes`, if there are so many.
    pub(crate) const fn take(&mut self, bytes: usize) -> bool {
        self.cut |= bytes > self.left;
        if !self.cut {
            self.left -= bytes;
        }
        !self.cut
    }

    /// Gives `old` bytes back and takes `new` ones; if they do not fit the old ones stay taken.
    pub(crate) const fn exchange(&mut self, old: usize, new: usize) -> bool {
        let fits = new.saturating_sub(old) <= self.left;
        self.cut |= !fits;
        if !self.cut {
            self.left = self.left.saturating_add(old) - new;
        }
        !self.cut
    }

    /// Appends `piece` to `text`, or as many of its characters as fit.
    pub(crate) fn append(&mut self, text: &mut String, piece: &str) {
        if self.cut {
            return;
        }
        let fitting = &piece[..piece.floor_char_boundary(self.left)];
        self.left -= fitting.len();
        self.cut = fitting.len() < piece.len();
        text.push_str(fitting);
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
}
