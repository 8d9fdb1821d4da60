//! Erasure: which rows a condition means, and their groups and salts gone from the data files.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, UInt64Type};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use futures::TryStreamExt;
use onrecord_ledger::Committed;
use onrecord_proof::{Group, GroupSet};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::leaves::LeafSet;
use crate::rewrite::{Change, Rewritten};
use crate::sql::QueryLimits;

/// The kinds that nothing is ever erased from: they say what became of the others.
const KEPT_KINDS: &str = "'disposal', 'system', 'gap', 'heartbeat'";
/// How often a look is taken whether the last reader of a replaced file has ended.
const LOOK: Duration = Duration::from_millis(20);
/// Ids that a selection keeps, of the first records: as many as a record can refer to.
const IDS: usize = onrecord_proof::REFS_MAX;
/// As many rows as SQL can count.
const ROWS_MAX: usize = (i64::MAX - 1) as usize;

/// The records that a condition means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Their leaves.
    pub leaves: LeafSet,
    /// The ids of the first of them, at most [`REFS_MAX`](onrecord_proof::REFS_MAX).
    pub ids: Vec<Uuid>,
    /// Bytes of their bodies, as they went over the wire.
    pub bytes: u64,
    /// Records that were left out because they are among those that must not be touched.
    pub excepted: u64,
}

/// What an erasure has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Records of which something was erased now, and not before.
    pub records: u64,
    /// Data files that were written again.
    pub files: usize,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes after.
    pub bytes_after: u64,
}

/// A condition that stands alone: whatever it is put into, it cannot end it and begin something else.
pub fn check_condition(condition: &str) -> Result<()> {
    let wrong = |problem: String| Error::Query(format!("the condition {condition:?} is not one: {problem}"));
    let mut parser =
        Parser::new(&GenericDialect {}).try_with_sql(condition).map_err(|problem| wrong(problem.to_string()))?;
    parser.parse_expr().map_err(|problem| wrong(problem.to_string()))?;
    match parser.next_token().token {
        Token::EOF => Ok(()),
        other => Err(wrong(format!("it ends before {other}"))),
    }
}

/// True in SQL for rows that still have one of `groups`.
pub(crate) fn any_open(groups: GroupSet) -> String {
    let open: Vec<_> = Group::ALL.into_iter().filter(|group| groups.contains(*group)).collect();
    let open: Vec<_> = open.iter().map(|group| format!("{group}_extra IS NOT NULL")).collect();
    if open.is_empty() { "false".to_owned() } else { format!("({})", open.join(" OR ")) }
}

impl Lake {
    /// The records of this log that still have one of `groups` and for which `condition` holds: an SQL expression over the
    /// columns of `table`, a view or `records`. What is never erased from is left out, and so are the leaves in `except`.
    pub async fn select(&self, table: &str, condition: &str, groups: GroupSet, except: &LeafSet) -> Result<Selection> {
        check_condition(condition)?;
        self.select_checked(table, condition, &any_open(groups), except).await
    }

    /// The same whether anything is left of them or not, and of whatever kind.
    pub async fn select_any(&self, table: &str, condition: &str) -> Result<LeafSet> {
        check_condition(condition)?;
        let condition = within(table, condition)?;
        let statement = format!("SELECT leaf_index FROM records WHERE origin = $1 AND {condition}");
        let mut found = LeafSet::default();
        let mut batches = self.query_with(&statement, self.own(), no_limit()).await?;
        while let Some(batch) = batches.try_next().await? {
            found.add(leaves(&batch).collect());
        }
        Ok(found)
    }

    /// The same among some leaves only; `condition` is over the columns of `records`.
    pub async fn select_within(&self, among: Range<u64>, condition: &str) -> Result<LeafSet> {
        check_condition(condition)?;
        let Range { start, end } = among;
        let statement = format!(
            "SELECT leaf_index FROM records WHERE origin = $1 AND leaf_index >= {start} AND leaf_index < {end} AND ({condition}\n)"
        );
        let batches: Vec<RecordBatch> =
            self.query_with(&statement, self.own(), no_limit()).await?.try_collect().await?;
        Ok(batches.iter().flat_map(leaves).collect())
    }

    async fn select_checked(&self, table: &str, condition: &str, open: &str, except: &LeafSet) -> Result<Selection> {
        let statement = format!(
            "SELECT leaf_index, id, CAST(coalesce(http_request_body_size, 0) + coalesce(http_response_body_size, 0) \
             AS BIGINT UNSIGNED) FROM records WHERE origin = $1 AND kind NOT IN ({KEPT_KINDS}) AND {open} AND {}",
            within(table, condition)?
        );
        let mut batches = self.query_with(&statement, self.own(), no_limit()).await?;
        let (mut selection, mut ids) = (Selection::default(), Vec::new());
        while let Some(batch) = batches.try_next().await? {
            let all = leaves(&batch).count() as u64;
            let is_wanted = |leaf: &u64| !except.contains(*leaf);
            let found: LeafSet = leaves(&batch).filter(is_wanted).collect();
            selection.excepted += all - found.len();
            selection.leaves.add(found);
            let text = batch.column(1).as_string::<i32>();
            let sizes = batch.column(2).as_primitive::<UInt64Type>().values();
            for ((leaf, id), size) in leaves(&batch).zip(text).zip(sizes).filter(|((leaf, _), _)| is_wanted(leaf)) {
                selection.bytes += size;
                if let Some(id) = id.and_then(|id| Uuid::try_parse(id).ok()).filter(|_| ids.len() < IDS) {
                    ids.push((leaf, id));
                }
            }
        }
        ids.sort_unstable();
        selection.ids = ids.into_iter().map(|(_, id)| id).collect();
        Ok(selection)
    }

    fn own(&self) -> Vec<ScalarValue> {
        vec![ScalarValue::from(self.origin())]
    }

    /// Erases `groups`, as far as they are there, from the records of `leaves`, which must be committed; `disposal` is the
    /// record that says why. Hot rows are sealed first.
    ///
    /// When this returns, the values and the salts are gone from the lake: data files were written again without them, and
    /// the old ones were removed, for which it waits until nobody reads them. The log is told to let go of its segments.
    /// What was erased before, by this disposal or another, stays as it is, so that an erasure that was cut off can be
    /// done again.
    pub async fn erase(&self, leaves: &LeafSet, groups: GroupSet, disposal: Uuid) -> Result<Erased> {
        let (lake, leaves) = (self.clone(), leaves.clone());
        let work = async move { lake.erase_here(&leaves, groups, disposal).await };
        self.inner.engine.spawn(work).await
    }

    async fn erase_here(&self, leaves: &LeafSet, groups: GroupSet, disposal: Uuid) -> Result<Erased> {
        while self.inner.versions.current().cursor < leaves.end() {
            if self.seal().await?.is_none() {
                return Err(Error::corrupt("an erasure", format!("leaf {} is not committed", leaves.end() - 1)));
            }
        }
        let rewriting = self.inner.rewriting.lock().await;
        self.clear_leftovers().await?;
        let sealed = self.inner.versions.current();
        let files: Vec<_> = sealed.own_files().iter().filter(|f| leaves.touches(&f.leaves)).map(Arc::clone).collect();
        drop(sealed);
        let mut done = Erased::default();
        for file in files {
            let rows = self.to_erase(&file.leaves, groups).await?.and(leaves);
            if rows.is_empty() {
                continue;
            }
            let records = rows.len();
            let mut change = Erase { rows, groups, disposal };
            let Rewritten { bytes, .. } = self.rewrite(std::slice::from_ref(&file), &mut change).await?;
            done.records += records;
            done.files += 1;
            done.bytes_before += file.size;
            done.bytes_after += bytes;
        }
        drop(rewriting);
        self.inner.log.release(self.inner.versions.releasable());
        while self.remove_unread().await? > 0 {
            tokio::time::sleep(LOOK).await;
        }
        Ok(done)
    }

    /// Seals everything that is committed now, on the threads for queries.
    pub async fn seal_all(&self) -> Result<()> {
        let (lake, until) = (self.clone(), self.inner.log.size());
        let work = async move {
            while lake.inner.versions.current().cursor < until && lake.seal().await?.is_some() {}
            Ok(())
        };
        self.inner.engine.spawn(work).await
    }

    /// Tells the log what it may let go of. Readers that have ended may have kept it from that.
    pub fn release(&self) {
        self.inner.log.release(self.inner.versions.releasable());
    }

    /// The rows among `within` that still have one of the groups.
    async fn to_erase(&self, within: &Range<u64>, groups: GroupSet) -> Result<LeafSet> {
        let statement = format!(
            "SELECT leaf_index FROM records WHERE origin = $1 AND leaf_index >= {} AND leaf_index < {} AND {}",
            within.start,
            within.end,
            any_open(groups)
        );
        let batches: Vec<RecordBatch> =
            self.query_with(&statement, self.own(), no_limit()).await?.try_collect().await?;
        Ok(batches.iter().flat_map(leaves).collect())
    }
}

/// Takes groups out of rows.
struct Erase {
    rows: LeafSet,
    groups: GroupSet,
    disposal: Uuid,
}

impl Change for Erase {
    fn change(&mut self, row: &mut Committed) {
        if self.rows.contains(row.index) {
            for group in Group::ALL.into_iter().filter(|group| self.groups.contains(*group)) {
                row.record.erase(group, self.disposal);
            }
        }
    }

    fn erases(&self) -> bool {
        true
    }
}

/// The condition over `records` for what `table` shows, and for what the recorder itself has put on record of it: steps
/// that hold the prompt of a call once more.
fn within(table: &str, condition: &str) -> Result<String> {
    // A line comment at the end of the condition must not swallow what follows it.
    let meant = match table {
        "records" => format!("({condition}\n)"),
        view if crate::sql::is_view(view) => format!("id IN (SELECT id FROM {view} WHERE ({condition}\n))"),
        other => return Err(Error::Query(format!("there is no table or view {other:?}"))),
    };
    Ok(format!(
        "({meant} OR (kind = 'step' AND onrecord_source = 'probe' \
         AND onrecord_subject IN (SELECT id FROM records WHERE {meant})))"
    ))
}

/// Nothing of what is to be erased may be left out.
fn no_limit() -> QueryLimits {
    QueryLimits { rows: ROWS_MAX, time: Duration::from_hours(24), ..QueryLimits::default() }
}

fn leaves(batch: &RecordBatch) -> impl Iterator<Item = u64> + '_ {
    batch.column(0).as_primitive::<Int64Type>().values().iter().map(|leaf| *leaf as u64)
}
