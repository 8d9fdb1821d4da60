//! The tokens of a data folder, followed while they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;

use super::file::{self, TokenError};
use super::role::{Identity, Role};
use super::token::{Token, TokenText, split};
use crate::watch::{INTERVAL, Pace, Stamp};

/// The longest name of a token, in characters; it stands in every record of its calls.
const NAME_MAX: usize = 64;

/// The tokens of a data folder. They are read again when the file changes, so that a running server follows
/// `onrecord token create` and `revoke` within a second.
#[derive(Debug)]
pub(crate) struct Tokens {
    folder: PathBuf,
    pace: Pace,
    /// Replaced whole; held only to copy the pointer.
    known: RwLock<Known>,
}

#[derive(Debug)]
pub(super) struct Known {
    /// The file as it was last read. Only what was read counts: after a failure the next look tries again.
    stamp: Option<Stamp>,
    pub(super) tokens: Arc<Vec<Token>>,
    /// It was said that the file cannot be read.
    is_told: bool,
}

impl Tokens {
    /// The tokens in `folder`, of which there are none if it does not exist.
    pub(crate) fn load(folder: &Path) -> Result<Self, TokenError> {
        Self::load_every(folder, Pace::new(INTERVAL))
    }

    pub(super) fn load_every(folder: &Path, pace: Pace) -> Result<Self, TokenError> {
        let known = RwLock::new(Known::read(folder)?);
        Ok(Self { folder: folder.to_owned(), pace, known })
    }

    /// Makes a token. Its text is in the result and nowhere else.
    pub(crate) fn create(&self, name: &str, role: Role) -> Result<(Token, TokenText), TokenError> {
        check_name(name)?;
        let made = file::change(&self.folder, |tokens| {
            let (token, text) = Token::generate(name, role).map_err(TokenError::Random)?;
            tokens.push(token.clone());
            Ok((token, text))
        })?;
        self.reload();
        Ok(made)
    }

    /// Ends a token's use. It stays in the list.
    pub(crate) fn revoke(&self, id: &str) -> Result<Token, TokenError> {
        let revoked = file::change(&self.folder, |tokens| {
            let token = tokens.iter_mut().find(|token| token.id == id && token.revoked.is_none());
            let token = token.ok_or_else(|| TokenError::NoSuchToken(id.to_owned()))?;
            token.revoked = Some(Timestamp::now());
            Ok(token.clone())
        })?;
        self.reload();
        Ok(revoked)
    }

    /// All tokens in the order of their creation, also the revoked ones.
    pub(crate) fn list(&self) -> Arc<Vec<Token>> {
        self.current()
    }

    /// True if there never was a token. Once there is one, this stays false until the program ends.
    pub(crate) fn is_empty(&self) -> bool {
        self.current().is_empty()
    }

    /// Whose token was presented; none if it is nobody's or was revoked. The id is looked up openly, since it is no
    /// secret; the secret is compared in constant time.
    pub(crate) fn verify(&self, presented: &str) -> Option<Identity> {
        let (id, secret) = split(presented)?;
        self.current().iter().find(|token| token.id == id && token.accepts(secret)).map(Token::identity)
    }

    fn current(&self) -> Arc<Vec<Token>> {
        if self.pace.is_due() {
            self.reload();
        }
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner).tokens)
    }

    fn reload(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&file::path(&self.folder));
        known.follow(stamp, || file::read(&self.folder));
    }
}

impl Known {
    pub(super) fn read(folder: &Path) -> Result<Self, TokenError> {
        let stamp = Stamp::of(&file::path(folder));
        Ok(Self { stamp, tokens: Arc::new(file::read(folder)?), is_told: false })
    }

    /// Takes over what is in the file if it has changed. A file that has vanished or cannot be read changes nothing: access
    /// neither opens nor closes by accident.
    pub(super) fn follow(&mut self, stamp: Option<Stamp>, read: impl FnOnce() -> Result<Vec<Token>, TokenError>) {
        if stamp == self.stamp {
            return;
        }
        let problem = match read() {
            Ok(tokens) if tokens.is_empty() && !self.tokens.is_empty() => "the file has none any more".to_owned(),
            Ok(tokens) => {
                (self.stamp, self.tokens, self.is_told) = (stamp, Arc::new(tokens), false);
                return;
            }
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(
                problem,
                "the access tokens cannot be read; the old ones stay in use, and it is tried again"
            );
        }
    }
}

fn check_name(name: &str) -> Result<(), TokenError> {
    let reason = match name {
        "" => "it is empty",
        Identity::ANONYMOUS => "it stands for callers without a token",
        _ if name.chars().count() > NAME_MAX => "it has more than 64 characters",
        _ if name.chars().any(char::is_control) => "it has control characters",
        _ => return Ok(()),
    };
    Err(TokenError::BadName { name: name.to_owned(), reason })
}
