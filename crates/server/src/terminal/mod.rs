//! Text for people: tables, units and times, and above all nothing of a model's or a client's text that a terminal
//! would obey instead of show.

mod escape;
mod format;
mod new_file;
mod stderr;
mod stdout;
mod style;
mod table;

use std::io::{self, IsTerminal as _};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Telemetry};

pub(crate) use escape::{Escape, escape, escape_json, escape_lines};
pub(crate) use format::{bytes, clock, clock_of, count, duration};
pub(crate) use new_file::NewFile;
pub(crate) use stderr::{clear_progress, note, show_progress};
pub(crate) use stdout::{Escaping, is_broken_pipe, print_json, print_line, stdout};
pub(crate) use style::Style;
pub(crate) use table::{Cell, Column, Layout, table};

use style::Paint;

/// The width where there is no terminal to ask: a file or another program gets every column whole.
const WIDTH: usize = 250;

/// What standard output is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Columns of a line.
    pub(crate) width: usize,
    /// Colors, if it shows them.
    pub(crate) paint: Paint,
}

impl Terminal {
    /// Looks at standard output and at NO_COLOR (<https://no-color.org>).
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let interactive = stdout.is_terminal();
        let columns = || rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        let width = interactive.then(columns).flatten().filter(|columns| *columns > 0).unwrap_or(WIDTH);
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { width, paint: Paint::new(interactive && wanted) }
    }
}

/// Sends the program's own messages to standard error, as the configuration says.
pub(crate) fn log_to_stderr(telemetry: &Telemetry) {
    // The libraries below say at `info` what is of use to their own authors.
    let libraries = telemetry.level.min(LevelFilter::WARN);
    let ours = ["onrecord", "onrecord_ledger", "onrecord_lake", "onrecord_capture", "onrecord_demo_model"];
    let ours = ours.iter().map(|name| format!("{name}={}", telemetry.level));
    let filter = EnvFilter::new(std::iter::once(libraries.to_string()).chain(ours).collect::<Vec<_>>().join(","));
    let log =
        tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).with_env_filter(filter);
    // Whoever set one up first keeps it.
    let set = match telemetry.format {
        LogFormat::Text => log.with_target(false).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    drop(set);
}
