//! Standard error: what is said beside the result. Nobody need read it, and if nobody can, nothing else fails for that,
//! where `eprintln!` would panic.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

/// Writes a line to standard error.
pub(crate) fn note(line: impl Display) {
    // As one write, so that lines of several threads do not mix.
    drop(io::stderr().write_all(format!("{line}\n").as_bytes()));
}

/// Shows how far something is, if somebody looks on, in the place of what was shown before.
pub(crate) fn show_progress(state: impl Display) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        drop(stderr.write_all(format!("\r\x1b[2K{state}").as_bytes()));
    }
}

/// Removes what was shown of it.
pub(crate) fn clear_progress() {
    show_progress("");
}
