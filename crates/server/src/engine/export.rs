//! That rows were handed out as files is on record, and the manifest of such an export ties them to their leaves.

use anyhow::{Context as _, ensure};
use onrecord_ledger::Committed;
use onrecord_proof::batch::batch_proof;
use onrecord_proof::manifest::{Contents, EVENT, Manifest, leaves_digest};
use onrecord_proof::merkle::HashReader as _;
use onrecord_proof::{Group, Hash, field};
use sha2::{Digest as _, Sha256};

use super::{Access, Engine, Reading, Refused};

impl Engine {
    /// Puts an export of `contents` on record, with the digests of its files and its leaves, and gives its manifest.
    pub(crate) async fn exported(&self, reading: &Reading, contents: Contents) -> anyhow::Result<Manifest> {
        let indexes = contents.indexes(self.reader().size()).map_err(|error| Refused::Wrong(error.to_string()))?;
        if indexes.is_empty() {
            return Err(Refused::Wrong("an export has one leaf at least".into()).into());
        }
        let hashes = self.leaf_hashes(&contents).await?;
        let leaves: Vec<_> = indexes.iter().copied().zip(hashes.iter().copied()).collect();
        let statement = contents.statement();
        let mut record = Self::access_record(reading, Access { event: EVENT, statement: &statement });
        record.set(&field::ACCESS_ROWS, i64::try_from(contents.row_count())?);
        record.set(&field::EXPORT_FILES, Hash::from(Sha256::digest(contents.sums())));
        record.set(&field::EXPORT_LEAVES, leaves_digest(&leaves));
        let committed = self.ledger.append(&record)?.await?;
        let said = Committed { index: committed.index, committed_at: committed.committed_at, record };
        let receipt = self.receipt(said.index + 1).await?.context("the log is empty")?;
        let evidence = self.evidence(&[said], [Group::Who, Group::Context].into_iter().collect(), &[], &receipt)?;
        let (reader, size) = (self.reader().clone(), receipt.published.checkpoint.size);
        let proof = tokio::task::spawn_blocking(move || batch_proof(&reader, &indexes, size)).await??;
        Ok(Manifest::new(contents, &hashes, &proof, evidence))
    }

    async fn leaf_hashes(&self, contents: &Contents) -> anyhow::Result<Vec<Hash>> {
        let (reader, runs) = (self.reader().clone(), contents.leaves.clone());
        tokio::task::spawn_blocking(move || {
            let mut hashes = Vec::new();
            for (first, count) in runs {
                let run = reader.hashes(0, first, usize::try_from(count)?)?;
                ensure!(run.len() as u64 == count, "the tree has not all leaves from {first} on");
                hashes.extend(run);
            }
            Ok(hashes)
        })
        .await?
    }
}
