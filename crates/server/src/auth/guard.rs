//! The decision whether a request may go on.

use http::HeaderMap;

use super::header::{in_authorization, presented_token};
use super::role::{Identity, Role};
use super::store::Tokens;

/// Why a request may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// It has no token. Status 401.
    #[error("an access token is needed, in the header x-onrecord-token or as Authorization: Bearer onr_…")]
    Missing,
    /// It has one that nobody was given, or that was revoked. Status 401.
    #[error("this access token is not known or was revoked")]
    Unknown,
    /// Its token allows other things. Status 403.
    #[error("this access token has the role {has}, and this needs the role {needed}")]
    Role {
        /// The token's role.
        has: Role,
        /// The role that would do; so would admin.
        needed: Role,
    },
}

impl Tokens {
    /// Who makes the request, if they may do what needs `needed`. While there are no tokens, everybody may.
    pub(crate) fn authorize(&self, headers: &HeaderMap, needed: Role) -> Result<Identity, Denied> {
        let identity = if self.is_empty() {
            Identity::anonymous()
        } else {
            let presented = presented_token(headers).ok_or(Denied::Missing)?;
            self.verify(presented).ok_or(Denied::Unknown)?
        };
        let has = identity.role;
        if !has.allows(needed) {
            return Err(Denied::Role { has, needed });
        }
        Ok(Identity { token_in_authorization: in_authorization(headers), ..identity })
    }
}
