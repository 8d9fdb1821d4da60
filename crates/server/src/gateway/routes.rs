//! Which model server a call goes to: by the prefix of its path, else by the model that it asks for, else the default.

use std::sync::Arc;

use super::model_server::{Upstream, below};

/// All model servers.
pub(crate) struct Routes {
    upstreams: Vec<Arc<Upstream>>,
    /// Those with a path prefix, the longest first.
    prefixed: Vec<Arc<Upstream>>,
    /// Takes what no other is for: the first that lists neither models nor a prefix.
    default: Option<Arc<Upstream>>,
    /// True if some list models.
    by_model: bool,
}

impl Routes {
    /// At least one model server.
    pub(crate) fn new(upstreams: Vec<Upstream>) -> anyhow::Result<Self> {
        let upstreams: Vec<_> = upstreams.into_iter().map(Arc::new).collect();
        anyhow::ensure!(!upstreams.is_empty(), "there is no model server");
        let prefix = |upstream: &Arc<Upstream>| upstream.settings.path_prefix.clone();
        let mut prefixed: Vec<_> = upstreams.iter().filter(|one| prefix(one).is_some()).cloned().collect();
        prefixed.sort_by_key(|upstream| std::cmp::Reverse(prefix(upstream).map_or(0, |prefix| prefix.len())));
        let default = upstreams.iter().find(|one| one.settings.models.is_empty() && prefix(one).is_none()).cloned();
        let by_model = upstreams.iter().any(|one| !one.settings.models.is_empty());
        Ok(Self { upstreams, prefixed, default, by_model })
    }

    /// All of them, by their number.
    pub(crate) fn all(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    /// Those that a model's name leads to; more than one where it is the name that decides.
    pub(crate) fn sharing(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        let is_default = |one: &&Arc<Upstream>| self.default.as_ref().is_some_and(|all| Arc::ptr_eq(all, one));
        self.upstreams.iter().filter(move |one| !one.settings.models.is_empty() || is_default(one))
    }

    /// Where a call with this path goes, if that does not depend on its model.
    pub(crate) fn by_path(&self, path: &str) -> Option<&Arc<Upstream>> {
        let of = |one: &&Arc<Upstream>| one.settings.path_prefix.as_ref().is_some_and(|p| below(path, p).is_some());
        let known = self.prefixed.iter().find(of);
        if self.by_model { known } else { known.or(self.default.as_ref()) }
    }

    /// Where a call for this model goes; one that names none goes to the default, else to the first. None if nobody
    /// serves the model.
    pub(crate) fn by_model(&self, model: Option<&str>) -> Option<&Arc<Upstream>> {
        let Some(model) = model else { return self.default.as_ref().or_else(|| self.upstreams.first()) };
        self.upstreams.iter().find(|one| one.serves(model)).or(self.default.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::ServerKind;
    use crate::gateway::{Glob, UpstreamSettings};

    /// Model servers `name models prefix`, `-` for none.
    fn routes(servers: &[&str]) -> Routes {
        let upstreams = servers.iter().enumerate().map(|(number, server)| {
            let [name, models, prefix] = server.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let settings = UpstreamSettings {
                name: name.into(),
                url: "http://127.0.0.1:1".parse().unwrap(),
                key: None,
                kind: ServerKind::Auto,
                decisions: 0,
                models: models.split(',').filter(|pattern| *pattern != "-").map(Glob::new).collect(),
                path_prefix: Some(prefix.to_owned()).filter(|prefix| prefix != "-"),
            };
            Upstream::new(number, settings, Duration::from_secs(1)).unwrap()
        });
        Routes::new(upstreams.collect()).unwrap()
    }

    #[track_caller]
    fn check(routes: &Routes, path: &str, model: Option<&str>, expect: &str) {
        let found = routes.by_path(path).or_else(|| routes.by_model(model));
        assert_eq!(found.map_or("-", |upstream| &upstream.settings.name), expect, "{path} {model:?}");
    }

    #[test]
    fn prefix_before_model_before_default() {
        let routes = routes(&["big qwen3*,x -", "rest - -", "gpu llama* /gpu", "b - /gpu/b"]);
        check(&routes, "/v1/chat/completions", Some("qwen3:8b"), "big");
        check(&routes, "/v1/chat/completions", Some("llama3"), "gpu");
        check(&routes, "/v1/chat/completions", Some("other"), "rest");
        check(&routes, "/v1/models", None, "rest");
        check(&routes, "/gpu/v1/chat/completions", Some("x"), "gpu");
        check(&routes, "/gpu/b/v1/chat/completions", Some("x"), "b");
        check(&routes, "/gpux", Some("x"), "big");
    }

    #[test]
    fn without_a_default_an_unknown_model_goes_nowhere() {
        let routes = routes(&["a a* -", "b b* -"]);
        check(&routes, "/v1/chat/completions", Some("c"), "-");
        check(&routes, "/health", None, "a");
    }

    #[test]
    fn one_takes_everything_by_its_path() {
        let routes = routes(&["one - -"]);
        assert!(routes.by_path("/").is_some());
    }
}
