//! The tree of a log over HTTP (C2SP tlog-tiles).

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, bail};
use onrecord_proof::merkle::HashReader;
use onrecord_proof::tile::{EntryBundle, TILE_WIDTH, Tile};
use onrecord_proof::{Hash, Leaf};
use tokio::runtime::Handle;

use crate::web::Web;

/// The tiles of a tree of some size. Its methods block, so it belongs on a thread for that.
pub(super) struct Tiles {
    web: Web,
    handle: Handle,
    size: u64,
    /// The last tile that was read: neighbours are often asked for together.
    last: Mutex<Option<(Tile, Vec<Hash>)>>,
}

impl Tiles {
    pub(super) fn new(web: Web, handle: Handle, size: u64) -> Self {
        Self { web, handle, size, last: Mutex::default() }
    }

    fn get(&self, path: &str) -> anyhow::Result<bytes::Bytes> {
        let answer = self.handle.block_on(self.web.get(&format!("/{path}")))?;
        if answer.status != 200 {
            bail!("{}/{path} answered {}: {}", self.web.base(), answer.status, answer.text().trim());
        }
        Ok(answer.body)
    }

    /// The leaves of a bundle.
    pub(super) fn entries(&self, bundle: EntryBundle) -> anyhow::Result<Vec<Leaf>> {
        let path = bundle.path();
        let bytes = self.get(&path)?;
        let mut rest = &bytes[..];
        let mut leaves = Vec::new();
        while let Some((len, behind)) = rest.split_first_chunk::<2>() {
            let len = usize::from(u16::from_be_bytes(*len));
            let (leaf, behind) = behind.split_at_checked(len).with_context(|| format!("{path} is cut off"))?;
            leaves.push(Leaf::from_bytes(leaf).with_context(|| format!("a leaf of {path}"))?);
            rest = behind;
        }
        if !rest.is_empty() || leaves.len() != usize::from(bundle.width) {
            bail!("{path} does not have its {} leaves", bundle.width);
        }
        Ok(leaves)
    }

    /// The hash of a leaf.
    pub(super) fn leaf_hash(&self, index: u64) -> anyhow::Result<Hash> {
        self.hashes(0, index, 1)?.first().copied().context("an empty tile")
    }

    fn tile(&self, level: u32, index: u64) -> anyhow::Result<Vec<Hash>> {
        let there = self.size >> (8 * level.min(7));
        let width = there.saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH) as u16;
        let tile = Tile { level: level as u8, index, width };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((have, hashes)) = &*last
            && *have == tile
        {
            return Ok(hashes.clone());
        }
        let path = tile.path();
        let bytes = self.get(&path)?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != usize::from(width) {
            bail!("{path} does not have its {width} hashes");
        }
        *last = Some((tile, hashes.to_vec()));
        Ok(hashes.to_vec())
    }
}

impl HashReader for Tiles {
    type Error = anyhow::Error;

    fn hashes(&self, level: u32, start: u64, count: usize) -> anyhow::Result<Vec<Hash>> {
        let mut hashes = Vec::with_capacity(count);
        while hashes.len() < count {
            let at = start + hashes.len() as u64;
            let tile = self.tile(level, at / TILE_WIDTH)?;
            let from = (at % TILE_WIDTH) as usize;
            let until = tile.len().min(from + count - hashes.len());
            let some = tile.get(from..until).filter(|some| !some.is_empty()).context("a hash beyond the tree")?;
            hashes.extend_from_slice(some);
        }
        Ok(hashes)
    }
}
