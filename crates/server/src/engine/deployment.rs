//! What an operator says or changes: a new key of the log, and announced deployments. What changes a model server within a while of one is no drift.

use futures::TryStreamExt as _;
use onrecord_lake::datafusion::scalar::ScalarValue;
use onrecord_proof::{Kind, field};
use uuid::Uuid;

use super::{Engine, Reading, new_record};

/// The event of a `system` record that announces a deployment.
pub(crate) const DEPLOYMENT: &str = "deployment";

impl Engine {
    /// The leaf of the configuration that was the newest at a time, of any model server and model or of these.
    pub(crate) async fn configuration_at(
        &self,
        time: i64,
        upstream: Option<&str>,
        model: Option<&str>,
    ) -> anyhow::Result<Option<u64>> {
        let statement = "SELECT max(leaf_index) FROM records WHERE kind = 'config' AND captured_at <= $1 \
            AND coalesce(onrecord_upstream = $2, true) AND coalesce(onrecord_model_name = $3, true)";
        let time = ScalarValue::TimestampMicrosecond(Some(time), Some("UTC".into()));
        let text = |text: Option<&str>| ScalarValue::Utf8(text.map(ToOwned::to_owned));
        let values = vec![time, text(upstream), text(model)];
        let mut rows = self.lake.query_with(statement, values, self.limits.clone()).await?;
        while let Some(batch) = rows.try_next().await? {
            let leaf = ScalarValue::try_from_array(batch.column(0), 0).map_err(onrecord_lake::Error::from)?;
            if let ScalarValue::Int64(Some(leaf)) = leaf {
                return Ok(Some(leaf as u64));
            }
        }
        Ok(None)
    }

    /// Gives the log a new key.
    pub(crate) async fn rotate_key(&self, reading: &Reading) -> anyhow::Result<onrecord_proof::KeyHistory> {
        let (ledger, principal) = (std::sync::Arc::clone(&self.ledger), reading.principal.clone());
        let rotated = tokio::task::spawn_blocking(move || {
            ledger.rotate_key(|next| {
                let mut record = new_record(Kind::System);
                record.set(&field::EVENT, "key_rotation");
                record.set(&field::KEY_NEXT, next.to_string());
                record.set(&field::PRINCIPAL, principal);
                record
            })
        });
        Ok(rotated.await??)
    }

    /// Puts the announcement of a deployment on record.
    pub(crate) async fn announce(&self, reading: &Reading, note: &str, upstream: Option<&str>) -> anyhow::Result<Uuid> {
        let mut record = new_record(Kind::System);
        record.set(&field::EVENT, DEPLOYMENT);
        record.set(&field::NOTE, note);
        record.set(&field::PRINCIPAL, reading.principal.as_str());
        if let Some(upstream) = upstream {
            record.set(&field::UPSTREAM, upstream);
        }
        self.ledger.append(&record)?.await?;
        Ok(record.id)
    }
}
