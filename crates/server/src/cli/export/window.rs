//! The rows of an export, some leaves at a time.

use http_body_util::BodyExt as _;
use onrecord_lake::datafusion::arrow::array::RecordBatch;
use onrecord_lake::datafusion::arrow::ipc::reader::StreamReader;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Format;
use crate::cli::client::{Client, TooMuch};

/// Leaves of the first window. Each record is one row at most, so this also bounds the rows.
const FIRST: u64 = 2_000;
/// A query gives 100,000 rows unless it is told otherwise.
const WIDEST: u64 = 50_000;
/// A window whose rows take less than this, in bytes, is followed by a wider one.
const SMALL: usize = 16 << 20;

/// Where in the log an export has come to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Windows {
    next: u64,
    /// The leaves that there were when it began.
    end: u64,
    width: u64,
}

/// What is asked for in each window.
pub(super) struct Asked<'a> {
    pub view: &'a str,
    pub columns: &'a str,
    pub condition: Option<&'a str>,
}

impl Asked<'_> {
    fn sql(&self, start: u64, end: u64) -> String {
        let Self { view, columns, condition } = self;
        let meets = meets(*condition);
        format!(
            "SELECT {columns} FROM {view} WHERE leaf_index >= {start} AND leaf_index < {end}{meets} ORDER BY leaf_index"
        )
    }
}

/// The condition as the end of another one. It ends with a line break, lest a comment in it hide what follows.
fn meets(condition: Option<&str>) -> String {
    condition.map(|condition| format!(" AND ({condition}\n)")).unwrap_or_default()
}

impl Windows {
    /// Over all leaves that there are now, and how many rows they have.
    pub(super) async fn over(client: &Client, view: &str, condition: Option<&str>) -> anyhow::Result<(Self, u64)> {
        let sql = format!(
            "SELECT count(*) AS rows, min(leaf_index) AS first, max(leaf_index) AS last FROM {view} WHERE leaf_index >= 0{}",
            meets(condition)
        );
        let body = json!({ "sql": sql, "format": Format::Json });
        let answer: Value = client.post_json("/api/v1/query", &body).await?;
        let of = |name: &str| answer[0][name].as_u64();
        let next = of("first").unwrap_or_default();
        let end = of("last").map_or(next, |last| last + 1);
        Ok((Self { next, end, width: FIRST }, of("rows").unwrap_or_default()))
    }

    pub(super) const fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// The rows of the next leaves, in their order. What is too much for one query is asked for in smaller pieces.
    pub(super) async fn next(&mut self, client: &Client, asked: &Asked<'_>) -> anyhow::Result<Vec<RecordBatch>> {
        loop {
            let end = self.next.saturating_add(self.width).min(self.end);
            match rows(client, &asked.sql(self.next, end)).await {
                Ok((size, rows)) => {
                    self.next = end;
                    if size < SMALL {
                        self.width = (self.width * 2).min(WIDEST);
                    }
                    return Ok(rows);
                }
                Err(error) if self.width > 1 && error.is::<TooMuch>() => self.width /= 2,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The rows that a statement gives, and the bytes that they took.
async fn rows(client: &Client, sql: &str) -> anyhow::Result<(usize, Vec<RecordBatch>)> {
    let response = client.post("/api/v1/query", &json!({ "sql": sql, "format": Format::Arrow }), None).await?;
    // After the first row a query that comes to a limit can only be broken off.
    let body = response.into_body().collect().await.map_err(|error| TooMuch(error.to_string()))?.to_bytes();
    let rows = StreamReader::try_new(&body[..], None)?.collect::<Result<_, _>>()?;
    Ok((body.len(), rows))
}
