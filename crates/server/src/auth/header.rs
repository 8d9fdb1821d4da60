//! Where a request carries its token.

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use subtle::ConstantTimeEq as _;

use super::token::PREFIX;

/// The header that holds nothing but the token, so that `Authorization` stays free for the model server's key.
pub(crate) const TOKEN_HEADER: &str = "x-onrecord-token";

/// The token that a request presents: the value of `x-onrecord-token`, or else of an `Authorization: Bearer` that
/// starts like one of our tokens. Any other `Authorization` is the model server's.
pub(crate) fn presented_token(headers: &HeaderMap) -> Option<&str> {
    match headers.get(TOKEN_HEADER) {
        Some(value) => value.to_str().ok().map(str::trim),
        None => headers.get_all(AUTHORIZATION).iter().find_map(our_bearer),
    }
}

/// True if the request presents exactly `expected`, a secret other than an access token. Compared in constant time.
pub(crate) fn is_token(headers: &HeaderMap, expected: &str) -> bool {
    let same = |presented: &str| bool::from(presented.as_bytes().ct_eq(expected.as_bytes()));
    !expected.is_empty() && presented_token(headers).is_some_and(same)
}

/// True if `Authorization` holds a token of ours, used or not, which must not reach the model server.
pub(super) fn in_authorization(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).iter().any(|value| our_bearer(value).is_some())
}

/// The scheme's name is case-insensitive (RFC 9110 §11.1).
fn our_bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.trim_start().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.starts_with(PREFIX)).then_some(token)
}

/// Ends of names that no page on the internet has: reserved for one machine or network (RFC 6761, RFC 6762, RFC 8375, and
/// `internal` by ICANN). Containers reach their host as `host.docker.internal`.
const LOCAL_NAMES: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];

/// Without tokens a server answers to its own machine only, and not to a web page that has its name point there (DNS
/// rebinding): such a request names another host. An error says what to do.
pub(crate) fn names_this_machine(headers: &HeaderMap) -> Result<(), String> {
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    if host.is_empty() || address.is_ok() || is_local(name) {
        return Ok(());
    }
    Err(format!("the host {host:?} is not this machine; use its address, or create a token (`onrecord token create`)"))
}

/// True of names that nobody can have on the internet: without a dot, or with a reserved end.
fn is_local(name: &str) -> bool {
    let ends_so = |name: &str| LOCAL_NAMES.iter().any(|end| name.len() > end.len() && name.ends_with(end));
    !name.contains('.') || ends_so(&name.to_ascii_lowercase())
}
