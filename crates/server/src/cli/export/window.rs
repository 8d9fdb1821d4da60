//! The rows of an export, some leaves at a time.

use axum::body::{Body, Bytes};
use futures::TryStreamExt as _;
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
const SMALL: usize = 8 << 20;
/// One whose rows take more is followed by a narrower one.
const LARGE: usize = 16 << 20;
/// One whose rows take more is asked for again in smaller pieces, since all of it is held in memory, and once more as rows.
const MOST: usize = 64 << 20;

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

/// Asks for no row of these columns, so that a wrong one is found before anything is written.
pub(super) async fn try_columns(client: &Client, view: &str, columns: &str) -> anyhow::Result<()> {
    let body = json!({ "sql": format!("SELECT {columns} FROM {view} LIMIT 0"), "format": Format::Json });
    let _: Value = client.post_json("/api/v1/query", &body).await?;
    Ok(())
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
            // One record is taken however large it is.
            let most = if self.width > 1 { MOST } else { usize::MAX };
            match rows(client, &asked.sql(self.next, end), most).await {
                Ok((size, rows)) => {
                    self.next = end;
                    self.width = self.width_after(size);
                    return Ok(rows);
                }
                Err(error) if self.width > 1 && error.is::<TooMuch>() => self.width /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Leaves of the window after one whose rows took so many bytes.
    fn width_after(&self, size: usize) -> u64 {
        match size {
            ..SMALL => (self.width * 2).min(WIDEST),
            SMALL..=LARGE => self.width,
            _ => (self.width / 2).max(1),
        }
    }
}

/// The rows that a statement gives, and the bytes that they took.
async fn rows(client: &Client, sql: &str, most: usize) -> anyhow::Result<(usize, Vec<RecordBatch>)> {
    let response = client.post("/api/v1/query", &json!({ "sql": sql, "format": Format::Arrow }), None).await?;
    let body = collect(response.into_body(), most).await?;
    let rows = StreamReader::try_new(&body[..], None)?.collect::<Result<_, _>>()?;
    Ok((body.len(), rows))
}

/// A body of at most so many bytes.
async fn collect(body: Body, most: usize) -> Result<Bytes, TooMuch> {
    let (mut pieces, mut all) = (body.into_data_stream(), Vec::new());
    // After the first row a query that comes to a limit can only be broken off.
    while let Some(piece) = pieces.try_next().await.map_err(|error| TooMuch(error.to_string()))? {
        if all.len() + piece.len() > most {
            return Err(TooMuch(format!("the rows take more than {most} bytes")));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_the_size_of_their_rows() {
        let mut windows = Windows { next: 0, end: u64::MAX, width: FIRST };
        for (size, width) in [
            (0, 4_000),
            (SMALL - 1, 8_000),
            (SMALL, 8_000),
            (LARGE, 8_000),
            (LARGE + 1, 4_000),
            (0, 8_000),
            (0, 16_000),
            (0, 32_000),
            (0, WIDEST),
            (0, WIDEST),
        ] {
            windows.width = windows.width_after(size);
            assert_eq!(windows.width, width, "{size}");
        }
        windows.width = 1;
        assert_eq!(windows.width_after(usize::MAX), 1);
    }

    #[tokio::test]
    async fn a_body_is_held_as_far_as_it_may() {
        let body = || Body::from_stream(futures::stream::iter([&b"abc"[..], b"de"].map(Ok::<_, std::io::Error>)));
        assert_eq!(collect(body(), 5).await.unwrap(), "abcde");
        assert!(collect(body(), 4).await.is_err());
        let broken = [Ok(&b"abc"[..]), Err(std::io::Error::other("a limit"))];
        assert!(collect(Body::from_stream(futures::stream::iter(broken)), 5).await.unwrap_err().0.contains("a limit"));
    }
}
