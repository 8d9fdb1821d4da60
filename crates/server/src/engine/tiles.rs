//! The tree and its leaves as C2SP tlog-tiles has them, for whoever follows the log from outside. Leaves hold no
//! payload, so that reading them is no access.

use futures::TryStreamExt;
use onrecord_proof::merkle::HashReader;
use onrecord_proof::tile::{EntryBundle, TILE_WIDTH, Tile};

use super::Engine;

impl Engine {
    /// The hashes of a tile, one behind the other. `None` if the last checkpoint does not cover all of it.
    pub(crate) fn tile(&self, tile: Tile) -> anyhow::Result<Option<Vec<u8>>> {
        if tile.needs() > self.published_size() {
            return Ok(None);
        }
        let hashes = self.reader().hashes(tile.level.into(), tile.index * TILE_WIDTH, tile.width.into())?;
        Ok(Some(hashes.concat()))
    }

    /// The leaves of an entry bundle. `None` if the last checkpoint does not cover all of it, or the record of one is gone.
    pub(crate) async fn entries(&self, bundle: EntryBundle) -> anyhow::Result<Option<Vec<u8>>> {
        let leaves = bundle.leaves();
        if leaves.end > self.published_size() {
            return Ok(None);
        }
        // Record by record: payload can be large, and only the leaf is wanted.
        let leaves = self.lake.records(leaves).map_ok(|committed| committed.leaf().to_bytes());
        let leaves: Vec<_> = leaves.try_collect().await?;
        let is_whole = leaves.len() == usize::from(bundle.width);
        Ok(is_whole.then(|| EntryBundle::bytes(leaves.iter().map(Vec::as_slice))))
    }

    fn published_size(&self) -> u64 {
        self.reader().checkpoint().map_or(0, |published| published.checkpoint.size)
    }
}
