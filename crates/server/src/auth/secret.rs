//! Values whose name says that they are secret, which are never stored.

use std::borrow::Cow;

/// Stands for a secret.
pub(crate) const MASK: &str = "***";
/// How the names of secrets end, without dashes and lower-case.
const SECRETS: [&str; 14] = [
    "key",
    "keys",
    "apikey",
    "token",
    "accesstoken",
    "secret",
    "secrets",
    "password",
    "passwords",
    "passwd",
    "auth",
    "credential",
    "credentials",
    "signature",
];

/// True of `--api-key`, `HF_TOKEN` and the like; not of `--max-tokens`, `--tokenizer` or `--api-key-file`.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase();
    name.rsplit(['-', '_']).next().is_some_and(|last| SECRETS.contains(&last))
}

/// The query of a URL without the values of secret parameters.
pub(crate) fn masked_query(query: &str) -> Cow<'_, str> {
    let secret = |pair: &str| pair.split_once('=').is_some_and(|(name, value)| !value.is_empty() && is_secret(name));
    if !query.split('&').any(secret) {
        return query.into();
    }
    let mask = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if secret(pair) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(mask).collect::<Vec<_>>().join("&").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_keeps_its_form_and_loses_its_secrets() {
        for (query, expect) in [
            ("", ""),
            ("x=1&max_tokens=5&beta", "x=1&max_tokens=5&beta"),
            ("token=t&x=1&api_key=a=b&key=", "token=***&x=1&api_key=***&key="),
            ("apiKey=k&access_token=t&accessToken=t", "apiKey=***&access_token=***&accessToken=***"),
        ] {
            assert_eq!(masked_query(query), expect);
        }
        assert!(!is_secret("--api-key-file") && !is_secret("--tokenizer") && is_secret("--api-keys"));
    }
}
