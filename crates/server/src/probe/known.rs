//! What the log has of earlier configurations and of announced deployments.

use anyhow::Context as _;
use futures::TryStreamExt as _;
use onrecord_lake::QueryLimits;
use onrecord_lake::datafusion::scalar::ScalarValue;
use onrecord_proof::Record;
use uuid::Uuid;

use crate::engine::{DEPLOYMENT, Engine};

/// The newest configuration of each model of an upstream.
pub(super) async fn configurations(engine: &Engine, upstream: &str) -> anyhow::Result<Vec<Record>> {
    let statement = "SELECT max(leaf_index) FROM records WHERE kind = 'config' AND onrecord_upstream = $1 \
                     AND origin = $2 GROUP BY onrecord_model_name";
    let values = vec![ScalarValue::from(upstream), ScalarValue::from(engine.lake.origin())];
    let mut records = Vec::new();
    for leaf in first_column(engine, statement, values).await? {
        if let ScalarValue::Int64(Some(leaf)) = leaf {
            records.extend(engine.lake.get(leaf as u64).await?.map(|committed| committed.record));
        }
    }
    Ok(records)
}

/// The newest deployment that was announced at `since` or later.
pub(super) async fn deployment(engine: &Engine, since: i64) -> anyhow::Result<Option<Uuid>> {
    let statement = "SELECT id FROM records WHERE kind = 'system' AND onrecord_event = $1 AND captured_at >= $2 \
                     ORDER BY leaf_index DESC LIMIT 1";
    let since = ScalarValue::TimestampMicrosecond(Some(since), Some("UTC".into()));
    let ids = first_column(engine, statement, vec![ScalarValue::from(DEPLOYMENT), since]).await?;
    match ids.into_iter().next() {
        Some(ScalarValue::Utf8(Some(id)) | ScalarValue::Utf8View(Some(id))) => {
            Ok(Some(Uuid::parse_str(&id).context("the id of a deployment")?))
        }
        _ => Ok(None),
    }
}

async fn first_column(engine: &Engine, statement: &str, values: Vec<ScalarValue>) -> anyhow::Result<Vec<ScalarValue>> {
    let mut rows = engine.lake.query_with(statement, values, QueryLimits::default()).await?;
    let mut all = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        for row in 0..batch.num_rows() {
            all.push(ScalarValue::try_from_array(batch.column(0), row).map_err(onrecord_lake::Error::from)?);
        }
    }
    Ok(all)
}
