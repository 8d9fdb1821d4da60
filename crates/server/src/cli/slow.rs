//! `onrecord slow`.

use std::io::Write as _;

use super::calls::time;
use super::client::Client;
use super::options::SlowArgs;
use super::uri::query;
use crate::engine::{Outlier, Slow};
use crate::terminal::{Cell, Column, Terminal, clock_of, note, print_json, stdout, table};

pub(super) async fn slow(client: &Client, args: SlowArgs) -> anyhow::Result<()> {
    let SlowArgs { since, until, measure, by, factor, limit, json } = args;
    let since = since.as_deref().map(time).transpose()?;
    let slow = Slow { since, until: until.as_deref().map(time).transpose()?, measure, by, factor, limit };
    let outliers: Vec<Outlier> = client.json(&format!("/api/v1/slow?{}", query(&slow)?)).await?;
    if json {
        return Ok(print_json(&serde_json::to_string_pretty(&outliers)?)?);
    }
    if outliers.is_empty() {
        note(format_args!("no call took more than {factor} times the median of its like"));
        return Ok(());
    }
    let right = |name: &'static str| Column::new(name).right();
    let columns = vec![
        Column::new("time"),
        right("leaf"),
        Column::new("among"),
        right("calls"),
        right("ms"),
        right("median"),
        right("p99"),
        right("times"),
        right("tokens"),
        right("under way"),
        Column::new("outcome"),
    ];
    let rows: Vec<_> = outliers.iter().map(row).collect();
    write!(stdout(), "{}", table(columns, &rows, Terminal::stdout()))?;
    Ok(())
}

fn row(outlier: &Outlier) -> Vec<Cell> {
    let number = |number: Option<i64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
    vec![
        clock_of(&outlier.time).into(),
        outlier.leaf_index.to_string().into(),
        outlier.among.as_deref().unwrap_or("–").into(),
        outlier.calls.to_string().into(),
        format!("{:.1}", outlier.ms).into(),
        format!("{:.1}", outlier.median_ms).into(),
        format!("{:.1}", outlier.p99_ms).into(),
        outlier.times.map_or_else(|| "–".to_owned(), |times| format!("{times:.1}")).into(),
        number(outlier.output_tokens).into(),
        number(outlier.calls_under_way).into(),
        outlier.outcome.as_deref().unwrap_or("–").into(),
    ]
}
