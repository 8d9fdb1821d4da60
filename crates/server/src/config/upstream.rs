//! The model servers: those of the file's `[[upstream]]` entries, those of flags, and the one of `gateway.upstream`.

use std::collections::HashSet;

use url::Url;

use super::keys::{Gateway, Upstream as Entry};
use super::problem::{Place, Problem};
use super::raw::Raw;
use super::value::{PathPrefix, Secret, ServerKind};
use super::{ConfigError, Environment};

/// A model server behind the gateway.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Upstream {
    /// Its name in the records.
    pub(crate) name: String,
    /// `http://` or `https://`, with an optional path that precedes the client's.
    pub(crate) url: Url,
    /// Replaces the client's `Authorization`.
    pub(crate) key: Option<Secret>,
    /// Which server it is.
    pub(crate) kind: ServerKind,
    /// Patterns of the names of its models.
    pub(crate) models: Vec<String>,
    /// Calls whose path begins so go to it.
    pub(crate) path_prefix: Option<PathPrefix>,
    /// How many alternatives for each token the gateway asks for.
    pub(crate) decisions: u8,
}

impl Upstream {
    /// A server without a key that takes every call.
    pub(crate) fn at(url: Url) -> Self {
        let name = url.host_str().unwrap_or("upstream").to_owned();
        Self { name, url, key: None, kind: ServerKind::Auto, models: Vec::new(), path_prefix: None, decisions: 0 }
    }
}

/// Checks every `[[upstream]]` entry, and that no two model servers contradict each other.
pub(super) fn check(raw: &mut Raw, gateway: Option<&Gateway>) -> Option<Vec<Entry>> {
    let titles = raw.entries(Entry::SECTION.name);
    // All entries are read before the first one fails, so that every problem is reported.
    let entries: Vec<_> =
        titles.iter().map(|title| Entry::check(raw, title).filter(|one| complete(one, raw, title))).collect();
    let entries: Vec<_> = entries.into_iter().collect::<Option<_>>()?;
    let mut good = raw.own_names("upstream", titles.iter().zip(entries.iter().map(|entry| &entry.name)));
    let default = gateway.and_then(|gateway| gateway.upstream.clone()).map(|url| Upstream::at(url).name);
    let mut prefixes = HashSet::new();
    for (entry, title) in entries.iter().zip(&titles) {
        if default.is_some() && entry.name.as_ref().map(|name| &name.0) == default.as_ref() {
            let reason = "it is the host of `gateway.upstream`, which has that name in the records";
            raw.conflict(&format!("{title}.name"), reason, "give this one another name");
            good = false;
        }
        if entry.path_prefix.as_ref().is_some_and(|prefix| !prefixes.insert(prefix)) {
            let remedy = "give each a prefix of its own";
            raw.conflict(&format!("{title}.path_prefix"), "another upstream has this prefix", remedy);
            good = false;
        }
    }
    good.then_some(entries)
}

/// True if an entry has what each needs, and one key at most.
fn complete(entry: &Entry, raw: &mut Raw, title: &str) -> bool {
    let mut good = true;
    for (key, is_set, example) in [
        ("name", entry.name.is_some(), "name = \"small\""),
        ("url", entry.url.is_some(), "url = \"http://127.0.0.1:8080\""),
    ] {
        if !is_set {
            raw.missing(title, key, example);
            good = false;
        }
    }
    if entry.key.is_some() && entry.key_env.is_some() {
        raw.conflict(&format!("{title}.key_env"), "`key` is set too", "keep one of the two");
        good = false;
    }
    good
}

/// The model servers with their keys, the one of `gateway.upstream` first.
pub(super) fn all(
    gateway: &Gateway,
    entries: &[Entry],
    environment: Environment<'_>,
) -> Result<Vec<Upstream>, ConfigError> {
    let mut all = Vec::new();
    if let Some(url) = gateway.upstream.clone() {
        let (key, variable) = (gateway.upstream_key.as_ref(), gateway.upstream_key_env.as_deref());
        let key = key_of(key, variable, "gateway.upstream_key_env", environment)?;
        let decisions = u8::try_from(gateway.decisions).unwrap_or(u8::MAX);
        all.push(Upstream { key, decisions, ..Upstream::at(url) });
    }
    for (number, entry) in entries.iter().enumerate() {
        let (Some(name), Some(url)) = (&entry.name, &entry.url) else { continue };
        let place = format!("upstream[{}].key_env", number + 1);
        all.push(Upstream {
            name: name.0.clone(),
            url: url.clone(),
            key: key_of(entry.key.as_ref(), entry.key_env.as_deref(), &place, environment)?,
            kind: entry.kind,
            models: entry.models.clone().unwrap_or_default(),
            path_prefix: entry.path_prefix.clone(),
            decisions: u8::try_from(entry.decisions).unwrap_or(u8::MAX),
        });
    }
    if all.is_empty() { Err(Problem::no_upstream().into()) } else { Ok(all) }
}

fn key_of(
    key: Option<&Secret>,
    variable: Option<&str>,
    named_by: &str,
    environment: Environment<'_>,
) -> Result<Option<Secret>, Problem> {
    match (key, variable) {
        (Some(key), _) => Ok(Some(key.clone())),
        (None, Some(name)) => Secret::from_environment(name, named_by, environment(name)).map(Some),
        (None, None) => Ok(None),
    }
}

/// Takes in an `--upstream`: a URL is the one of `gateway.upstream`; NAME=URL is the URL of the entry with this name, or a
/// further model server that is reached below `/NAME`.
pub(super) fn add_flag(raw: &mut Raw, text: &str) {
    let place = Place::Flag("--upstream");
    match text.split_once('=').filter(|(name, _)| !name.contains([':', '/'])) {
        None => raw.set("gateway.upstream", text, place),
        Some((name, url)) => {
            let title = raw.entry_named(Entry::SECTION.name, name).unwrap_or_else(|| {
                let title = raw.add_entry(Entry::SECTION.name, place.clone());
                raw.set(&format!("{title}.name"), name, place.clone());
                raw.set(&format!("{title}.path_prefix"), &format!("/{name}"), place.clone());
                title
            });
            raw.set(&format!("{title}.url"), url, place);
        }
    }
}
