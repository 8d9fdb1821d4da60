//! `onrecord verify` and `fsck`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use serde_json::{Value, json};

use super::NOT_GOOD;
use super::calls::Lines;
use super::client::{Client, Remote, no_log_in};
use super::options::FsckArgs;
use crate::config::Config;
use crate::engine::{self, Phase, Progress, Report, check_offline};
use crate::server;
use crate::terminal::{Style, Terminal, clear_progress, escape, show_progress};

/// Characters of the progress bar.
const BAR: u64 = 30;

pub(super) async fn verify(config: &Config, remote: Remote, json: bool) -> anyhow::Result<ExitCode> {
    let running = remote.url.is_some() || server::contact(&config.data).is_some();
    if !running {
        no_log_in(&config.data)?;
        // A folder that nobody has open is first checked as it is: what is wrong with it may keep it from opening.
        let progress: Progress = Arc::new(show_phase);
        let report = check_offline(&config.data, &progress).await;
        clear_progress();
        let report = report?;
        if !report.ok {
            return print(&report, json);
        }
    }
    let client = Client::connect(config, remote).await?;
    let report = ask(&client).await;
    client.close().await?;
    print(&report?, json)
}

pub(super) async fn fsck(config: &Config, args: FsckArgs) -> anyhow::Result<ExitCode> {
    no_log_in(&config.data)?;
    let progress: Progress = Arc::new(show_phase);
    let report = engine::fsck(&config.data, args.repair, &progress).await;
    clear_progress();
    print(&report?, args.json)
}

/// Verifies through the API, with progress.
pub(crate) async fn ask(client: &Client) -> anyhow::Result<Report> {
    let mut lines = Lines::of(client.post("/api/v1/verify", &json!({}), None).await?.into_body());
    let mut report = None;
    while let Some(batch) = lines.next().await? {
        for line in batch {
            let mut line: Value = serde_json::from_str(&line)?;
            if let Ok(phase) = serde_json::from_value::<Phase>(line["progress"].take()) {
                show_phase(phase);
            } else if let Some(error) = line["error"].as_str() {
                clear_progress();
                bail!("{error}");
            } else {
                report = Some(serde_json::from_value(line["report"].take())?);
            }
        }
    }
    clear_progress();
    report.ok_or_else(|| anyhow::anyhow!("the server broke the verification off"))
}

#[expect(clippy::needless_pass_by_value, reason = "it is called back with what the verification made")]
fn show_phase(phase: Phase) {
    let percent = (phase.done * 100).checked_div(phase.of).unwrap_or(100);
    let full = (percent * BAR / 100) as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR as usize - full));
    show_progress(format_args!("{bar} {percent:3} %  {}: {} of {}", phase.name, phase.done, phase.of));
}

/// Prints the report; the exit code says whether the log is as it was written.
fn print(report: &Report, json: bool) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    if json {
        crate::terminal::print_json(&serde_json::to_string_pretty(report)?)?;
    } else {
        write!(out, "{}", text(report))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(NOT_GOOD) })
}

/// The report in words.
pub(crate) fn text(report: &Report) -> String {
    let Report { leaves, verified, erased, missing, tampered, checkpoints, seconds, .. } = report;
    let paint = Terminal::stdout().paint;
    let mut lines = Vec::new();
    for problem in &report.problems {
        lines.push(format!("{:8}  {}: {}", problem.verdict, escape(&problem.place), escape(&problem.why)));
    }
    for left in &report.unfinished {
        lines.push(format!("{:10}  {}: {}", left.verdict, escape(&left.place), escape(&left.why)));
    }
    for repaired in &report.repaired {
        lines.push(format!("REPAIRED  {}", escape(repaired)));
    }
    for erasure in &report.erasures {
        let (records, groups, leaf) = (erasure.records, erasure.groups.join(", "), erasure.leaf);
        lines.push(format!("ERASED    {groups} of {records} records, by leaf {leaf}: {}", escape(&erasure.reason)));
    }
    if report.ok {
        let rate = if *seconds > 0.0 { *verified as f64 / seconds } else { 0.0 };
        let erased = if *erased > 0 { format!(", {erased} of them with erased parts") } else { String::new() };
        lines.push(paint.apply(Style::Green, "VERIFIED") + &format!("  {verified} of {leaves} records{erased}, {checkpoints} checkpoints, in {seconds:.2} s ({rate:.0} records/s)"));
    } else {
        let counted = format!("{verified} of {leaves} records verified, {tampered} tampered, {missing} missing");
        lines.push(paint.apply(Style::Red, "FAILED") + &format!("    {counted}, {} problem(s)", report.problems.len()));
    }
    lines.join("\n") + "\n"
}
