//! A copy of the last checkpoint on other storage, which whoever puts the folder back to an older state cannot put back.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Method;
use onrecord_ledger::disk::{Disk as _, RealDisk};
use onrecord_ledger::{Found, Published};
use onrecord_proof::note::Note;

use crate::web::Web;

/// Where the copy is.
#[derive(Debug)]
pub(crate) struct Anchor {
    place: Place,
    /// How often it is written at most.
    pub every: Duration,
    /// Size of the copy.
    kept: Mutex<u64>,
}

#[derive(Debug)]
pub(crate) enum Place {
    File(PathBuf),
    /// Read with GET and written with PUT.
    Web(Box<Web>),
}

impl Anchor {
    pub(crate) fn in_file(path: PathBuf, every: Duration) -> Self {
        Self { place: Place::File(path), every, kept: Mutex::default() }
    }

    pub(crate) fn at(url: &str, every: Duration) -> anyhow::Result<Self> {
        let web = Web::new(url, Duration::from_secs(10))?;
        Ok(Self { place: Place::Web(Box::new(web)), every, kept: Mutex::default() })
    }

    fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Web(web) => web.base().to_owned(),
        }
    }

    /// Refuses a log that is behind its copy. A place that cannot be read is refused too: it may say so.
    pub(crate) async fn check(&self, found: &Found) -> anyhow::Result<()> {
        let name = self.name();
        let remedy = || {
            format!("the anchor {name}; if the folder is whole for certain, leave [anchor] out or name another place")
        };
        let Some(note) = self.read().await.with_context(remedy)? else {
            tracing::warn!(
                anchor = name,
                "there is no copy of a checkpoint yet, so whether the log is whole is not checked"
            );
            return Ok(());
        };
        let note: Note = note.parse().with_context(remedy)?;
        found.must_hold(&note, &name)?;
        Ok(())
    }

    async fn read(&self) -> anyhow::Result<Option<String>> {
        match &self.place {
            Place::File(path) => match std::fs::read(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                read => Ok(Some(String::from_utf8(read.with_context(|| format!("reading {}", path.display()))?)?)),
            },
            Place::Web(web) => {
                let answer = web.get("").await?;
                match answer.status {
                    404 | 410 => Ok(None),
                    200 => Ok(Some(answer.text())),
                    status => bail!("it answered {status}: {}", answer.text().trim()),
                }
            }
        }
    }

    /// Writes the copy, if it is not there yet. It comes after the checkpoint itself is durable, so it is never ahead of it.
    pub(crate) async fn keep(&self, last: &Published) {
        if *self.size() >= last.checkpoint.size {
            return;
        }
        match self.write(&last.note).await {
            Ok(()) => *self.size() = last.checkpoint.size,
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the copy of the last checkpoint is not written; trying again"
                );
            }
        }
    }

    async fn write(&self, note: &Note) -> anyhow::Result<()> {
        let text = note.to_string();
        match &self.place {
            Place::File(path) => {
                let to = path.clone();
                let written =
                    tokio::task::spawn_blocking(move || RealDisk.replace(&to, text.as_bytes(), 0o644)).await?;
                written.with_context(|| format!("writing {}", path.display()))
            }
            Place::Web(web) => {
                let answer = web.ask(Method::PUT, "", "text/plain; charset=utf-8", Bytes::from(text)).await?;
                if !(200..300).contains(&answer.status) {
                    bail!("{} answered {}: {}", web.base(), answer.status, answer.text().trim());
                }
                Ok(())
            }
        }
    }

    fn size(&self) -> std::sync::MutexGuard<'_, u64> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
