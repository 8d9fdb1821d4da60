//! The prompt templates of applications: their texts, as far as they are registered, and those that calls have named.

use onrecord_proof::{Kind, field};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Engine, Reading, new_record};

/// A template that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Template {
    pub name: String,
    pub version: Option<String>,
    /// Hexadecimal; as a call has declared it, else that of the registered text.
    pub sha256: Option<String>,
    /// When a call was the first and the last to name it: RFC 3339, UTC.
    pub first_seen: Option<String>,
    pub last_seen: Option<String>,
    pub calls: i64,
    /// The record that has its text.
    pub text_id: Option<String>,
}

const LIST: &str = "WITH seen AS (SELECT gen_ai_prompt_name AS name, onrecord_prompt_version AS version, kind, id, \
        leaf_index, captured_at, encode(onrecord_prompt_sha256, 'hex') AS sha256 \
        FROM records WHERE gen_ai_prompt_name IS NOT NULL), \
    texts AS (SELECT name, version, last_value(sha256 ORDER BY leaf_index) AS sha256 \
        FROM seen WHERE kind = 'system' GROUP BY name, version), \
    named AS (SELECT seen.name, seen.version, seen.kind, seen.id, seen.captured_at, \
        coalesce(seen.sha256, texts.sha256) AS sha256 FROM seen LEFT JOIN texts \
        ON seen.name = texts.name AND coalesce(seen.version, '') = coalesce(texts.version, '')) \
    SELECT name, version, sha256, min(captured_at) FILTER (WHERE kind <> 'system') AS first_seen, \
        max(captured_at) FILTER (WHERE kind <> 'system') AS last_seen, \
        count(*) FILTER (WHERE kind <> 'system') AS calls, max(id) FILTER (WHERE kind = 'system') AS text_id \
    FROM named GROUP BY name, version, sha256 ORDER BY name, version, sha256";

impl Engine {
    /// Puts the text of a template on record.
    pub(crate) async fn register_template(
        &self,
        reading: &Reading,
        name: &str,
        text: &str,
    ) -> anyhow::Result<(Uuid, [u8; 32])> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        let mut record = new_record(Kind::System);
        record.set(&field::EVENT, "template");
        record.set(&field::PRINCIPAL, reading.principal.as_str());
        onrecord_capture::declare("x-onrecord-template", name, &mut record);
        record.set(&field::PROMPT_SHA256, digest);
        record.set(&field::PROMPT_TEXT, text);
        self.ledger.append(&record)?.await?;
        Ok((record.id, digest))
    }

    /// Every template that a call has named or that was registered.
    pub(crate) async fn templates(&self) -> anyhow::Result<Vec<Template>> {
        self.rows(LIST, Vec::new(), self.limits.clone()).await
    }
}
