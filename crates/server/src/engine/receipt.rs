//! The checkpoint that evidence stands under, and who has cosigned it.

use onrecord_ledger::Published;

use super::Engine;

/// A checkpoint for evidence.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub published: Published,
    /// A timestamp of it (RFC 3161).
    pub timestamp: Option<Vec<u8>>,
    /// What is missing, if too few witnesses have cosigned it.
    pub unwitnessed: Option<String>,
}

impl Engine {
    /// A checkpoint over at least `size` leaves: the first that has a timestamp; else the newest that enough witnesses have cosigned or, if it does not reach that
    /// far, one that they are asked for now. `None` if the log is empty.
    pub(crate) async fn receipt(&self, size: u64) -> anyhow::Result<Option<Receipt>> {
        if let Some(stamped) = self.stamped(size).await? {
            return Ok(Some(stamped));
        }
        let reader = self.reader().clone();
        let Some(witnesses) = &self.outside.witnesses else {
            let published = tokio::task::spawn_blocking(move || reader.checkpoint_now()).await??;
            return Ok(published.map(|published| Receipt { published, timestamp: None, unwitnessed: None }));
        };
        let reaches = |published: &Published| published.checkpoint.size >= size;
        let enough = |published: &Published| witnesses.of(published).len() >= witnesses.quorum;
        if let Some(published) = reader.cosigned().filter(|cosigned| reaches(cosigned) && enough(cosigned)) {
            return Ok(Some(Receipt { published, timestamp: None, unwitnessed: None }));
        }
        let last = tokio::task::spawn_blocking({
            let reader = reader.clone();
            move || reader.checkpoint_now()
        });
        let Some(last) = last.await?? else { return Ok(None) };
        let round = witnesses.round(&reader, last).await;
        let (have, need, of) = (round.cosigned.len(), witnesses.quorum, witnesses.count());
        let short = || format!("{have} of {of} witnesses have cosigned its checkpoint, {need} must");
        Ok(Some(Receipt { published: round.published, timestamp: None, unwitnessed: (have < need).then(short) }))
    }

    /// The first checkpoint over at least `size` leaves that has a timestamp, if enough witnesses have cosigned it.
    async fn stamped(&self, size: u64) -> anyhow::Result<Option<Receipt>> {
        let Some(timestamps) = self.outside.timestamps.clone() else { return Ok(None) };
        let reader = self.reader().clone();
        let found = tokio::task::spawn_blocking(move || timestamps.first_over(size, &reader)).await??;
        let enough = |published: &Published| {
            let witnesses = self.outside.witnesses.as_ref();
            witnesses.is_none_or(|witnesses| witnesses.of(published).len() >= witnesses.quorum)
        };
        let found = found.filter(|(published, _)| enough(published));
        Ok(found.map(|(published, token)| Receipt { published, timestamp: Some(token), unwitnessed: None }))
    }

    /// The checkpoint that is shown to those who follow the log.
    pub(crate) fn shown_checkpoint(&self) -> Option<Published> {
        let last = self.reader().checkpoint()?;
        let witnesses = self.outside.witnesses.as_ref();
        Some(witnesses.map_or_else(|| last.clone(), |witnesses| witnesses.to_show(self.reader(), last.clone())))
    }
}
