//! `[[alert]]`: what its keys can be.

use std::fmt;

use url::Url;

use super::forward::headers;
use super::keys::Alert;
use super::raw::Raw;
use super::value::{Setting, as_text};
use crate::alerts::Rule;

/// Where alerts are posted to. Whoever knows it can post too, so it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct WebhookUrl(pub(crate) Url);

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl(…)")
    }
}

impl Setting for WebhookUrl {
    const SECRET: bool = true;

    fn read(value: &toml::Value) -> Result<Self, String> {
        let url = Url::parse(as_text(value)?).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let bare = url.filter(|url| url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        bare.map(Self)
            .ok_or_else(|| "must be a URL that starts with http:// or https://, without a user name".to_owned())
    }
}

/// An SQL statement. What it names is looked up when the log is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement(String);

impl Setting for Statement {
    fn read(value: &toml::Value) -> Result<Self, String> {
        let text = as_text(value)?.trim();
        if text.is_empty() { Err("must be a statement".to_owned()) } else { Ok(Self(text.to_owned())) }
    }
}

/// Checks every `[[alert]]`, and that each has a name of its own. None if there is a problem.
pub(super) fn check(raw: &mut Raw) -> Option<Vec<Rule>> {
    let titles = raw.entries(Alert::SECTION.name);
    // All entries are read before the first one fails, so that every problem is reported.
    let rules: Vec<_> =
        titles.iter().map(|title| Alert::check(raw, title).and_then(|one| one.rule(raw, title))).collect();
    let rules: Vec<_> = rules.into_iter().collect::<Option<_>>()?;
    let names = titles.iter().zip(rules.iter().map(|one| &one.name));
    raw.own_names("alert", names).then_some(rules)
}

impl Alert {
    fn rule(self, raw: &mut Raw, title: &str) -> Option<Rule> {
        if self.name.is_none() {
            raw.missing(title, "name", "name = \"failures\"");
        }
        if self.query.is_none() {
            raw.missing(title, "query", "query = \"SELECT id, model FROM interactions WHERE …\"");
        }
        Some(Rule {
            name: self.name?.0,
            query: self.query?.0,
            every: self.interval,
            webhook: self.webhook,
            headers: headers(self.headers, self.headers_env, self.headers_file),
        })
    }
}
