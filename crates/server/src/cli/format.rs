//! How calls look in a table.

use std::time::Duration;

use crate::engine::Summary;
use crate::terminal::{Cell, Column, Layout, Style, Terminal, clock_of, duration};

const NOTHING: &str = "–";

/// The columns of a table of calls. Rows that are printed as they come find room for usual values.
fn columns() -> Vec<Column> {
    vec![
        Column::new("time").room(19),
        Column::new("id").room(36),
        Column::new("session").room(10).cut_to(8),
        Column::new("model").room(10).cut_to(10),
        Column::new("in").right().room(5),
        Column::new("out").right().room(5),
        Column::new("first").right().room(7),
        Column::new("total").right().room(7),
        Column::new("outcome"),
    ]
}

/// Prints tables of calls whose rows come one after the other.
pub(crate) struct Calls(Layout);

impl Calls {
    /// A table with room for `calls` and more to come.
    pub(crate) fn for_rows(calls: &[Summary]) -> Self {
        let rows: Vec<_> = calls.iter().map(row).collect();
        Self(Layout::fit(columns(), &rows, Terminal::stdout()))
    }

    /// The line with the titles.
    pub(crate) fn header(&self) -> String {
        self.0.header()
    }

    /// The line of a call.
    pub(crate) fn line(&self, call: &Summary) -> String {
        self.0.row(&row(call))
    }
}

fn row(call: &Summary) -> Vec<Cell> {
    let number = |n: Option<i64>| n.map_or_else(|| NOTHING.to_owned(), |n| n.to_string()).into();
    let millis = |ms: Option<f64>| {
        ms.map_or_else(|| NOTHING.to_owned(), |ms| duration(Duration::from_secs_f64(ms.max(0.0) / 1e3))).into()
    };
    let what = call.model.clone().or_else(|| Some(format!("{} {}", call.method.as_deref()?, call.path.as_deref()?)));
    vec![
        clock_of(&call.time).into(),
        call.id.clone().into(),
        call.session.as_deref().unwrap_or(NOTHING).into(),
        what.as_deref().unwrap_or(NOTHING).into(),
        number(call.input_tokens),
        number(call.output_tokens),
        millis(call.first_token_ms),
        millis(call.duration_ms),
        outcome(call),
    ]
}

/// How it ended, in a few words: `completed (stop)`, `completed 400`, `client_disconnected`.
fn outcome(call: &Summary) -> Cell {
    let outcome = call.outcome.as_deref().unwrap_or(NOTHING);
    let failed = call.status.is_some_and(|status| status >= 400) || outcome == "upstream_error";
    let text: Cell = match (&call.finish_reasons, call.status) {
        (Some(reasons), _) if !reasons.is_empty() && outcome == "completed" => {
            format!("completed ({})", reasons.join(", "))
        }
        (_, Some(status)) if status >= 400 => format!("{outcome} {status}"),
        _ => outcome.to_owned(),
    }
    .into();
    match outcome {
        _ if failed => text.styled(Style::Red),
        "completed" => text,
        _ => text.styled(Style::Yellow),
    }
}
