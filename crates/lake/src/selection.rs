//! Which records a condition means, and what the recorder itself has put on record of them.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use datafusion::arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{Int64Type, UInt64Type};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use futures::TryStreamExt;
use onrecord_proof::{Group, GroupSet};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::leaves::LeafSet;
use crate::sql::{QueryLimits, QueryResult, rows_of_view};

/// The kinds that nothing is ever erased from: they say what became of the others.
const KEPT_KINDS: &str = "'disposal', 'system', 'gap', 'heartbeat'";
/// What the recorder itself says of a record, in SQL: steps that hold the prompt of a call once more, and alerts, whose note
/// may be any text of it. It goes with the record.
const COPY: &str =
    "kind IN ('step', 'alert') AND (kind = 'alert' OR onrecord_source = 'probe') AND onrecord_subject IS NOT NULL";
/// Bytes of a record's bodies, in SQL.
const BYTES: &str =
    "CAST(coalesce(http_request_body_size, 0) + coalesce(http_response_body_size, 0) AS BIGINT UNSIGNED)";
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
    /// columns of `table`, a view of records or `records`. What the recorder itself says of them comes with them. What is
    /// never erased from is left out, and so are the leaves in `except`.
    pub async fn select(&self, table: &str, condition: &str, groups: GroupSet, except: &LeafSet) -> Result<Selection> {
        let wanted = format!("kind NOT IN ({KEPT_KINDS}) AND {}", any_open(groups));
        let (mut selection, mut leaves, mut ids) = (Selection::default(), Vec::new(), Vec::new());
        let take = |row: Row| {
            if except.contains(row.leaf) {
                selection.excepted += 1;
                return;
            }
            leaves.push(row.leaf);
            selection.bytes += row.bytes;
            if ids.len() < IDS {
                ids.push((row.leaf, row.id));
            }
        };
        Box::pin(self.each_meant(table, condition, &wanted, take)).await?;
        ids.sort_unstable();
        selection.ids = ids.into_iter().map(|(_, id)| id).collect();
        selection.leaves = leaves.into_iter().collect();
        Ok(selection)
    }

    /// The same whether anything is left of them or not, and of whatever kind.
    pub async fn select_any(&self, table: &str, condition: &str) -> Result<LeafSet> {
        let mut leaves = Vec::new();
        Box::pin(self.each_meant(table, condition, "true", |row| leaves.push(row.leaf))).await?;
        Ok(leaves.into_iter().collect())
    }

    /// The records among some leaves for which `condition` holds, over the columns of `records`, and nothing else.
    pub async fn select_within(&self, among: Range<u64>, condition: &str) -> Result<LeafSet> {
        check_condition(condition)?;
        let Range { start, end } = among;
        let statement = format!(
            "SELECT leaf_index FROM records WHERE origin = $1 AND leaf_index >= {start} AND leaf_index < {end} AND ({condition}\n)"
        );
        let batches: Vec<RecordBatch> = self.own(&statement).await?.try_collect().await?;
        Ok(batches.iter().flat_map(leaves).collect())
    }

    /// Calls `take` once with each row that is `wanted`, in SQL over `records`, and that the condition means or that is a copy
    /// of something in such a row.
    ///
    /// Copies are looked for first: there are fewer of them than of the rows that a condition may mean, and nothing but them,
    /// some 50 bytes each, and the leaves that were taken is in memory.
    async fn each_meant(
        &self,
        table: &str,
        condition: &str,
        wanted: &str,
        mut take: impl FnMut(Row) + Send,
    ) -> Result<()> {
        let statement = meant(table, condition, wanted)?;
        let copies = self.copies(wanted).await?;
        let (mut of_these, mut taken) = (Vec::new(), HashSet::new());
        let mut batches = self.own(&statement).await?;
        while let Some(batch) = batches.try_next().await? {
            let [is_wanted, is_kept, is_copy] = [3, 4, 5].map(|at| batch.column(at).as_boolean());
            for (at, row) in rows(&batch).enumerate() {
                if !holds(is_kept, at) {
                    of_these.extend_from_slice(copies_of(&copies, row.id));
                }
                if holds(is_wanted, at) {
                    if holds(is_copy, at) {
                        taken.insert(row.leaf);
                    }
                    take(row);
                }
            }
        }
        while let Some((_, row)) = of_these.pop() {
            if taken.insert(row.leaf) {
                // Of a copy there may be copies too.
                of_these.extend_from_slice(copies_of(&copies, row.id));
                take(row);
            }
        }
        Ok(())
    }

    /// The copies that are wanted, in the order of what they are of.
    async fn copies(&self, wanted: &str) -> Result<Vec<(Uuid, Row)>> {
        let statement = format!(
            "SELECT leaf_index, id, {BYTES}, onrecord_subject FROM records WHERE origin = $1 AND {COPY} AND {wanted}"
        );
        let mut copies = Vec::new();
        let mut batches = self.own(&statement).await?;
        while let Some(batch) = batches.try_next().await? {
            let subjects = batch.column(3).as_string::<i32>().iter();
            let of = |(row, subject): (Row, Option<&str>)| Some((Uuid::try_parse(subject?).ok()?, row));
            copies.extend(rows(&batch).zip(subjects).filter_map(of));
        }
        copies.sort_unstable_by_key(|(subject, _)| *subject);
        Ok(copies)
    }

    /// Runs a statement about the records of this log, whose name is its parameter. Nothing is left out of what it gives.
    async fn own(&self, statement: &str) -> Result<QueryResult> {
        let memory_bytes = self.inner.options.query_memory;
        let limits = QueryLimits { rows: ROWS_MAX, time: Duration::from_hours(24), memory_bytes };
        self.query_with(statement, vec![ScalarValue::from(self.origin())], limits).await
    }
}

/// A row that was selected.
#[derive(Debug, Clone, Copy)]
struct Row {
    leaf: u64,
    id: Uuid,
    bytes: u64,
}

fn copies_of(copies: &[(Uuid, Row)], id: Uuid) -> &[(Uuid, Row)] {
    let start = copies.partition_point(|(subject, _)| *subject < id);
    let count = copies[start..].iter().take_while(|(subject, _)| *subject == id).count();
    &copies[start..start + count]
}

/// The statement that gives all rows that a condition means, with whether each is wanted, is never erased from, is a copy.
fn meant(table: &str, condition: &str, wanted: &str) -> Result<String> {
    check_condition(condition)?;
    let more = format!(
        "leaf_index AS _leaf, id AS _id, {BYTES} AS _bytes, {wanted} AS _is_wanted, \
         kind IN ({KEPT_KINDS}) AS _is_kept, {COPY} AS _is_copy, origin AS _origin"
    );
    let rows = match table {
        "records" => format!("SELECT *, {more} FROM records"),
        view => rows_of_view(view, &more)?,
    };
    // A line comment at the end of the condition must not swallow what follows it.
    Ok(format!(
        "SELECT _leaf, _id, _bytes, _is_wanted, _is_kept, _is_copy FROM ({rows}) AS {table} \
         WHERE _origin = $1 AND ({condition}\n)"
    ))
}

fn rows(batch: &RecordBatch) -> impl Iterator<Item = Row> + '_ {
    let ids = batch.column(1).as_string::<i32>().iter();
    let bytes = batch.column(2).as_primitive::<UInt64Type>().values();
    leaves(batch).zip(ids).zip(bytes).map(|((leaf, id), bytes)| {
        // A row without an id is selected all the same.
        let id = id.and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default();
        Row { leaf, id, bytes: *bytes }
    })
}

fn leaves(batch: &RecordBatch) -> impl Iterator<Item = u64> + '_ {
    batch.column(0).as_primitive::<Int64Type>().values().iter().map(|leaf| *leaf as u64)
}

/// SQL has a third answer.
fn holds(column: &BooleanArray, at: usize) -> bool {
    column.is_valid(at) && column.value(at)
}
