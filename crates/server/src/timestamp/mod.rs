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
use onrecord_proof::note::Note;
use onrecord_proof::{Hash, KeyHistory};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::render::hex;
use crate::web::Web;
pub(crate) use token::{Stamp, verify};

/// The folder of the timestamps in a data folder.
const FOLDER: &str = "timestamps";

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
#[serde(deny_unknown_fields)]
struct Kept {
    checkpoint: String,
    /// The `TimeStampToken`, DER in Base64.
    token: String,
    /// SHA-256 of both texts in hexadecimal: neither the signature of the log nor that of the authority is over all of them.
    sha256: String,
}

impl Kept {
    fn new(checkpoint: String, token: String) -> Self {
        let sha256 = hex(&Sha256::new().chain_update(&checkpoint).chain_update(&token).finalize());
        Self { checkpoint, token, sha256 }
    }

    /// The checkpoint and the token in the file at `path`, after everything was checked that can be without knowing the
    /// authority.
    fn read(path: &Path, keys: &KeyHistory) -> anyhow::Result<(Published, Vec<u8>)> {
        let kept: Self = serde_json::from_slice(&RealDisk.read(path)?)?;
        let Self { checkpoint, token, sha256 } = Self::new(kept.checkpoint, kept.token);
        ensure!(sha256 == kept.sha256, "its bytes are not those that were written");
        let (note, token): (Note, _) = (checkpoint.parse()?, BASE64.decode(token)?);
        verify(&token, &digest(&note), &[])?;
        let checkpoint = keys.open(&note)?;
        Ok((Published { note, checkpoint }, token))
    }
}

/// What is wrong with the timestamps in a data folder, file by file. `roots` are size and root of the log's checkpoints, in
/// order; whoever has stamped another one has seen another history.
pub(crate) fn check(
    data: &Path,
    keys: &KeyHistory,
    roots: &[(u64, Hash)],
) -> anyhow::Result<Vec<(PathBuf, anyhow::Error)>> {
    let folder = data.join(FOLDER);
    let last = roots.last().map_or(0, |(size, _)| *size);
    let problem = |size: u64| {
        let path = folder.join(file_name(size));
        let of_the_log = || -> anyhow::Result<()> {
            let Published { checkpoint, .. } = Kept::read(&path, keys)?.0;
            ensure!(checkpoint.size == size, "it is of a checkpoint over {} leaves", checkpoint.size);
            // A running log may have signed and stamped one since.
            let known = size > last || roots.binary_search(&(size, checkpoint.root)).is_ok();
            ensure!(known, "the checkpoint over {size} leaves that was stamped is not one of the log's");
            Ok(())
        };
        of_the_log().err().map(|error| (path.clone(), error))
    };
    Ok(sizes(&folder)?.into_iter().filter_map(problem).collect())
}

/// Sizes of the trees that were stamped, in order. One an hour is 8,760 a year.
fn sizes(folder: &Path) -> anyhow::Result<Vec<u64>> {
    match RealDisk.list(folder) {
        Ok(names) => Ok(names.iter().filter_map(|name| name.parse().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("listing {}", folder.display())),
    }
}

fn file_name(size: u64) -> String {
    format!("{size:020}")
}

/// The digest that a timestamp of a checkpoint is over.
pub(crate) fn digest(note: &Note) -> [u8; 32] {
    Sha256::digest(&note.text).into()
}

impl Timestamps {
    pub(crate) fn new(url: &str, every: Duration, data: &Path) -> anyhow::Result<Self> {
        Ok(Self { web: Web::new(url, Duration::from_secs(20))?, every, folder: data.join(FOLDER) })
    }

    /// Has a checkpoint stamped, if it is newer than the last one that was.
    pub(crate) async fn stamp_if_new(&self, published: Published) {
        if let Err(error) = self.stamp(published).await {
            tracing::error!(error = format!("{error:#}"), "the checkpoint has no timestamp; trying again");
        }
    }

    async fn stamp(&self, published: Published) -> anyhow::Result<()> {
        let size = published.checkpoint.size;
        if sizes(&self.folder)?.last().is_some_and(|last| *last >= size) {
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
        let kept = Kept::new(published.note.to_string(), BASE64.encode(token));
        let path = self.folder.join(file_name(size));
        RealDisk.create_dir(&self.folder).with_context(|| format!("creating {}", self.folder.display()))?;
        RealDisk
            .replace(&path, &serde_json::to_vec(&kept)?, 0o644)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// The first stamped checkpoint over at least `size` leaves, with its token: it says the most about their time.
    pub(crate) fn first_over(&self, size: u64, reader: &Reader) -> anyhow::Result<Option<(Published, Vec<u8>)>> {
        let Some(size) = sizes(&self.folder)?.into_iter().find(|stamped| *stamped >= size) else { return Ok(None) };
        let path = self.folder.join(file_name(size));
        Kept::read(&path, &reader.keys()).map(Some).with_context(|| format!("reading {}", path.display()))
    }
}
