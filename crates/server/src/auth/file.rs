//! `tokens.json` in the data folder: read whole, replaced whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::token::Token;

const FILE_NAME: &str = "tokens.json";
const LOCK_NAME: &str = "tokens.lock";
const VERSION: u32 = 1;

/// Why tokens could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The file system refused.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is not what was written.
    #[error(
        "{} is damaged ({error}); restore it from a backup, or delete it and create every token anew", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// The file is from a later version of the program.
    #[error("{} has version {found}, but this program knows version {VERSION} only; use a newer onrecord", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The name cannot stand in a record.
    #[error("`{}` cannot be a token's name: {reason}", name.escape_debug())]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No token in use has the id.
    #[error("there is no token `{}` in use; `onrecord token list` shows the ids", .0.escape_debug())]
    NoSuchToken(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    tokens: Vec<Token>,
}

/// Read first, so that a file of a later version is called that and not damaged.
#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

/// The tokens in the file; none if there is no file.
pub(super) fn read(folder: &Path) -> Result<Vec<Token>, TokenError> {
    let path = path(folder);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TokenError::Io { action: "read", path, error }),
    };
    match serde_json::from_slice::<VersionOnly>(&bytes) {
        Ok(VersionOnly { version: found }) if found > VERSION => Err(TokenError::Newer { path, found }),
        _ => match serde_json::from_slice::<Content>(&bytes) {
            Ok(content) => Ok(content.tokens),
            Err(error) => Err(TokenError::Damaged { path, error }),
        },
    }
}

/// Reads the tokens, changes them and replaces the file. The lock makes two processes that do so take turns; it is a
/// file of its own because the other one is replaced, and it ends with the process.
pub(super) fn change<T>(
    folder: &Path,
    change: impl FnOnce(&mut Vec<Token>) -> Result<T, TokenError>,
) -> Result<T, TokenError> {
    let lock = folder.join(LOCK_NAME);
    let held = take(folder, &lock).map_err(|error| TokenError::Io { action: "lock", path: lock, error })?;
    let mut tokens = read(folder)?;
    let result = change(&mut tokens)?;
    let path = path(folder);
    let content = serde_json::to_vec_pretty(&Content { version: VERSION, tokens });
    let written = content.map_err(io::Error::from).and_then(|content| replace(folder, &path, &content));
    written.map_err(|error| TokenError::Io { action: "write", path, error })?;
    drop(held);
    Ok(result)
}

#[expect(clippy::disallowed_methods, reason = "the lock file holds no data")]
fn take(folder: &Path, lock: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock)?;
    file.lock()?;
    Ok(file)
}

/// A crash leaves the old file or the new one, never a part of either: the new
/// one is durable before it takes the name, and the name before the caller is told.
#[expect(clippy::disallowed_methods, reason = "the one place where token files are written")]
fn replace(folder: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    // A rest of an earlier crash may have another mode, which opening would keep.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}
