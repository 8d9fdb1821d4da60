//! What can go wrong, and what to do.

use std::io;

/// Why the recorder cannot be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log says why.
    #[error(transparent)]
    Log(#[from] onrecord_ledger::Error),
    /// There is no thread to be had.
    #[error("the thread that writes steps cannot be started: {0}; the system limits threads (`ulimit -u`, `pids.max`)")]
    Thread(#[source] io::Error),
    /// Records need secrets that nobody can guess.
    #[error("the system gives no random numbers: {0}; the process needs the call `getrandom` or the file /dev/urandom")]
    Random(String),
}
