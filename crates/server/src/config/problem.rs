//! What can be wrong with a configuration, said so that it can be put right.

use std::fmt;
use std::path::PathBuf;

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, thiserror::Error)]
pub(crate) struct ConfigError(pub(crate) Vec<Problem>);

/// One mistake: where it is, what it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where the value was written; nowhere if it is missing.
    pub(crate) place: Option<Place>,
    /// What is wrong, with key and value.
    pub(crate) what: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A configuration file, and the line in it, counted from 1.
    File {
        /// The file's path.
        path: PathBuf,
        /// The line; none if the file as a whole is meant.
        line: Option<usize>,
    },
    /// A command-line flag.
    Flag(&'static str),
    /// An environment variable.
    Environment(String),
    /// Nobody set it.
    Default,
}

impl Problem {
    pub(super) fn new(place: Option<Place>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, what: what.into(), remedy: remedy.into() }
    }

    pub(super) fn no_upstream() -> Self {
        let remedy = "start with `--upstream http://127.0.0.1:11434` (the address of your model server), \
                      or set `upstream` in [gateway], or add an [[upstream]]";
        Self::new(None, "`gateway.upstream` is not set: there is no model server to forward to", remedy)
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        // A question is its own separator: "unknown key …, did you mean …?"
        match self.remedy.as_str() {
            question if question.ends_with('?') => write!(f, "{}, {question}", self.what),
            remedy => write!(f, "{}; {remedy}", self.what),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Flag(name) => f.write_str(name),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}
