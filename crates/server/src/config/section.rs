//! How a section is declared: key, documentation, type, default and limits in one place.

use std::fmt;

/// One `[section]` of the file; the keys before the first section have the name "".
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) keys: &'static [Key],
    /// True if it can be there several times, as `[[section]]`.
    pub(super) repeated: bool,
}

impl Section {
    /// How it is begun in the file.
    pub(super) fn title(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }
}

/// One key as the example file shows it.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Lines with the space that followed their `///`.
    pub(super) doc: &'static str,
    pub(super) preset: Preset,
}

/// A key's value where nobody sets it, or an example if it then has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preset {
    pub(super) value: Literal,
    /// False: the key is unset by default and `value` only shows how to set it.
    pub(super) is_default: bool,
    /// Least and most, both allowed.
    pub(super) range: Option<(Literal, Literal)>,
}

/// A value that can be written in a constant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Literal {
    Text(&'static str),
    Number(i64),
    Flag(bool),
    Texts(&'static [&'static str]),
}

pub(super) const fn text(value: &'static str) -> Preset {
    Preset { value: Literal::Text(value), is_default: true, range: None }
}

pub(super) const fn number(value: i64) -> Preset {
    Preset { value: Literal::Number(value), is_default: true, range: None }
}

pub(super) const fn flag(value: bool) -> Preset {
    Preset { value: Literal::Flag(value), is_default: true, range: None }
}

/// A key without a default.
pub(super) const fn unset(example: &'static str) -> Preset {
    Preset { value: Literal::Text(example), is_default: false, range: None }
}

/// A key without a default whose value is a number.
pub(super) const fn unset_number(example: i64) -> Preset {
    Preset { value: Literal::Number(example), is_default: false, range: None }
}

/// A key without a default whose value is a list.
pub(super) const fn unset_list(example: &'static [&'static str]) -> Preset {
    Preset { value: Literal::Texts(example), is_default: false, range: None }
}

impl Preset {
    /// Limits a duration or a size.
    pub(super) const fn between(self, least: &'static str, most: &'static str) -> Self {
        Self { range: Some((Literal::Text(least), Literal::Text(most))), ..self }
    }

    /// Limits a number.
    pub(super) const fn within(self, least: i64, most: i64) -> Self {
        Self { range: Some((Literal::Number(least), Literal::Number(most))), ..self }
    }
}

impl From<Literal> for toml::Value {
    fn from(literal: Literal) -> Self {
        match literal {
            Literal::Text(text) => text.into(),
            Literal::Number(number) => number.into(),
            Literal::Flag(flag) => flag.into(),
            Literal::Texts(texts) => texts.to_vec().into(),
        }
    }
}

/// As it stands in the file.
impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        toml::Value::from(*self).fmt(f)
    }
}

/// The key's name as problems and flags use it: `gateway.listen`, or `data` for a key outside of any section.
pub(super) fn full_name(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// A name as it is written; Rust's own words are `r#` in front of it in the program.
pub(super) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Declares a section: its struct, its [`Section`] table and its check. Since all three come from the same lines, a key
/// cannot be documented and not read, or read and not documented.
macro_rules! section {
    ($(#[doc = $about:literal])+ $section:ident = $title:literal $({ repeated: $repeated:literal })? {
        $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $preset:expr;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct $section {
            $($(#[doc = $doc])+ pub(crate) $key: $type,)+
        }

        impl $section {
            pub(super) const SECTION: Section = Section {
                name: $title,
                about: concat!($($about, "\n"),+),
                keys: &[$(Key { name: plain(stringify!($key)), doc: concat!($($doc, "\n"),+), preset: $preset }),+],
                repeated: false $(|| $repeated)?,
            };

            /// `title` is the section's name, or which of those it is that can be there several times. None if a value is
            /// wrong; `raw` then holds the problems.
            pub(super) fn check(raw: &mut Raw, title: &str) -> Option<Self> {
                // All keys are read before the first one fails, so that every problem is reported.
                $(let $key = raw.read::<$type>(title, plain(stringify!($key)), &$preset);)+
                Some(Self { $($key: $key?),+ })
            }
        }
    };
}
pub(super) use section;
