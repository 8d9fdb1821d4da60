//! What a caller may do, and as whom.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Calls to the model through the gateway.
    Call,
    /// Records that are sent in from elsewhere.
    Ingest,
    /// Queries, exports and proofs.
    Read,
    /// All of it, and changes to the log's operation.
    Admin,
}

impl Role {
    /// True if a token with this role may do what needs `needed`.
    pub(crate) fn allows(self, needed: Self) -> bool {
        self == Self::Admin || self == needed
    }

    /// The role's name in the token file and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Who makes a request, as it goes on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The token's name.
    pub(crate) name: String,
    /// The token's role.
    pub(crate) role: Role,
    /// The token's id, since names can repeat; none if there was no token.
    pub(crate) token: Option<String>,
    /// True if the request's `Authorization` held a token of ours, so that it must not reach the model server.
    pub(crate) token_in_authorization: bool,
}

impl Identity {
    /// The name that no token can have.
    pub(crate) const ANONYMOUS: &'static str = "anonymous";

    /// Everybody, where there are no tokens.
    pub(crate) fn anonymous() -> Self {
        Self::named(Self::ANONYMOUS)
    }

    /// Somebody who is trusted without a token and may do everything.
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), role: Role::Admin, token: None, token_in_authorization: false }
    }
}
