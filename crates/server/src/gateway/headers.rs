//! Headers on their way through: which are ours, which end at each hop, what they say about a call.

use http::header::{
    AUTHORIZATION, CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use onrecord_proof::{Map, Record, field};

/// The session or conversation.
pub(crate) const SESSION: HeaderName = HeaderName::from_static("x-onrecord-session");
/// The caller's id of the request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-onrecord-request-id");
/// The caller's tags, `key=value` separated by commas.
pub(crate) const TAGS: HeaderName = HeaderName::from_static("x-onrecord-tags");
/// The end user.
pub(crate) const USER: HeaderName = HeaderName::from_static("x-onrecord-user");
/// The id of the record, in every answer.
pub(crate) const ID: HeaderName = HeaderName::from_static("x-onrecord-id");
/// The leaf index of the record, where the answer waits for it.
pub(crate) const LEAF: HeaderName = HeaderName::from_static("x-onrecord-leaf");

/// What went wrong, in a word, where the gateway itself answers.
pub(crate) const ERROR: HeaderName = HeaderName::from_static("x-onrecord-error");
/// The model servers whose models are missing from a list, because they did not give theirs.
pub(crate) const MISSING: HeaderName = HeaderName::from_static("x-onrecord-missing");

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const OURS: &str = "x-onrecord-";

/// A text that came in a header is kept up to here, in bytes; the limit on the whole head is the configuration's.
const TEXT_MAX: usize = 512;
const TAGS_MAX: usize = 64;

/// Fields that concern one hop only (RFC 9110 §7.6.1, and older ones that are still seen). `Trailer` is none of them: it
/// announces what follows the body, which is passed on.
const HOP: [HeaderName; 8] =
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE];

/// Removes what ends at this hop (RFC 9110 §7.6.1): `Connection`, what it names, and the other hop-by-hop fields.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<HeaderName> =
        named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
}

/// The headers that the client gets: without what ends here, and without the place in the log of a gateway behind this one.
pub(crate) fn for_client(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(LEAF);
}

/// The headers that the model server gets: without ours, without what ends here, with its own `Host`, and with the key
/// from the configuration if there is one. `Authorization` goes if it held one of our tokens.
pub(crate) fn for_upstream(
    headers: &mut HeaderMap,
    host: &HeaderValue,
    key: Option<&HeaderValue>,
    token_in_authorization: bool,
) {
    strip_hop_by_hop(headers);
    if headers.keys().any(|name| name.as_str().starts_with(OURS)) {
        let ours: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect();
        for name in ours {
            headers.remove(name);
        }
    }
    // The gateway has already answered 100-continue; the body follows at once.
    headers.remove(EXPECT);
    headers.insert(HOST, host.clone());
    if token_in_authorization {
        headers.remove(AUTHORIZATION);
    }
    if let Some(key) = key {
        headers.insert(AUTHORIZATION, key.clone());
    }
}

/// True if the caller has an id of its own for the request.
pub(crate) fn has_request_id(headers: &HeaderMap) -> bool {
    headers.contains_key(REQUEST_ID) || headers.contains_key(X_REQUEST_ID)
}

/// Puts into the record what the headers of a request say: session, request id, tags, user, trace.
pub(crate) fn describe(headers: &HeaderMap, record: &mut Record) {
    if let Some(session) = text(headers, &SESSION) {
        record.set(&field::SESSION, session);
    }
    if let Some(user) = text(headers, &USER) {
        record.set(&field::USER_ID, user);
    }
    if let Some(agent) = text(headers, &http::header::USER_AGENT) {
        record.set(&field::USER_AGENT, agent);
    }
    // Most calls declare nothing, and one look at each name is enough for those.
    for name in onrecord_capture::DECLARED {
        if let Some(value) = headers.get(name) {
            onrecord_capture::declare(name, &String::from_utf8_lossy(value.as_bytes()), record);
        }
    }
    let request_id = text(headers, &REQUEST_ID).or_else(|| text(headers, &X_REQUEST_ID));
    record.set(&field::REQUEST_ID, request_id.unwrap_or_else(|| record.id.simple().to_string()));
    let tags = text(headers, &TAGS).map(|tags| parse_tags(&tags)).unwrap_or_default();
    if !tags.is_empty() {
        record.set(&field::TAGS, tags);
    }
    if let Some((trace, parent)) = headers.get(TRACEPARENT).and_then(|value| trace_parent(value.to_str().ok()?)) {
        record.set(&field::TRACE_ID, trace);
        record.set(&field::PARENT_SPAN_ID, parent);
    }
}

/// The text of a header; bytes that are not UTF-8 are replaced, and what is too long is cut.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned();
    let end = (0..=TEXT_MAX.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
    Some(value[..end].trim().to_owned()).filter(|text| !text.is_empty())
}

/// `team=support, beta` → `{team: "support", beta: ""}`.
fn parse_tags(tags: &str) -> Map {
    let pairs = tags.split(',').map(|tag| tag.split_once('=').unwrap_or((tag, "")));
    let named = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim())).filter(|(key, _)| !key.is_empty());
    named.take(TAGS_MAX).collect()
}

/// Trace id and parent id of a W3C `traceparent`.
fn trace_parent(value: &str) -> Option<(&str, &str)> {
    let hex = |text: &str, len: usize| {
        text.len() == len
            && text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
            && text.bytes().any(|b| b != b'0')
    };
    let mut parts = value.trim().split('-');
    let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
    (version.len() == 2 && version != "ff" && hex(trace, 32) && hex(parent, 16)).then_some((trace, parent))
}

#[cfg(test)]
mod tests {
    use onrecord_proof::Kind;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_ends_here_and_what_is_ours_is_not_forwarded() {
        let mut map = headers(&[
            ("connection", "close, X-Drop"),
            ("connection", "x-drop-too"),
            ("x-drop", "1"),
            ("x-drop-too", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("host", "gateway"),
            ("x-onrecord-session", "s"),
            ("x-onrecord-token", "t"),
            ("authorization", "Bearer model"),
            ("accept", "*/*"),
            ("traceparent", "00-a-b-01"),
            ("expect", "100-continue"),
        ]);
        for_upstream(&mut map, &"model:80".parse().unwrap(), None, false);
        let mut left: Vec<_> = map.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["accept: */*", "authorization: Bearer model", "host: model:80", "traceparent: 00-a-b-01"]);
        for_upstream(&mut map, &"model:80".parse().unwrap(), Some(&"Bearer ours".parse().unwrap()), true);
        assert_eq!(map[AUTHORIZATION], "Bearer ours");
    }

    #[test]
    fn what_a_gateway_behind_says_of_its_log_is_not_said_of_this_one() {
        let mut map =
            headers(&[("x-onrecord-leaf", "7"), ("connection", "close"), ("content-type", "text/event-stream")]);
        for_client(&mut map);
        assert_eq!(map.keys().collect::<Vec<_>>(), [&http::header::CONTENT_TYPE]);
    }

    #[test]
    fn headers_describe_the_call() {
        let mut record = Record::new(uuid::Uuid::nil(), Kind::Interaction, 0, [0; 32]);
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let map = headers(&[
            ("x-onrecord-session", " s1 "),
            ("x-request-id", "r1"),
            ("x-onrecord-tags", "team=support,beta,=x"),
            ("traceparent", trace),
        ]);
        describe(&map, &mut record);
        assert_eq!(record.text(&field::SESSION), Some("s1"));
        assert_eq!(record.text(&field::REQUEST_ID), Some("r1"));
        assert_eq!(record.text(&field::TRACE_ID), Some("0af7651916cd43dd8448eb211c80319c"));
        let tags = record.get(&field::TAGS).and_then(|tags| tags.as_map()).unwrap();
        assert_eq!((tags.len(), tags.get("team").and_then(|v| v.as_text())), (2, Some("support")));
    }

    #[test]
    fn without_a_request_id_one_is_made_and_bad_traces_are_ignored() {
        let mut record = Record::new(uuid::Uuid::max(), Kind::Interaction, 0, [0; 32]);
        describe(&headers(&[("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01")]), &mut record);
        assert_eq!(record.text(&field::REQUEST_ID), Some("ffffffffffffffffffffffffffffffff"));
        assert_eq!(record.text(&field::TRACE_ID), None);
    }
}
