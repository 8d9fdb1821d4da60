//! What the addresses that are asked are put together from.

use serde::Serialize;
use serde_json::Value;

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    // A space in a path is `%20`, not `+`.
    encoded.replace('+', "%20")
}

/// The members of an object as a query string.
pub(super) fn query(object: &impl Serialize) -> anyhow::Result<String> {
    let Value::Object(members) = serde_json::to_value(object)? else { return Ok(String::new()) };
    let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = members.into_iter().map(|(name, value)| (name, text(value)));
    Ok(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_is_one_segment() {
        for (text, encoded) in [("s-1", "s-1"), ("support 7/ä", "support%207%2F%C3%A4"), ("1+1?#%", "1%2B1%3F%23%25")]
        {
            assert_eq!(segment(text), encoded);
        }
    }

    #[test]
    fn members_become_a_query() {
        assert_eq!(
            query(&json!({ "q": "a b&c", "limit": 5, "newest": true })).unwrap(),
            "limit=5&newest=true&q=a+b%26c"
        );
        assert_eq!(query(&json!({})).unwrap(), "");
    }
}
