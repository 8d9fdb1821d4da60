//! `onrecord erase`, `onrecord hold` and `onrecord retention`.

use std::io::Write as _;

use serde_json::{Value, json};

use super::client::Client;
use super::options::{EraseArgs, HoldCommand, RetentionCommand};
use crate::engine::{Hold, Outcome, PlanLine};
use crate::terminal::{Cell, Column, Terminal, bytes, escape, print_json, stdout, table};

pub(super) async fn erase(client: &Client, args: EraseArgs) -> anyhow::Result<()> {
    let EraseArgs { condition, table, fields, reason, by, dry_run, json } = args;
    let ask = json!({
        "where": condition, "table": table, "fields": fields, "reason": reason, "by": by, "dry_run": dry_run,
    });
    let outcome: Outcome = client.post_json("/api/v1/erase", &ask).await?;
    if json {
        return Ok(print_json(&serde_json::to_string_pretty(&outcome)?)?);
    }
    let Outcome {
        records, groups, payload_bytes, disposals, files, bytes_before, bytes_after, old_versions_stay, ..
    } = outcome;
    let (groups, size) = (groups.join(", "), bytes(payload_bytes));
    let mut out = stdout();
    if dry_run {
        writeln!(out, "{records} records would lose {groups}: bodies of {size}. Nothing was erased.")?;
    } else if disposals.is_empty() {
        writeln!(out, "No record has anything of {groups} to erase.")?;
    } else {
        let leaves = disposals.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        writeln!(
            out,
            "ERASED  {groups} of {records} records, as the disposal at leaf {leaves} says: bodies of {size}"
        )?;
        let (before, after) = (bytes(bytes_before), bytes(bytes_after));
        writeln!(
            out,
            "{files} data files were written again, {before} before and {after} now; the old ones are {}.",
            if old_versions_stay { "old versions in the bucket, until a rule of it removes them" } else { "gone" }
        )?;
    }
    Ok(())
}

pub(super) async fn hold(client: &Client, command: HoldCommand) -> anyhow::Result<()> {
    let mut out = stdout();
    match command {
        HoldCommand::Add { condition, table, reason, by } => {
            let ask = json!({ "where": condition, "table": table, "reason": reason, "by": by });
            let answer: Value = client.post_json("/api/v1/holds", &ask).await?;
            let id = answer["hold"]["id"].as_str().unwrap_or_default();
            writeln!(
                out,
                "{id}\nThe hold is in force. It covers {} records now, and every later one that fits.",
                answer["records"]
            )?;
        }
        HoldCommand::List { json: true } => {
            let holds: Vec<Hold> = client.json("/api/v1/holds").await?;
            print_json(&serde_json::to_string_pretty(&holds)?)?;
        }
        HoldCommand::List { json: false } => {
            let holds: Vec<Hold> = client.json("/api/v1/holds").await?;
            let columns = ["id", "since", "by", "table", "where", "reason"].map(Column::new).to_vec();
            let row = |hold: &Hold| -> Vec<Cell> {
                let by = hold.by.as_ref().unwrap_or(&hold.principal);
                [&hold.id.to_string(), &hold.since, by, &hold.table, &hold.condition, &hold.reason]
                    .map(|text| text.clone().into())
                    .to_vec()
            };
            let rows: Vec<_> = holds.iter().map(row).collect();
            write!(out, "{}", table(columns, &rows, Terminal::stdout()))?;
        }
        HoldCommand::Release { id } => {
            let hold: Hold = client.post_json(&format!("/api/v1/holds/{id}/release"), &json!({})).await?;
            writeln!(out, "The hold {} is over: {}", hold.id, escape(&hold.reason))?;
        }
    }
    Ok(())
}

pub(super) async fn retention(client: &Client, command: RetentionCommand) -> anyhow::Result<()> {
    let (lines, json): (Vec<PlanLine>, bool) = match command {
        RetentionCommand::Plan { ahead, json } => {
            (client.json(&format!("/api/v1/retention?ahead_days={ahead}")).await?, json)
        }
        RetentionCommand::Run { json } => (client.post_json("/api/v1/retention/run", &json!({})).await?, json),
    };
    if json {
        return Ok(print_json(&serde_json::to_string_pretty(&lines)?)?);
    }
    let mut columns = vec![Column::new("rule"), Column::new("disposes of"), Column::new("after days").right()];
    columns.extend(["records", "bodies", "held"].map(|name| Column::new(name).right()));
    columns.push(Column::new("disposal at leaf"));
    let row = |line: &PlanLine| -> Vec<Cell> {
        let leaves = line.disposals.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let (days, records, held) = (line.after_days.to_string(), line.records.to_string(), line.held.to_string());
        [line.rule.clone(), line.what.clone(), days, records, bytes(line.payload_bytes), held, leaves]
            .map(Cell::from)
            .to_vec()
    };
    let rows: Vec<_> = lines.iter().map(row).collect();
    Ok(write!(stdout(), "{}", table(columns, &rows, Terminal::stdout()))?)
}
