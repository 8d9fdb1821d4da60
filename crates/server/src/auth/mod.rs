//! Who may do what: access tokens, the roles they give, and the check of a request's headers.
//!
//! While no token was ever created, everybody who can connect is [`Identity::anonymous`], which is why a server without
//! tokens only listens on loopback. From the first token on, every request needs one. Revoked tokens stay in the file, so
//! that revoking the last one does not open the log to everybody, and an old record's name can still be looked up.

mod file;
mod guard;
mod header;
mod role;
mod secret;
mod store;
mod token;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's own files")]
mod tests;

pub(crate) use guard::Denied;
pub(crate) use header::{is_token, names_this_machine};
pub(crate) use role::{Identity, Role};
pub(crate) use secret::{MASK, is_secret, masked_query};
pub(crate) use store::Tokens;
pub(crate) use token::Token;
