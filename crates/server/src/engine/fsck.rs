//! The check of a data folder that nobody has open: everything is read, nothing is believed, and what can be made from the
//! rows is made again if that is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use onrecord_lake::{Lake, LakeOptions, Log};
use onrecord_ledger::disk::{Disk, RealDisk};
use onrecord_ledger::{Checked, Offline, Rebuild};

use super::report::Report;
use super::rows::{Rebuilt, Rows};
use super::verify::{Progress, check_folder, told};
use super::{keep, lake_dir, ledger_dir};

/// Checks a data folder without changing anything; with `repair`, then makes again what can be made from the rows, and the
/// public key, and checks once more. Refused while a process has the folder open.
pub(crate) async fn fsck(data: &Path, repair: bool, progress: &Progress) -> anyhow::Result<Report> {
    let _lock = onrecord_ledger::hold(&ledger_dir(data))?;
    let started = Instant::now();
    let mut repaired = Vec::new();
    let mut folder = Folder::check(data, progress).await?;
    // Without the public key nothing else can be checked. Why it cannot be made again is what the check says of it.
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    if repair && folder.open.is_none() && onrecord_ledger::restore_public_key(&disk, &ledger_dir(data)).unwrap_or(false)
    {
        repaired.push("wrote the public key again".to_owned());
        folder = Folder::check(data, progress).await?;
    }
    if repair && folder.can_be_repaired() {
        repaired.extend(folder.repair(progress).await?);
        folder = Folder::check(data, progress).await?;
    }
    let mut report = folder.report;
    report.repaired = repaired;
    report.ok = report.problems.is_empty() && report.missing == 0 && report.tampered == 0;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// A folder that was checked.
struct Folder {
    data: PathBuf,
    report: Report,
    /// What the files hold, if they could be read at all.
    open: Option<(Arc<Offline>, Lake)>,
    /// The stored tree is not what was signed, but the rows are.
    tree_from_rows: bool,
    signed: u64,
}

impl Folder {
    async fn check(data: &Path, progress: &Progress) -> anyhow::Result<Self> {
        // A relative path has no folder of its own, and the working folder may change.
        let data = std::path::absolute(data)?;
        let (mut report, checked) = check_folder(&data, progress).await?;
        let Some(Checked { log, roots, tree_is_whole, .. }) = checked else {
            return Ok(Self { data, report, open: None, tree_from_rows: false, signed: 0 });
        };
        let (log, signed) = (Arc::new(log), roots.last().map_or(0, |(size, _)| *size));
        let lake = look(&data, &log, &mut report).await?;
        let rebuilt = (!tree_is_whole).then(|| Rebuilt::to(roots));
        let rows = Rows { lake: &lake, log: Arc::clone(&log) as Arc<dyn Log>, data: &data, size: log.size() };
        let tree_from_rows = rows.verify(rebuilt, progress, &mut report).await;
        derived(&data, &lake, &mut report).await?;
        Ok(Self { data, report, open: Some((log, lake)), tree_from_rows, signed })
    }

    /// Whether there is something to repair and what it is made from is whole.
    fn can_be_repaired(&self) -> bool {
        let Report { missing, tampered, unfinished, problems, .. } = &self.report;
        let to_do = self.tree_from_rows || !unfinished.is_empty();
        let tree = ledger_dir(&self.data).join("tree");
        let of_the_tree = |place: &str| self.tree_from_rows && Path::new(place).starts_with(&tree);
        to_do && *missing == 0 && *tampered == 0 && problems.iter().all(|problem| of_the_tree(&problem.place))
    }

    /// Makes again what is derived, and says what it did.
    async fn repair(&self, progress: &Progress) -> anyhow::Result<Vec<String>> {
        let Some((log, lake)) = &self.open else { return Ok(Vec::new()) };
        let (disk, ledger): (Arc<dyn Disk>, _) = (Arc::new(RealDisk), ledger_dir(&self.data));
        let mut done = Vec::new();
        if self.tree_from_rows {
            let size = rebuild_tree(lake, &disk, &ledger, self.signed, progress).await?;
            done.push(format!("wrote the tree of {size} leaves again from the rows"));
        }
        if !self.report.unfinished.is_empty() {
            onrecord_ledger::tidy(&disk, &ledger)?;
            done.extend(self.mend_lake(log).await?);
        }
        Ok(done)
    }

    /// Opening the lake puts right what a crash has left of it.
    async fn mend_lake(&self, log: &Arc<Offline>) -> anyhow::Result<Vec<String>> {
        let left = |verdict: &str| self.report.unfinished.iter().filter(|left| left.verdict == verdict).count();
        let mut done = Vec::new();
        if left("UNFINISHED") > 0 {
            done.push(format!("removed or completed {} files that were unfinished", left("UNFINISHED")));
        }
        let dir = lake_dir(&self.data);
        if dir.exists() {
            let lake = Lake::open(&dir, log.clone(), options(&self.data)).await?;
            let indexed = lake.mend_indexes().await?;
            if indexed > 0 {
                done.push(format!("built the search index of {indexed} data files"));
            }
        }
        Ok(done)
    }
}

fn options(data: &Path) -> LakeOptions {
    LakeOptions { index: Some(data.join("index")), ..LakeOptions::default() }
}

/// The lake as it is. If its table cannot be read, that is a problem, and the log is looked at alone.
async fn look(data: &Path, log: &Arc<Offline>, report: &mut Report) -> anyhow::Result<Lake> {
    let dir = lake_dir(data);
    match Lake::look(&dir, log.clone(), options(data)).await {
        Ok(lake) => Ok(lake),
        // Nothing is known of what is in it.
        Err(error) if error.is_away() => Err(error.into()),
        Err(error) => {
            report.problem("DAMAGED", onrecord_lake::table_place(&dir)?, error.to_string());
            Ok(Lake::without_table(&dir, log.clone(), options(data)).await?)
        }
    }
}

/// What is made from the rows and can be made again, and what is still to be done.
async fn derived(data: &Path, lake: &Lake, report: &mut Report) -> anyhow::Result<()> {
    for (path, damage) in lake.check_indexes().await? {
        let why = damage.map_or_else(
            || "it has no search index yet, so searches read it".to_owned(),
            |damage| format!("its search index is not used, since {damage}"),
        );
        report.note("DERIVED", path, why);
    }
    for id in keep::noted(data)? {
        report.note("UNFINISHED", format!("disposal {id}"), "it was interrupted; the next start completes it");
    }
    Ok(())
}

async fn rebuild_tree(
    lake: &Lake,
    disk: &Arc<dyn Disk>,
    ledger: &Path,
    signed: u64,
    progress: &Progress,
) -> anyhow::Result<u64> {
    let mut tree = Rebuild::begin(Arc::clone(disk), ledger)?;
    let mut leaves = lake.look_at(0..signed, |committed| (committed.index, committed.leaf().hash()));
    while let Some((index, leaf)) = leaves.try_next().await? {
        tree.push(leaf)?;
        if index % 8192 == 0 {
            told(progress, "tree, again", index, signed);
        }
    }
    let (size, _) = tree.finish().context("writing the tree")?;
    Ok(size)
}
