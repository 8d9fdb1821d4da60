//! `onrecord forward`.

use std::io::Write as _;
use std::time::Duration;

use super::client::Client;
use super::options::ForwardCommand;
use crate::shipping::Status;
use crate::terminal::{Cell, Column, Terminal, count, duration, print_json, stdout, table};

pub(super) async fn forward(client: &Client, command: ForwardCommand) -> anyhow::Result<()> {
    let ForwardCommand::Status { json } = command;
    let destinations: Vec<Status> = client.json("/api/v1/forward").await?;
    if json {
        return Ok(print_json(&serde_json::to_string_pretty(&destinations)?)?);
    }
    let mut out = stdout();
    if destinations.is_empty() {
        writeln!(out, "Nothing is forwarded; a [[forward]] in the configuration names where to.")?;
        return Ok(());
    }
    let number = |name: &'static str| Column::new(name).right();
    let columns = vec![
        Column::new("name"),
        Column::new("to"),
        Column::new("content"),
        number("taken"),
        number("refused"),
        number("behind"),
        number("by"),
        Column::new("state").cut_to(30),
    ];
    let rows: Vec<_> = destinations.iter().map(row).collect();
    Ok(write!(out, "{}", table(columns, &rows, Terminal::stdout()))?)
}

fn row(status: &Status) -> Vec<Cell> {
    let state = match (&status.error, &status.failing_since, status.running) {
        (Some(error), Some(since), _) => format!("fails since {since}: {error}"),
        (_, _, false) => "no server is running".to_owned(),
        _ => "good".to_owned(),
    };
    let behind = match status.lag_records {
        0 => String::new(),
        _ => duration(Duration::from_secs_f64(status.lag_seconds)),
    };
    let address = status.address.clone();
    let numbers = [status.sent, status.refused, status.lag_records].map(|number| Cell::from(count(number)));
    let mut row = [status.name.clone(), address, status.content.clone()].map(Cell::from).to_vec();
    row.extend(numbers);
    row.extend([behind, state].map(Cell::from));
    row
}
