//! What a server tells of how it was started can have its keys in it. They are not put on record.

use serde_json::Value as Json;

use super::Told;

/// A name that has one of these in it is that of a secret.
const SECRETS: [&str; 3] = ["api_key", "hf_token", "password"];
const NOT_KEPT: &str = "not kept";

/// The answer byte for byte, unless it has secrets in it. `None` if it is no JSON, in which nobody can look for them.
pub(super) fn without(told: &Told) -> Option<Told> {
    let mut json = serde_json::from_slice(&told.body).ok()?;
    let mut kept = told.clone();
    if take_out(&mut json) {
        kept.body = json.to_string().into_bytes();
    }
    Some(kept)
}

/// Takes secrets out, at any depth; true if there was one.
fn take_out(json: &mut Json) -> bool {
    match json {
        Json::Object(members) => {
            members.iter_mut().fold(false, |found, (name, value)| take_out_of_member(name, value) | found)
        }
        Json::Array(items) => {
            let found = take_out_of_arguments(items);
            items.iter_mut().fold(found, |found, item| take_out(item) | found)
        }
        _ => false,
    }
}

fn take_out_of_member(name: &str, value: &mut Json) -> bool {
    match value {
        Json::Null => false,
        _ if is_secret(name) => {
            *value = NOT_KEPT.into();
            true
        }
        // A router of llama.cpp tells the lines of a configuration file.
        Json::String(lines) if name == "preset" => take_out_of_lines(lines),
        _ => take_out(value),
    }
}

/// Of a command line: an option with its value, or followed by it.
fn take_out_of_arguments(arguments: &mut [Json]) -> bool {
    let (mut found, mut is_value) = (false, false);
    for argument in arguments {
        let Json::String(text) = argument else { continue };
        let (name, value) = text.split_once('=').map_or((&**text, None), |(name, value)| (name, Some(value)));
        let is_option = name.starts_with('-') && is_secret(name);
        let kept = match value {
            _ if is_value => NOT_KEPT.to_owned(),
            Some(_) if is_option => format!("{name}={NOT_KEPT}"),
            _ => {
                is_value = is_option;
                continue;
            }
        };
        (*text, found, is_value) = (kept, true, false);
    }
    found
}

/// Of lines that are `name = value`.
fn take_out_of_lines(lines: &mut String) -> bool {
    let is_secret = |line: &str| line.split_once('=').is_some_and(|(name, _)| is_secret(name));
    if !lines.lines().any(is_secret) {
        return false;
    }
    let kept = lines.lines().map(|line| match line.split_once('=') {
        Some((name, _)) if is_secret(line) => format!("{name}= {NOT_KEPT}"),
        _ => line.to_owned(),
    });
    *lines = kept.collect::<Vec<_>>().join("\n");
    true
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    SECRETS.iter().any(|secret| name.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::super::Ask;
    use super::*;

    fn kept(body: &str) -> Option<String> {
        let told = without(&Told { ask: Ask::get("/"), body: body.into() })?;
        Some(String::from_utf8(told.body).unwrap())
    }

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        for (body, expect) in [
            (
                r#"{"api_key":"sk","x":[{"admin_api_key":{"a":1}}]}"#,
                r#"{"api_key":"not kept","x":[{"admin_api_key":"not kept"}]}"#,
            ),
            (
                r#"["s","--api-key","sk","--hf-token=hf","-c","1"]"#,
                r#"["s","--api-key","not kept","--hf-token=not kept","-c","1"]"#,
            ),
            (
                r#"{"preset":"[a]\nhf-token = hf\nctx-size = 1"}"#,
                r#"{"preset":"[a]\nhf-token = not kept\nctx-size = 1"}"#,
            ),
        ] {
            assert_eq!(kept(body).as_deref(), Some(expect));
        }
    }

    #[test]
    fn what_has_none_stays_as_it_came() {
        for body in
            [r#"{ "b": 1.0, "api_key":null,"a":["--port","1","api_key"] }"#, r#"{"preset":"ctx-size = 1\n\n"}"#, "[]"]
        {
            assert_eq!(kept(body).as_deref(), Some(body));
        }
        assert_eq!(kept(r#"{"api_key":"sk","x":NaN}"#), None);
    }
}
