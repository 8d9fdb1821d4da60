//! One look at a log: is what it shows now what it showed before, and more?

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context as _, bail};
use onrecord_proof::merkle::{Frontier, check_consistency, consistency_proof};
use onrecord_proof::note::Note;
use onrecord_proof::tile::{EntryBundle, TILE_WIDTH};
use onrecord_proof::{Checkpoint, KeyHistory, Leaf};
use tokio::runtime::Handle;

use super::State;
use super::tiles::Tiles;
use crate::web::Web;

pub(super) struct Look<'a> {
    pub web: &'a Web,
    /// Whether leaves are read too.
    pub entries: bool,
}

/// What was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub note: Note,
    pub checkpoint: Checkpoint,
    /// When the newest record was committed.
    pub newest: i64,
    /// New leaves since the last look, by kind.
    new: BTreeMap<&'static str, u64>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new: Vec<_> = self.new.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let new = if new.is_empty() { "nothing new".to_owned() } else { format!("new: {}", new.join(", ")) };
        write!(
            f,
            "GOOD  {} leaves of {}; {new}",
            self.checkpoint.size,
            crate::terminal::escape(&self.checkpoint.origin)
        )
    }
}

impl Look<'_> {
    /// Looks. The inner error says how the history has changed; the outer one, why the log could not be asked.
    pub(super) async fn at(
        &self,
        keys: &mut KeyHistory,
        state: Option<&State>,
    ) -> anyhow::Result<Result<Seen, String>> {
        let text = self.text("/checkpoint").await?.context("the log shows no checkpoint")?;
        let note: Note = text.parse().context("reading the checkpoint")?;
        if let Err(problem) = self.follow_keys(keys).await? {
            return Ok(Err(problem));
        }
        let checkpoint = match keys.open(&note) {
            Ok(checkpoint) => checkpoint,
            Err(problem) => return Ok(Err(problem.to_string())),
        };
        let before = match state {
            None => None,
            Some(state) => {
                let seen = state.checkpoint.parse().context("the last checkpoint that was seen")?;
                match keys.open(&seen) {
                    Ok(old) => Some((old, state.newest)),
                    // A key that was given up has signed another end of its part.
                    Err(problem) => {
                        return Ok(Err(format!("its keys are not those of the checkpoint that was seen: {problem}")));
                    }
                }
            }
        };
        if let Some((old, _)) = before.as_ref().filter(|(old, _)| old.size > checkpoint.size) {
            return Ok(Err(format!(
                "it had {} leaves and now has {}: it was put back to an older state",
                old.size, checkpoint.size
            )));
        }
        let (web, entries, handle) = (self.web.clone(), self.entries, Handle::current());
        let compare =
            move || Compare { tiles: Tiles::new(web, handle, checkpoint.size), checkpoint, entries }.with(note, before);
        tokio::task::spawn_blocking(compare).await?
    }

    /// What is at a path; `None` if nothing is.
    async fn text(&self, path: &str) -> anyhow::Result<Option<String>> {
        let answer = self.web.get(path).await?;
        match answer.status {
            200 => Ok(Some(answer.text())),
            404 => Ok(None),
            status => bail!("{}{path} answered {status}: {}", self.web.base(), answer.text().trim()),
        }
    }

    /// A log that is not onrecord's shows no keys; then the one that is known must do.
    async fn follow_keys(&self, keys: &mut KeyHistory) -> anyhow::Result<Result<(), String>> {
        let Some(text) = self.text("/keys").await? else { return Ok(Ok(())) };
        let followed = text.parse().and_then(|shown: KeyHistory| keys.follow(shown.rotations()));
        Ok(followed.map_err(|problem| problem.to_string()))
    }
}

struct Compare {
    tiles: Tiles,
    checkpoint: Checkpoint,
    entries: bool,
}

impl Compare {
    /// Compares the tree with the one that was seen before. Blocks.
    fn with(self, note: Note, before: Option<(Checkpoint, i64)>) -> anyhow::Result<Result<Seen, String>> {
        let size = self.checkpoint.size;
        let (old, mut newest) = before.unwrap_or_else(|| (self.checkpoint.clone(), i64::MIN));
        let mut new = BTreeMap::new();
        let same = if self.entries && old.size < size {
            self.entries_since(&old, &mut new, &mut newest)?
        } else {
            let proof = consistency_proof(&self.tiles, old.size, size)?;
            check_consistency(old.size, size, &proof, &old.root, &self.checkpoint.root)
                .map_err(|problem| problem.to_string())
        };
        if let Err(problem) = same {
            return Ok(Err(format!("its {size} leaves do not begin with the {} that were seen: {problem}", old.size)));
        }
        if newest == i64::MIN || !self.entries {
            newest = self.last_leaf()?;
        }
        Ok(Ok(Seen { note, checkpoint: self.checkpoint, newest, new }))
    }

    /// Adds the new leaves to the old tree: they must lead to the new root.
    fn entries_since(
        &self,
        old: &Checkpoint,
        new: &mut BTreeMap<&'static str, u64>,
        newest: &mut i64,
    ) -> anyhow::Result<Result<(), String>> {
        let mut frontier = Frontier::read(&self.tiles, old.size)?;
        if frontier.root() != old.root {
            return Ok(Err("the tiles show another tree".into()));
        }
        while frontier.size() < self.checkpoint.size {
            let bundle = self.bundle(frontier.size() / TILE_WIDTH);
            let skip = (frontier.size() % TILE_WIDTH) as usize;
            for leaf in self.tiles.entries(bundle)?.iter().skip(skip) {
                *new.entry(leaf.kind.name()).or_default() += 1;
                *newest = leaf.committed_at;
                frontier.push(leaf.hash(), |_, _| ());
            }
        }
        let same = frontier.root() == self.checkpoint.root;
        Ok(same.then_some(()).ok_or_else(|| "the leaves do not lead to its root".into()))
    }

    fn bundle(&self, index: u64) -> EntryBundle {
        let width = (self.checkpoint.size - index * TILE_WIDTH).min(TILE_WIDTH) as u16;
        EntryBundle { index, width }
    }

    /// When the last leaf was committed. It must be in the tree.
    fn last_leaf(&self) -> anyhow::Result<i64> {
        let Some(last) = self.checkpoint.size.checked_sub(1) else { return Ok(onrecord_ledger::now()) };
        let leaves = self.tiles.entries(self.bundle(last / TILE_WIDTH))?;
        let leaf: &Leaf = leaves.last().context("the log shows an empty bundle of entries")?;
        if self.tiles.leaf_hash(last)? != leaf.hash() {
            bail!("the log shows another leaf {last} than is in its tree");
        }
        Ok(leaf.committed_at)
    }
}
