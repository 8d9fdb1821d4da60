//! `onrecord export`: rows in files, and a manifest that ties them to the leaves of the log.
//!
//! Rows come in windows of leaf indexes, so that memory stays flat and an export can go on where it broke off. How far it
//! has come is kept in a file in its folder until the manifest takes its place.

mod chat;
mod check;
mod ocsf;
mod part;
mod rows;
mod window;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use http_body_util::BodyExt as _;
use onrecord_ledger::disk::{Disk as _, RealDisk};
use onrecord_proof::manifest::{Contents, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::client::Client;
use super::options::ExportArgs;
use crate::terminal::{clear_progress, print_json, print_line, show_progress};
use part::Part;
use window::Windows;

pub(super) use check::{check, is_manifest};
pub(crate) use rows::Rows;

/// What an export that is not finished has come to.
const STATE: &str = "export.json";
/// What a finished one is checked by.
const MANIFEST: &str = "manifest.json";
/// The files with their digests, as `sha256sum --check` reads them.
const SUMS: &str = "SHA256SUMS";

/// How far an export has come. Written after each file that is whole and durable.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// The log that it is of.
    origin: String,
    rows: Rows,
    rows_per_file: u64,
    /// What is selected beside the leaf index.
    columns: String,
    windows: Windows,
    /// Rows that there will be, for the progress.
    total: u64,
    contents: Contents,
}

pub(super) async fn export(client: &Client, args: &ExportArgs) -> anyhow::Result<()> {
    let folder = &args.output;
    let mut state = if args.resume { resume(client, folder).await? } else { begin(client, args).await? };
    while !state.windows.is_done() {
        add_file(client, folder, &mut state).await?;
        save(folder, STATE, &serde_json::to_vec(&state)?)?;
    }
    clear_progress();
    // Of calls without an answer there is no conversation.
    ensure!(
        !state.contents.files.is_empty(),
        "no record of `{}` can be written as {}; nothing was exported",
        state.contents.view,
        state.rows.name()
    );
    finish(client, folder, state.contents, args.json).await
}

/// A new export, in a folder that is empty or not there.
async fn begin(client: &Client, args: &ExportArgs) -> anyhow::Result<State> {
    let folder = &args.output;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let is_empty = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?.next().is_none();
    if !is_empty {
        let unfinished = folder.join(STATE).exists();
        let remedy = if unfinished { "--resume goes on with the export that it holds" } else { "name another one" };
        bail!("{} is not empty; {remedy}", folder.display());
    }
    let rows = args.format;
    let columns = match (rows.columns(), &args.columns) {
        (Some(fixed), None) => fixed.to_owned(),
        (Some(_), Some(_)) => bail!("the format {} has columns of its own; leave --columns out", rows.name()),
        (None, None) => "*".to_owned(),
        (None, Some(columns)) => format!("leaf_index, {columns}"),
    };
    ensure!(
        rows.columns().is_none() || args.view == "interactions",
        "the format {} is made of calls; leave --view out",
        rows.name()
    );
    let (windows, total) = Windows::over(client, &args.view, args.condition.as_deref()).await?;
    ensure!(total > 0, "no record of `{}` meets the condition; nothing was exported", args.view);
    window::try_columns(client, &args.view, &columns).await?;
    let contents = Contents {
        view: args.view.clone(),
        condition: args.condition.clone(),
        rows: rows.name().to_owned(),
        files: Vec::new(),
        leaves: Vec::new(),
    };
    let origin = origin(client).await?;
    let state = State { origin, rows, rows_per_file: args.rows_per_file, columns, windows, total, contents };
    save(folder, STATE, &serde_json::to_vec(&state)?)?;
    Ok(state)
}

/// The name of the log, the first line of its checkpoint.
async fn origin(client: &Client) -> anyhow::Result<String> {
    let checkpoint = client.get("/api/v1/checkpoint").await?.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&checkpoint).lines().next().unwrap_or_default().to_owned())
}

async fn resume(client: &Client, folder: &Path) -> anyhow::Result<State> {
    let path = folder.join(STATE);
    let state = fs::read(&path).with_context(|| {
        format!("there is no unfinished export in {}: reading {}", folder.display(), path.display())
    })?;
    let state: State = serde_json::from_slice(&state)
        .with_context(|| format!("{} is damaged; remove the folder and export again", path.display()))?;
    let origin = origin(client).await?;
    ensure!(
        state.origin == origin,
        "the export in {} is of the log {}, not of {origin}",
        folder.display(),
        state.origin
    );
    Ok(state)
}

/// Fills the next file, unless no rows are left.
async fn add_file(client: &Client, folder: &Path, state: &mut State) -> anyhow::Result<()> {
    let name = format!("part-{:05}.{}", state.contents.files.len(), state.rows.extension());
    let mut part = Part::create(&folder.join(&name), state.rows)?;
    while part.rows() < state.rows_per_file && !state.windows.is_done() {
        let asked = window::Asked {
            view: &state.contents.view,
            columns: &state.columns,
            condition: state.contents.condition.as_deref(),
        };
        for batch in state.windows.next(client, &asked).await? {
            part.write(&batch)?;
        }
        show_rows(state.contents.row_count() + part.rows(), state.total);
    }
    if let Some((file, leaves)) = part.finish(&name)? {
        state.contents.files.push(file);
        add_leaves(&mut state.contents.leaves, &leaves);
    }
    Ok(())
}

/// Adds ascending leaf indexes to runs of them.
fn add_leaves(runs: &mut Vec<(u64, u64)>, leaves: &[u64]) {
    for leaf in leaves {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *leaf => *count += 1,
            _ => runs.push((*leaf, 1)),
        }
    }
}

/// Has the export put on record, and writes its manifest.
async fn finish(client: &Client, folder: &Path, contents: Contents, as_json: bool) -> anyhow::Result<()> {
    save(folder, SUMS, contents.sums().as_bytes())?;
    let (rows, files) = (contents.row_count(), contents.files.len());
    let manifest: Manifest = client.post_json("/api/v1/exports", &contents).await?;
    save(folder, MANIFEST, &serde_json::to_vec(&manifest)?)?;
    RealDisk.remove(&folder.join(STATE))?;
    let path = folder.join(MANIFEST);
    if as_json {
        print_json(&format!("{:#}", json!({ "rows": rows, "files": files, "manifest": path })))?;
    } else {
        let counted = |n: u64, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
        let (rows, files) = (counted(rows, "row"), counted(files as u64, "file"));
        print_line(&format!("exported {rows} in {files} to {}", folder.display()))?;
        print_line(&format!("check it with: {}", client.how_to_check(&path)))?;
    }
    Ok(())
}

/// Writes a file of the export so that it is there whole, or as it was.
fn save(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(name);
    RealDisk.replace(&path, bytes, 0o644).with_context(|| format!("writing {}", path.display()))
}

fn show_rows(done: u64, total: u64) {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100).min(100);
    show_progress(format_args!("exporting: {done} of {total} rows, {percent} %"));
}

/// A row as JSON, by the names of its columns.
type Row = serde_json::Map<String, Value>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_kept_as_runs() {
        let mut runs = vec![(0, 2)];
        add_leaves(&mut runs, &[2, 3, 7]);
        add_leaves(&mut runs, &[8, 10]);
        assert_eq!(runs, [(0, 4), (7, 2), (10, 1)]);
    }
}
