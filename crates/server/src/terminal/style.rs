//! A little color where it helps to find something, and none where it would be in the way.

/// How a text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Headings.
    Bold,
    /// What went wrong.
    Red,
    /// What was checked and is right.
    Green,
    /// What to look at.
    Yellow,
}

/// Applies styles, or leaves the text alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    enabled: bool,
}

impl Style {
    /// The parameter of the Select Graphic Rendition sequence (ECMA-48 §8.3.117).
    fn code(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
        }
    }
}

impl Paint {
    /// With `enabled` false, nothing is colored.
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled }
    }

    /// `text`, which must be escaped already, in `style`.
    pub(crate) fn apply(self, style: Style, text: &str) -> String {
        if self.enabled { format!("\u{1b}[{}m{text}\u{1b}[0m", style.code()) } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_apply_where_they_are_enabled() {
        assert_eq!(Paint::new(true).apply(Style::Red, "no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(Paint::new(false).apply(Style::Red, "no"), "no");
    }
}
