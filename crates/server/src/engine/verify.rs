//! Verification: the log, the files of the lake, and every record against the tree.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use onrecord_lake::FileProblemKind;
use onrecord_ledger::Checked;
use onrecord_ledger::disk::{Disk, RealDisk};

use super::report::{Phase, Report};
use super::rows::Rows;
use super::{Engine, lake_dir, ledger_dir};
use crate::timestamp;

/// Takes how far a verification is.
pub(crate) type Progress = Arc<dyn Fn(Phase) + Send + Sync>;

pub(super) fn told(progress: &Progress, phase: &str, done: u64, of: u64) {
    progress(Phase { name: phase.to_owned(), done, of });
}

/// Checks the files of a data folder that nobody has open, without changing anything: the log's, then the lake's.
pub(crate) async fn check_offline(data: &Path, progress: &Progress) -> anyhow::Result<Report> {
    let (mut report, _) = check_folder(data, progress).await?;
    report.ok = report.problems.is_empty();
    Ok(report)
}

/// The same, with what the log holds, if it could be read at all.
pub(super) async fn check_folder(data: &Path, progress: &Progress) -> anyhow::Result<(Report, Option<Checked>)> {
    let (folder, tell) = (data.to_owned(), Arc::clone(progress));
    let ledger = move || {
        let mut report = Report::default();
        check_ledger(&folder, &tell, &mut report).map(|checked| (report, checked))
    };
    let (mut report, checked) = tokio::task::spawn_blocking(ledger).await??;
    let (dir, tell) = (lake_dir(data), Arc::clone(progress));
    let problems = onrecord_lake::check_files(&dir, move |p| told(&tell, "files", p.files, p.of_files)).await?;
    add_files(&mut report, &onrecord_lake::table_place(&dir)?, problems);
    Ok((report, checked))
}

fn check_ledger(data: &Path, progress: &Progress, report: &mut Report) -> anyhow::Result<Option<Checked>> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dir = ledger_dir(data);
    let mut tell = |done, of| told(progress, "tree", done, of);
    let checked = match onrecord_ledger::check(&disk, &dir, &mut tell) {
        Ok(checked) => checked,
        // A folder in which something is missing is a log that cannot be checked, and no missing one.
        Err(error) if !dir.exists() => {
            return Err(error).with_context(|| format!("there is no log in {}", data.display()));
        }
        Err(error) => {
            report.problem("DAMAGED", dir.display().to_string(), error.to_string());
            return Ok(None);
        }
    };
    report.key = checked.verifier.to_string();
    report.leaves = checked.committed;
    report.checkpoints = checked.checkpoints;
    report.checkpoint = checked.last.as_ref().map(|last| last.note.to_string());
    for problem in &checked.problems {
        report.problem("DAMAGED", problem.path.display().to_string(), &problem.problem);
    }
    for left in &checked.unfinished {
        report.note("UNFINISHED", left.path.display().to_string(), &left.problem);
    }
    for (path, error) in timestamp::check(data, &onrecord_ledger::keys(&dir)?, &checked.roots)? {
        report.problem("DAMAGED", path.display().to_string(), format!("{error:#}"));
    }
    Ok(Some(checked))
}

fn add_files(report: &mut Report, table: &str, problems: Vec<onrecord_lake::FileProblem>) {
    for problem in problems {
        let place = format!("{}/{}", table.trim_end_matches('/'), problem.path);
        match problem.kind {
            FileProblemKind::Unfinished => report.note("UNFINISHED", place, problem.to_string()),
            _ => report.problem("DAMAGED", place, problem.to_string()),
        }
    }
}

impl Engine {
    /// Verifies everything that is committed now.
    pub(crate) async fn verify(&self, progress: Progress) -> anyhow::Result<Report> {
        let started = Instant::now();
        let reader = self.reader().clone();
        // Every leaf is then under a checkpoint whose root the tree must lead to.
        let published = tokio::task::spawn_blocking(move || reader.checkpoint_now()).await??;
        let size = published.as_ref().map_or(0, |published| published.checkpoint.size);
        let (data, tell, reader) = (self.dir.clone(), Arc::clone(&progress), self.reader().clone());
        let mut report = tokio::task::spawn_blocking(move || {
            let mut report = Report::default();
            reader.with_segments_kept(|| check_ledger(&data, &tell, &mut report))?;
            // A log that is written to is never finished.
            report.unfinished.clear();
            anyhow::Ok(report)
        })
        .await??;
        let tell = Arc::clone(&progress);
        let files = self.lake.check_files(move |p| told(&tell, "files", p.files, p.of_files)).await?;
        add_files(&mut report, &self.lake.table_place(), files);
        report.leaves = size;
        report.checkpoint = published.map(|published| published.note.to_string());
        let rows = Rows { lake: &self.lake, log: Arc::new(self.reader().clone()), data: &self.dir, size };
        rows.verify(None, &progress, &mut report).await;
        report.ok = report.problems.is_empty() && report.missing == 0 && report.tampered == 0;
        report.seconds = started.elapsed().as_secs_f64();
        Ok(report)
    }
}
