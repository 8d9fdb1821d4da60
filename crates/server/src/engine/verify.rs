//! Verification: the log, the files of the lake, and every record against the tree.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use futures::TryStreamExt;
use onrecord_ledger::disk::{Disk, RealDisk};
use onrecord_ledger::{Checked, Committed, Reader};
use onrecord_proof::Hash;
use onrecord_proof::merkle::HashReader;

use super::report::{Phase, Report};
use super::{Engine, lake_dir, ledger_dir};

/// Takes how far a verification is.
pub(crate) type Progress = Arc<dyn Fn(Phase) + Send + Sync>;

/// Leaf hashes that are read at a time.
const HASHES: u64 = 4096;
/// Progress is told so often, in records.
const EVERY: u64 = 8192;

fn told(progress: &Progress, phase: &str, done: u64, of: u64) {
    progress(Phase { name: phase.to_owned(), done, of });
}

/// Checks the files of a data folder that nobody has open, without changing anything: the log's, then the lake's.
pub(crate) fn check_offline(data: &Path, progress: &Progress) -> anyhow::Result<Report> {
    let mut report = Report::default();
    check_ledger(data, progress, &mut report)?;
    let table = onrecord_lake::table_folder(&lake_dir(data));
    if table.exists() {
        let tell = Arc::clone(progress);
        let problems = onrecord_lake::check_files(&table, move |p| told(&tell, "files", p.files, p.of_files))?;
        add_files(&mut report, &table, problems);
    }
    report.ok = report.problems.is_empty();
    Ok(report)
}

fn check_ledger(data: &Path, progress: &Progress, report: &mut Report) -> anyhow::Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let dir = ledger_dir(data);
    let mut tell = |done, of| told(progress, "tree", done, of);
    let Checked { verifier, last, checkpoints, committed, problems, .. } =
        match onrecord_ledger::check(&disk, &dir, &mut tell) {
            Ok(checked) => checked,
            Err(error @ onrecord_ledger::Error::Io { kind: std::io::ErrorKind::NotFound, .. }) => {
                return Err(error).with_context(|| format!("there is no log in {}", data.display()));
            }
            Err(error) => {
                report.problem("DAMAGED", dir.display().to_string(), error.to_string());
                return Ok(());
            }
        };
    report.key = verifier.to_string();
    report.leaves = committed;
    report.checkpoints = checkpoints;
    report.checkpoint = last.map(|last| last.note.to_string());
    for problem in problems {
        report.problem("DAMAGED", problem.path.display().to_string(), problem.problem);
    }
    Ok(())
}

fn add_files(report: &mut Report, table: &Path, problems: Vec<onrecord_lake::FileProblem>) {
    for problem in problems {
        report.problem("DAMAGED", table.join(&problem.path).display().to_string(), problem.to_string());
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
        let (data, tell) = (self.dir.clone(), Arc::clone(&progress));
        let mut report = tokio::task::spawn_blocking(move || {
            let mut report = Report::default();
            check_ledger(&data, &tell, &mut report).map(|()| report)
        })
        .await??;
        let tell = Arc::clone(&progress);
        let files = self.lake.check_files(move |p| told(&tell, "files", p.files, p.of_files)).await?;
        add_files(&mut report, self.lake.table(), files);
        report.leaves = size;
        report.checkpoint = published.map(|published| published.note.to_string());
        self.verify_records(size, &progress, &mut report).await;
        report.ok = report.problems.is_empty() && report.missing == 0 && report.tampered == 0;
        report.seconds = started.elapsed().as_secs_f64();
        Ok(report)
    }

    /// Recomputes the leaf hash of every record from its stored contents.
    async fn verify_records(&self, size: u64, progress: &Progress, report: &mut Report) {
        let mut erasures = match self.erasures().await {
            Ok(erasures) => erasures,
            Err(error) => return report.problem("DAMAGED", "the disposal records", format!("{error:#}")),
        };
        let mut check = RecordCheck::new(self.reader().clone(), size);
        let mut records = self.lake.records(0..size);
        loop {
            match records.try_next().await {
                Ok(Some(committed)) => {
                    check.record(&committed, report);
                    erasures.record(&committed, report);
                    if committed.index % EVERY == 0 {
                        told(progress, "records", committed.index, size);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    let next = check.next;
                    report.problem("DAMAGED", format!("record {next}"), error.to_string());
                    break;
                }
            }
        }
        check.finish(report);
        if let Err(error) = erasures.settle(self, report).await {
            report.problem("DAMAGED", "the disposal records", format!("{error:#}"));
        }
        erasures.finish(report);
        told(progress, "records", size, size);
    }
}

/// Compares records, in order, with the leaf hashes of the tree.
struct RecordCheck {
    reader: Reader,
    size: u64,
    next: u64,
    hashes: (u64, Vec<Hash>),
}

impl RecordCheck {
    fn new(reader: Reader, size: u64) -> Self {
        Self { reader, size, next: 0, hashes: (0, Vec::new()) }
    }

    fn record(&mut self, committed: &Committed, report: &mut Report) {
        self.missing(committed.index, report);
        self.next = committed.index + 1;
        match self.hash(committed.index) {
            Ok(hash) if hash == committed.leaf().hash() => report.verified += 1,
            Ok(_) => {
                report.tampered += 1;
                let place = format!("record {} ({})", committed.index, committed.record.id);
                report.problem("TAMPERED", place, "its contents are not what the tree commits to");
            }
            Err(error) => report.problem("DAMAGED", format!("leaf {}", committed.index), error.to_string()),
        }
    }

    /// Records between the last one and `until` are gone.
    fn missing(&self, until: u64, report: &mut Report) {
        if until > self.next {
            report.missing += until - self.next;
            let place = if until - self.next == 1 {
                format!("record {}", self.next)
            } else {
                format!("records {} to {}", self.next, until - 1)
            };
            report.problem("MISSING", place, "the tree has the leaf, but the record is gone");
        }
    }

    fn hash(&mut self, index: u64) -> Result<Hash, onrecord_ledger::Error> {
        let (start, hashes) = &self.hashes;
        if let Some(hash) = index.checked_sub(*start).and_then(|at| hashes.get(at as usize)) {
            return Ok(*hash);
        }
        let count = HASHES.min(self.size - index) as usize;
        self.hashes = (index, self.reader.hashes(0, index, count)?);
        self.hashes.1.first().copied().ok_or(onrecord_ledger::Error::NotHere(index))
    }

    fn finish(&self, report: &mut Report) {
        self.missing(self.size, report);
    }
}
