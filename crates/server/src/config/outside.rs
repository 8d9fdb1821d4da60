//! `[key]`, `[[witness]]`, `[witnesses]` and `[anchor]`.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use onrecord_proof::note::Verifier;

use super::keys::{self, Anchor, Witness, Witnesses};
use super::raw::Raw;
use crate::outside::WitnessSettings;

/// Where the copy of the last checkpoint is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AnchorPlace {
    File(PathBuf),
    Url(Url),
}

/// The copy of the last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnchorSettings {
    /// None if there is no copy.
    pub(crate) place: Option<AnchorPlace>,
    /// How often it is written at most.
    pub(crate) every: Duration,
}

impl Anchor {
    /// None if there is a problem.
    pub(super) fn settings(self, raw: &mut Raw) -> Option<AnchorSettings> {
        let Self { path, url, interval: every } = self;
        let place = match (path, url) {
            (Some(_), Some(_)) => {
                raw.conflict("anchor.url", "`path` is set too", "keep one of the two");
                return None;
            }
            (path, url) => path.map(AnchorPlace::File).or(url.map(AnchorPlace::Url)),
        };
        Some(AnchorSettings { place, every })
    }
}

/// Who has the log's secret key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SigningKey {
    /// The folder of the log.
    Folder,
    /// The environment variable of this name.
    Environment(String),
    /// What this command asks.
    Command { command: Vec<String>, public: Box<Verifier> },
}

impl keys::SigningKey {
    /// None if there is a problem.
    pub(super) fn holder(self, raw: &mut Raw) -> Option<SigningKey> {
        let (key, reason, remedy) = match (self.env, self.command, self.public) {
            (None, None, None) => return Some(SigningKey::Folder),
            (Some(name), None, None) => return Some(SigningKey::Environment(name)),
            (None, Some(command), Some(public)) if !command.is_empty() => {
                return Some(SigningKey::Command { command, public: Box::new(public) });
            }
            (None, Some(_), _) => ("key.command", "it is empty, or has no `public` beside it", "set `public` too"),
            (Some(_), Some(_), _) => ("key.command", "`env` is set too", "keep one of the two"),
            (_, None, Some(_)) => ("key.public", "there is no `command` beside it", "set `command` too, or neither"),
        };
        raw.conflict(key, reason, remedy);
        None
    }
}

/// The witnesses, of which there may be none. None if there is a problem.
pub(super) fn witnesses(raw: &mut Raw, how: Option<Witnesses>) -> Option<WitnessSettings> {
    let titles = raw.entries(Witness::SECTION.name);
    // All entries are read before the first one fails, so that every problem is reported.
    let entries: Vec<_> = titles.iter().map(|title| entry(raw, title)).collect();
    let witnesses: Vec<_> = entries.into_iter().collect::<Option<_>>()?;
    let Witnesses { quorum, interval, timeout } = how?;
    for (at, (_, key, _)) in witnesses.iter().enumerate() {
        if witnesses[..at].iter().any(|(_, other, _)| other.is_key_of(key)) {
            let place = format!("{}.key", titles[at]);
            raw.conflict(&place, "another witness has this key", "name each witness once");
            return None;
        }
    }
    let count = witnesses.len();
    if quorum.is_some_and(|quorum| quorum > count && count > 0) {
        let reason = format!("there are only {count} [[witness]] entries");
        raw.conflict("witnesses.quorum", &reason, "lower it, or add witnesses");
        return None;
    }
    let quorum = quorum.unwrap_or(count / 2 + 1);
    Some(WitnessSettings { witnesses, quorum, every: interval, patience: timeout })
}

fn entry(raw: &mut Raw, title: &str) -> Option<(String, onrecord_proof::cosignature::Witness, String)> {
    let Witness { name, key, url } = Witness::check(raw, title)?;
    for (what, is_set, example) in [
        ("key", key.is_some(), "key = \"example.org/witness+1b4fb1d1+BPhy…\""),
        ("url", url.is_some(), "url = \"https://witness.example.org\""),
    ] {
        if !is_set {
            raw.missing(title, what, example);
        }
    }
    let (key, url) = key.zip(url)?;
    Some((name.unwrap_or_else(|| key.name().to_owned()), key, url.into()))
}
