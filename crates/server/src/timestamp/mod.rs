//! Timestamps over checkpoints (RFC 3161): somebody else says when a tree was there. Kept in `DATA/timestamps`, a file each.

mod token;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::Method;
use onrecord_ledger::disk::{Disk as _, RealDisk};
use onrecord_ledger::{Published, Reader};
use onrecord_proof::Checkpoint;
use onrecord_proof::note::Note;
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::web::Web;
pub(crate) use token::{Stamp, verify};

/// The authority, and what it has stamped.
#[derive(Debug)]
pub(crate) struct Timestamps {
    web: Web,
    /// How often the last checkpoint is stamped.
    pub every: Duration,
    folder: PathBuf,
}

/// A file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    checkpoint: String,
    /// The `TimeStampToken`, DER in Base64.
    token: String,
}

/// The digest that a timestamp of a checkpoint is over.
pub(crate) fn digest(note: &Note) -> [u8; 32] {
    Sha256::digest(&note.text).into()
}

impl Timestamps {
    pub(crate) fn new(url: &str, every: Duration, data: &Path) -> anyhow::Result<Self> {
        Ok(Self { web: Web::new(url, Duration::from_secs(20))?, every, folder: data.join("timestamps") })
    }

    /// Has a checkpoint stamped, if it is newer than the last one that was.
    pub(crate) async fn stamp_if_new(&self, published: Published) {
        if let Err(error) = self.stamp(published).await {
            tracing::error!(error = format!("{error:#}"), "the checkpoint has no timestamp; trying again");
        }
    }

    async fn stamp(&self, published: Published) -> anyhow::Result<()> {
        let size = published.checkpoint.size;
        if self.sizes()?.last().is_some_and(|last| *last >= size) {
            return Ok(());
        }
        let mut nonce = [0; 8];
        rand::rng().fill_bytes(&mut nonce);
        nonce[0] = nonce[0] % 0x7f + 1;
        let digest = digest(&published.note);
        let request = Bytes::from(token::request(&digest, nonce));
        let answer = self.web.ask(Method::POST, "", "application/timestamp-query", request).await?;
        if answer.status != 200 {
            bail!("{} answered {}: {}", self.web.base(), answer.status, answer.text().trim());
        }
        let token = token::response(&answer.body).context("the answer of the authority")?;
        ensure!(verify(&token, &digest, &[])?.answers(nonce), "the authority has answered another request");
        let kept = Kept { checkpoint: published.note.to_string(), token: BASE64.encode(token) };
        let path = self.folder.join(format!("{size:020}"));
        RealDisk.create_dir(&self.folder).with_context(|| format!("creating {}", self.folder.display()))?;
        RealDisk
            .replace(&path, &serde_json::to_vec(&kept)?, 0o644)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Sizes of the trees that were stamped, in order. One an hour is 8,760 a year.
    fn sizes(&self) -> anyhow::Result<Vec<u64>> {
        match RealDisk.list(&self.folder) {
            Ok(names) => Ok(names.iter().filter_map(|name| name.parse().ok()).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("listing {}", self.folder.display())),
        }
    }

    /// The first stamped checkpoint over at least `size` leaves, with its token: it says the most about their time.
    pub(crate) fn first_over(&self, size: u64, reader: &Reader) -> anyhow::Result<Option<(Published, Vec<u8>)>> {
        let Some(size) = self.sizes()?.into_iter().find(|stamped| *stamped >= size) else { return Ok(None) };
        let path = self.folder.join(format!("{size:020}"));
        let read = || -> anyhow::Result<(Note, Checkpoint, Vec<u8>)> {
            let kept: Kept = serde_json::from_slice(&RealDisk.read(&path)?)?;
            let (note, token): (Note, _) = (kept.checkpoint.parse()?, BASE64.decode(kept.token)?);
            verify(&token, &digest(&note), &[])?;
            let checkpoint = reader.keys().open(&note)?;
            Ok((note, checkpoint, token))
        };
        let (note, checkpoint, token) = read().with_context(|| format!("reading {}", path.display()))?;
        Ok(Some((Published { note, checkpoint }, token)))
    }
}
