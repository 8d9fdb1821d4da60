//! The data files of one version of the table, with what is known of each without opening it.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use deltalake_core::kernel::{Add, LogicalFileView};
use deltalake_core::table::state::DeltaTableState;
use object_store::path::Path;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::table::sidecar::hex;
use crate::wide::Wide;

/// One version of the table.
#[derive(Debug)]
pub(crate) struct Sealed {
    /// The writer whose `cursor` this is.
    pub(crate) origin: String,
    pub(crate) version: u64,
    /// First leaf index of `origin` that is not in the table.
    pub(crate) cursor: u64,
    /// By origin, then by leaf index.
    pub(crate) files: Vec<Arc<DataFile>>,
}

/// A data file: rows of one origin that were committed on one day, in the order of their leaf index.
#[derive(Debug)]
pub(crate) struct DataFile {
    /// Relative to the table's folder.
    pub(crate) path: Path,
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) rows: u64,
    pub(crate) origin: String,
    /// Day of the commits, `2025-11-23`.
    pub(crate) commit_date: String,
    /// From the first leaf index to one after the last.
    pub(crate) leaves: Range<u64>,
    /// The first and last time of commit, in microseconds since 1970-01-01 UTC, if known.
    pub(crate) committed_at: Option<(i64, i64)>,
    /// The same of the times when its records began.
    pub(crate) captured_at: Option<(i64, i64)>,
    /// The columns with many bytes in each row, as far as they are known.
    pub(crate) wide: Wide,
}

impl Sealed {
    pub(crate) fn new(origin: String, version: u64, cursor: u64, state: &DeltaTableState) -> Result<Self> {
        let mut files =
            state.log_data().iter().map(|file| DataFile::read(&file).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        files.sort_by(|a, b| (&a.origin, a.leaves.start).cmp(&(&b.origin, b.leaves.start)));
        Ok(Self { origin, version, cursor, files })
    }

    /// That of a table that is not there.
    pub(crate) const fn none(origin: String) -> Self {
        Self { origin, version: 0, cursor: 0, files: Vec::new() }
    }

    /// The files of the writer itself.
    pub(crate) fn own_files(&self) -> &[Arc<DataFile>] {
        let start = self.files.partition_point(|file| file.origin < self.origin);
        let end = self.files.partition_point(|file| file.origin <= self.origin);
        &self.files[start..end]
    }

    /// The writer's first file that holds `index` or a later leaf.
    pub(crate) fn file_from(&self, index: u64) -> Option<&Arc<DataFile>> {
        let files = self.own_files();
        files.get(files.partition_point(|file| file.leaves.end <= index))
    }
}

impl DataFile {
    /// The rows of those of the leaves that it has: without gaps it has leaf n in row n - first. `None` if there are gaps.
    pub(crate) fn rows_of(&self, leaves: &Range<u64>) -> Option<Range<usize>> {
        let Range { start, end } = self.leaves;
        let row = |leaf: u64| (leaf.clamp(start, end) - start) as usize;
        (end - start == self.rows).then(|| row(leaves.start)..row(leaves.end))
    }

    /// A file of `leaves` that is not part of the table yet.
    pub(crate) fn of(add: &Add, leaves: Range<u64>) -> Result<Self> {
        let bad = |problem: &str| Error::corrupt(&add.path, problem);
        let part = |name| add.partition_values.get(name).cloned().flatten().ok_or_else(|| bad("it is in no partition"));
        Ok(Self {
            path: Path::parse(&add.path).map_err(|_| bad("its path cannot be read"))?,
            size: add.size as u64,
            rows: leaves.end - leaves.start,
            origin: part("origin")?,
            commit_date: part("commit_date")?,
            leaves,
            committed_at: None,
            captured_at: None,
            wide: Wide::default(),
        })
    }

    fn read(file: &LogicalFileView) -> Result<Self> {
        let bad = |problem: &str| Error::corrupt(file.path(), problem);
        #[expect(deprecated, reason = "nothing else has the tags")]
        let Add { stats, tags, mut partition_values, .. } = file.add_action();
        let stats: Value = serde_json::from_str(&stats.ok_or_else(|| bad("no statistics"))?)
            .map_err(|_| bad("its statistics are not JSON"))?;
        let number = |value: &Value| value.as_u64().ok_or_else(|| bad("its statistics have no leaf index"));
        let first = number(&stats["minValues"]["leaf_index"])?;
        let last = number(&stats["maxValues"]["leaf_index"])?;
        let mut part = |name| partition_values.remove(name).flatten().ok_or_else(|| bad("it is in no partition"));
        let time = |bounds: &str, column: &str| micros(stats[bounds][column].as_str()?);
        // Other writers cut times to milliseconds.
        let span =
            |column| time("minValues", column).zip(time("maxValues", column).map(|last| last.saturating_add(999)));
        Ok(Self {
            path: file.object_store_path(),
            size: file.size() as u64,
            rows: number(&stats["numRecords"])?,
            origin: part("origin")?,
            commit_date: part("commit_date")?,
            leaves: first..last + 1,
            committed_at: span("committed_at"),
            captured_at: span("captured_at"),
            wide: tags.as_ref().map(Wide::of_tags).unwrap_or_default(),
        })
    }
}

fn micros(text: &str) -> Option<i64> {
    string_to_timestamp_nanos(text).ok().map(|nanos| nanos.div_euclid(1000))
}

/// Delta's statistics of a data file; `times` are the first and the last time of commit in it, and the first and last at
/// which one of its records began, if they can be written.
pub(crate) fn stats(rows: u64, leaves: &Range<u64>, times: [Option<(String, String)>; 2]) -> String {
    let [(committed, last_committed), (captured, last_captured)] = times.map(Option::unzip);
    json!({
        "numRecords": rows,
        "minValues": {"leaf_index": leaves.start, "committed_at": committed, "captured_at": captured},
        "maxValues": {"leaf_index": leaves.end - 1, "committed_at": last_committed, "captured_at": last_captured},
        "nullCount": {"leaf_index": 0, "committed_at": 0, "captured_at": 0},
    })
    .to_string()
}

/// What the names of a writer's data files begin with. Several writers can have files of the same leaf indexes in one
/// folder.
pub(crate) fn prefix(origin: &str) -> String {
    hex(&Sha256::digest(origin)[..4])
}

/// What the name of a file that takes the place of others has besides its leaves, which may be written again and again: the
/// version of the table that it was made from, and an id. What a failed attempt has left may be removed after the next one
/// succeeded, so no two may have one name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    version: u64,
    id: Uuid,
}

impl Attempt {
    /// A new one from that version on.
    pub(crate) fn from(version: u64) -> Self {
        Self { version, id: Uuid::now_v7() }
    }
}

/// The path of a data file, relative to the table's folder; `attempt` if it takes the place of others.
pub(crate) fn path(origin: &str, commit_date: &str, leaves: &Range<u64>, attempt: Option<Attempt>) -> String {
    let attempt = attempt.map(|Attempt { version, id }| format!("-{version:020}-{}", id.simple())).unwrap_or_default();
    format!("commit_date={commit_date}/{}-{:020}-{:020}{attempt}.parquet", prefix(origin), leaves.start, leaves.end)
}

/// What the name of a data file says of it: its writer's prefix, its leaves, and whether it was to take the place of others.
pub(crate) fn parse(path: &str) -> Option<(&str, Range<u64>, bool)> {
    let (folder, name) = path.rsplit_once('/')?;
    folder.strip_prefix("commit_date=").filter(|date| !date.contains('/'))?;
    let mut parts = name.strip_suffix(".parquet")?.split('-');
    let (writer, first, end) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let (version, id) = (parts.next(), parts.next());
    // Names that are older than the ids have none.
    let is_attempt =
        version.is_none_or(|v| v.parse::<u64>().is_ok()) && id.is_none_or(|id| Uuid::try_parse(id).is_ok());
    let is_whole = writer.len() == 8 && is_attempt && parts.next().is_none();
    is_whole.then_some((writer, first..end, version.is_some()))
}

/// The first leaf index in a file of `origin`, from its path, be it finished or not.
pub(crate) fn first_leaf(origin: &str, path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?.strip_prefix(&prefix(origin))?.strip_prefix('-')?;
    name.split('-').next()?.parse().ok()
}
