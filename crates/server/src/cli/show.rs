//! `onrecord show` and `onrecord stats`.

use std::io::Write as _;

use serde_json::Value;

use super::client::Client;
use super::media;
use super::uri::segment;
use crate::engine::Stats;
use crate::terminal::{bytes, count, duration, escape, print_json, stdout};

pub(super) async fn show(client: &Client, record: &str, json: bool) -> anyhow::Result<()> {
    let mut record = read(client, record).await?;
    let mut out = stdout();
    if json {
        return Ok(print_json(&format!("{record:#}"))?);
    }
    media::elide(&mut record);
    Ok(write!(out, "{}", text(&record))?)
}

/// One record, as the API has it.
pub(super) async fn read(client: &Client, record: &str) -> anyhow::Result<Value> {
    client.json(&format!("/api/v1/calls/{}", segment(record))).await
}

/// Everything about one record, for people.
fn text(record: &Value) -> String {
    let of = |name: &str| record[name].as_str().map(|text| escape(text).into_owned()).unwrap_or_default();
    let mut out = format!("{} {} at leaf {}\n", of("kind"), of("id"), record["leaf_index"]);
    out += &format!(
        "  began      {}\n  committed  {}\n  leaf hash  {}\n",
        of("captured_at"),
        of("committed_at"),
        of("leaf_hash")
    );
    for reference in record["refs"].as_array().into_iter().flatten() {
        out += &format!(
            "  refers to  {} {}\n",
            reference["rel"].as_str().unwrap_or_default(),
            reference["id"].as_str().unwrap_or_default()
        );
    }
    // In the order of the record, which the JSON object has lost.
    for group in onrecord_proof::Group::ALL.map(onrecord_proof::Group::name) {
        let Some(content) = record["groups"].get(group) else { continue };
        out += &format!("\n{group}\n");
        for line in fields(content) {
            out += &format!("  {line}\n");
        }
    }
    out
}

/// Names and values, one field a line; longer texts stand below their name.
pub(super) fn fields(content: &Value) -> Vec<String> {
    let Value::Object(fields) = content else { return vec![escape(&content.to_string()).into_owned()] };
    let width = fields.keys().map(String::len).max().unwrap_or(0).min(36);
    fields.iter().flat_map(|(name, value)| field(name, value, width)).collect()
}

fn field(name: &str, value: &Value, width: usize) -> Vec<String> {
    let text = match value {
        Value::String(text) => pretty_json(text).unwrap_or_else(|| text.clone()),
        other => other.to_string(),
    };
    if text.len() <= 100 && !text.contains('\n') {
        return vec![format!("{:width$}  {}", escape(name), escape(&text))];
    }
    let lines = text.lines().map(|line| format!("    {}", escape(line)));
    std::iter::once(escape(name).into_owned()).chain(lines).collect()
}

/// A body that is JSON, with line breaks. Only for reading: numbers and order are those of the body, except that names
/// are sorted and media is only named; `--json` has the body as it was.
fn pretty_json(text: &str) -> Option<String> {
    let opens = text.trim_start().starts_with(['{', '[']);
    let value: Value = opens.then(|| serde_json::from_str(text).ok())??;
    serde_json::to_string_pretty(&value).ok()
}

pub(super) async fn stats(client: &Client, json: bool) -> anyhow::Result<()> {
    let mut out = stdout();
    if json {
        return Ok(print_json(&format!("{:#}", client.json::<Value>("/api/v1/stats").await?))?);
    }
    let stats: Stats = client.json("/api/v1/stats").await?;
    writeln!(out, "log          {}", escape(&stats.origin))?;
    writeln!(out, "public key   {}", escape(&stats.key))?;
    writeln!(out, "data         {}", escape(&stats.data))?;
    writeln!(
        out,
        "records      {} ({} under the last checkpoint, {} in the lake)",
        count(stats.records),
        count(stats.checkpoint_size),
        count(stats.sealed_records)
    )?;
    writeln!(out, "open calls   {}", stats.open_calls)?;
    writeln!(out, "lake         {} in {} files", bytes(stats.lake_bytes), stats.lake_files)?;
    writeln!(out, "table        {}", escape(&stats.table))?;
    if let Some(why) = &stats.sealing_stands_still {
        writeln!(out, "sealing      stands still, tried again: {}", escape(why))?;
    }
    writeln!(out, "ledger       {}", bytes(stats.ledger_bytes))?;
    writeln!(out, "up           {}", duration(std::time::Duration::from_secs_f64(stats.uptime_seconds)))?;
    writeln!(out, "healthy      {}", if stats.healthy { "yes" } else { "no: the log cannot be written" })?;
    Ok(())
}
