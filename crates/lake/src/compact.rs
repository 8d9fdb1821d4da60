//! Compaction: small data files of one day become one large file.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use onrecord_ledger::Committed;

use crate::error::Result;
use crate::lake::{Lake, LakeOptions};
use crate::log::Log;
use crate::rewrite::{Change, Rewritten};
use crate::row::{commit_date, date_of_text};
use crate::seal::now_ms;
use crate::table::{DataFile, Sealed};

/// While a day goes on, files are put together when the largest of them is at most this part of the whole. So a row is
/// written again once for each factor of eight in size, not with every file that comes.
const PART: u64 = 8;
/// Files that are looked at together while a day goes on.
const WINDOW: usize = 128;
/// A day is over so long after midnight (UTC): what was committed on it is sealed by then.
const OVER: i64 = 3_600_000;
/// While calls are under way, compaction rests so long after each few hundred rows, some milliseconds of work.
const REST: Duration = Duration::from_millis(20);

/// What a compaction has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    /// Files that were put together.
    pub files: usize,
    /// Their bytes.
    pub bytes_before: u64,
    /// Bytes of the new file.
    pub bytes: u64,
    /// First leaf index of the new file.
    pub from: u64,
    /// One after its last leaf index.
    pub until: u64,
    /// The version of the table that it came with.
    pub version: u64,
}

/// Rows go over as they are.
struct AsTheyAre {
    log: Arc<dyn Log>,
}

impl Change for AsTheyAre {
    fn change(&mut self, _: &mut Committed) {}

    fn erases(&self) -> bool {
        false
    }

    fn pause(&self) -> Option<Duration> {
        (self.log.calls_under_way() > 0).then_some(REST)
    }
}

impl Lake {
    /// Puts the data files together that are due, up to one new file's worth. `None` if nothing is due. Rows are proved
    /// against the tree before the old files go. Sealing and queries go on meanwhile; the server leaves it to a
    /// [`Compactor`](crate::Compactor).
    pub async fn compact(&self) -> Result<Option<Compaction>> {
        let _rewriting = self.inner.rewriting.lock().await;
        let sealed = self.inner.versions.current();
        let Some(run) = due(&sealed, &self.inner.options, now_ms())? else { return Ok(None) };
        let old = &sealed.own_files()[run];
        let (files, bytes_before) = (old.len(), old.iter().map(|file| file.size).sum());
        let (from, until) = (old[0].leaves.start, old[files - 1].leaves.end);
        let old = old.to_vec();
        // From here on the files are kept by whoever reads them, not by us.
        drop(sealed);
        let mut change = AsTheyAre { log: Arc::clone(&self.inner.log) };
        let Rewritten { bytes, version } = self.rewrite(&old, &mut change).await?;
        Ok(Some(Compaction { files, bytes_before, bytes, from, until, version }))
    }
}

/// The files that are to be put together next, as a part of the writer's own.
fn due(sealed: &Sealed, options: &LakeOptions, now_ms: i64) -> Result<Option<Range<usize>>> {
    let files = sealed.own_files();
    let today = commit_date((now_ms - OVER).saturating_mul(1000));
    let newest = files.last().map(|file| file.commit_date.as_str());
    let mut start = 0;
    while start < files.len() {
        let end = start + stretch(&files[start..], options);
        if end - start >= 2 {
            let date = files[start].commit_date.as_str();
            let over = newest != Some(date) || date_of_text(date)? < today;
            let run = if over { first_run(&files[start..end], options) } else { best_run(&files[start..end], options) };
            if let Some(run) = run {
                return Ok(Some(start + run.start..start + run.end));
            }
        }
        start = end.max(start + 1);
    }
    Ok(None)
}

/// How many files from the first on are small, of one day, and follow on each other without a gap.
fn stretch(files: &[Arc<DataFile>], options: &LakeOptions) -> usize {
    let small = |file: &DataFile| file.size < options.compact_from && file.leaves.end - file.leaves.start == file.rows;
    let follows = |pair: &[Arc<DataFile>]| {
        pair[0].commit_date == pair[1].commit_date && pair[0].leaves.end == pair[1].leaves.start && small(&pair[1])
    };
    let is_small = files.first().is_some_and(|file| small(file));
    if is_small { 1 + files.windows(2).take_while(|pair| follows(pair)).count() } else { 0 }
}

/// Of a day that is over: the first files that fit into one.
fn first_run(files: &[Arc<DataFile>], options: &LakeOptions) -> Option<Range<usize>> {
    let mut start = 0;
    while start < files.len() {
        let end = start + fitting(&files[start..], options);
        if end - start >= 2 {
            return Some(start..end);
        }
        start = end.max(start + 1);
    }
    None
}

/// Of a day that goes on: the most files that make a large one, or of which none is a large part of the whole.
fn best_run(files: &[Arc<DataFile>], options: &LakeOptions) -> Option<Range<usize>> {
    let offset = files.len().saturating_sub(WINDOW);
    let files = &files[offset..];
    let runs = (0..files.len()).map(|start| start..start + fitting(&files[start..], options));
    let good = |run: &Range<usize>| {
        let sizes = files[run.clone()].iter().map(|file| file.size);
        let (sum, largest) = (sizes.clone().sum::<u64>(), sizes.max().unwrap_or(0));
        run.len() >= 2 && (sum >= options.compact_from || largest.saturating_mul(PART) <= sum)
    };
    runs.filter(good).max_by_key(ExactSizeIterator::len).map(|run| run.start + offset..run.end + offset)
}

/// How many files from the first on fit into one.
fn fitting(files: &[Arc<DataFile>], options: &LakeOptions) -> usize {
    let mut sum = 0;
    files
        .iter()
        .take_while(|file| {
            sum += file.size;
            sum <= options.compact_to
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wide::Wide;

    const MIB: u64 = 1 << 20;

    /// Which of the files of these sizes (MiB) and days are put together at noon of 2025-11-23, with gaps in the leaves
    /// in front of those in `gaps`.
    fn run(files: &[(u64, &str)], gaps: &[usize]) -> Option<Range<usize>> {
        let mut next = 0;
        let file = |(at, (size, day)): (usize, &(u64, &str))| {
            let start = next + u64::from(gaps.contains(&at));
            next = start + 10;
            let (path, origin, commit_date) = ("f".into(), "o".into(), (*day).to_owned());
            let leaves = start..next;
            let (committed_at, captured_at, size) = (None, None, size * MIB);
            let wide = Wide::default();
            Arc::new(DataFile { path, size, rows: 10, origin, commit_date, leaves, committed_at, captured_at, wide })
        };
        let files = files.iter().enumerate().map(file).collect();
        let sealed = Sealed { origin: "o".into(), version: 1, cursor: 0, files };
        due(&sealed, &LakeOptions::default(), crate::tests::records::NOON / 1000).unwrap()
    }

    fn check(files: &[(u64, &str)], gaps: &[usize], expected: Option<(usize, usize)>) {
        assert_eq!(run(files, gaps).map(|run| (run.start, run.end)), expected, "{files:?}, gaps before {gaps:?}");
    }

    #[test]
    fn what_is_put_together() {
        let (before, today) = ("2025-11-22", "2025-11-23");
        check(&[], &[], None);
        check(&[(1, before)], &[], None);
        check(&[(1, before), (2, before)], &[], Some((0, 2)));
        check(&[(1, before), (2, today)], &[], None);
        check(&[(1, before), (2, before)], &[1], None);
        check(&[(200, before), (2, before)], &[], None);
        check(&[(100, before), (100, before), (100, before), (9, before)], &[], Some((0, 2)));
        check(&[(2, before), (130, before), (3, before), (4, before)], &[], Some((2, 4)));
        check(&[(1, today); 7], &[], None);
        check(&[(1, today); 8], &[], Some((0, 8)));
        check(&[(60, today), (1, today), (1, today)], &[], None);
        check(&[(120, today), (10, today)], &[], Some((0, 2)));
        let mut grown = vec![(8, today)];
        grown.extend([(1, today); 8]);
        check(&grown, &[], Some((1, 9)));
    }

    #[test]
    fn a_row_is_written_again_a_few_times_only_while_a_day_goes_on() {
        let (mut sizes, mut rewritten) = (Vec::<u64>::new(), 0);
        for _ in 0..1440 {
            sizes.extend([1]);
            loop {
                let files: Vec<_> = sizes.iter().map(|size| (*size, "2025-11-23")).collect();
                let Some(run) = run(&files, &[]) else { break };
                let sum = sizes[run.clone()].iter().sum();
                rewritten += sum;
                sizes.splice(run, [sum]);
            }
        }
        assert!(sizes.len() < 24 && rewritten < 1440 * 4, "{rewritten} MiB rewritten, left are {sizes:?}");
    }
}
