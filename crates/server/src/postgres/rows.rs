//! The rows of a query on their way to a client.

use std::sync::Arc;

use datafusion_postgres::arrow_pg::datatypes::encode_recordbatch;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::QueryResponse;
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use futures::{StreamExt, TryStreamExt, stream};
use onrecord_lake::datafusion::arrow::array::RecordBatch;
use onrecord_lake::datafusion::common::ParamValues;
use onrecord_lake::{QueryLimits, QueryResult};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::statement::Query;
use super::{Postgres, columns, error, session};
use crate::engine::Access;

/// A query that is to be run.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) connection: &'a Connection,
    pub(super) query: &'a Query,
    pub(super) canceled: &'a CancellationToken,
    pub(super) format: &'a Format,
}

impl Postgres {
    /// Runs a query until its first rows are there.
    pub(super) async fn rows(&self, asked: Asked<'_>, values: ParamValues) -> PgWireResult<QueryResponse> {
        let Asked { connection, query, canceled, format } = asked;
        let work = self.begin(connection, query, values);
        let (result, first) = tokio::select! {
            () = canceled.cancelled() => return Err(error::canceled()),
            begun = work => begun?,
        };
        let columns = Arc::new(columns::describe(&result.schema(), format)?);
        let encode = Arc::clone(&columns);
        let rows = batches(result, first, canceled.clone(), self.engine.limits.rows).map(move |batch| {
            let flat = |batch| columns::flat(&batch).map_err(|failed| error::error("XX000", failed.to_string()));
            let (rows, failed) = match batch.and_then(flat) {
                Ok(batch) => (Some(encode_recordbatch(Arc::clone(&encode), batch)), None),
                Err(failed) => (None, Some(Err(failed))),
            };
            stream::iter(rows.into_iter().flatten().chain(failed))
        });
        Ok(QueryResponse::new(columns, rows.flatten()))
    }

    async fn begin(
        &self,
        connection: &Connection,
        query: &Query,
        values: ParamValues,
    ) -> PgWireResult<(QueryResult, Option<RecordBatch>)> {
        if query.reads_records() {
            // First the access, then the rows: what cannot be put on record is not read.
            let access = Access { event: "query", statement: &query.recorded(&values) };
            let noted = self.engine.accessed(&connection.reading(), access, None).await;
            noted.map_err(|failed| error::error("58030", format!("the access cannot be put on record: {failed:#}")))?;
        }
        let limits = self.engine.limits.clone();
        let time = session::timeout(connection).map_or(limits.time, |time| time.min(limits.time));
        let limits = QueryLimits { time, ..limits };
        let run = self.engine.lake.run(&self.catalog, query.plan.clone(), values, limits).await;
        let mut result = run.map_err(|failed| error::of_lake(&failed))?;
        // Most that can go wrong goes wrong before the first row.
        let first = result.try_next().await.map_err(|failed| error::of_lake(&failed))?;
        Ok((result, first))
    }
}

/// The batches to the end. A result that was cut off ends with an error, so that nobody takes it for a whole one.
fn batches(
    result: QueryResult,
    first: Option<RecordBatch>,
    canceled: CancellationToken,
    rows_max: usize,
) -> impl futures::Stream<Item = PgWireResult<RecordBatch>> {
    let rest = stream::unfold(Some((result, canceled)), move |state| async move {
        let (mut result, canceled) = state?;
        let next = tokio::select! {
            biased;
            () = canceled.cancelled() => Err(error::canceled()),
            next = result.try_next() => next.map_err(|failed| error::of_lake(&failed)),
        };
        match next {
            Ok(Some(batch)) => Some((Ok(batch), Some((result, canceled)))),
            Ok(None) if result.truncated() => Some((Err(cut_off(rows_max)), None)),
            Ok(None) => None,
            Err(failed) => Some((Err(failed), None)),
        }
    });
    stream::iter(first.map(Ok)).chain(rest)
}

fn cut_off(rows_max: usize) -> PgWireError {
    let text = format!(
        "there are more than the {rows_max} rows that a query may give; add a LIMIT, or raise `lake.query_rows`"
    );
    error::error("54000", text)
}
