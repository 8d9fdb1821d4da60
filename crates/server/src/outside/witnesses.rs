//! The witnesses of this log: others that cosign its checkpoints, each only if it has seen no other history.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use onrecord_ledger::witness::{Answered, Asked};
use onrecord_ledger::{Found, Published, Reader};
use onrecord_proof::cosignature::{Cosigned, Witness, cosigned};
use onrecord_proof::merkle::HashReader;
use tokio::sync::Mutex;

use crate::web::Web;

/// Exchanges with one witness for one checkpoint: what it remembers may have to be learnt first, and may change meanwhile
/// if a second one asks.
const TRIES: usize = 3;

/// How witnesses are asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WitnessSettings {
    /// Name in messages, key and URL of each.
    pub witnesses: Vec<(String, Witness, String)>,
    /// How many cosignatures make a checkpoint a witnessed one.
    pub quorum: usize,
    /// How often new checkpoints are shown to them.
    pub every: Duration,
    /// How long one may take to answer.
    pub patience: Duration,
}

/// The witnesses.
#[derive(Debug)]
pub(crate) struct Witnesses {
    each: Vec<Mutex<One>>,
    keys: Vec<Witness>,
    pub quorum: usize,
    pub every: Duration,
    patience: Duration,
    /// When the last checkpoint of this run reached the quorum.
    reached: std::sync::Mutex<Option<Instant>>,
    /// Size of the largest checkpoint that those outside were shown: it must not go back.
    shown: AtomicU64,
}

#[derive(Debug)]
struct One {
    name: String,
    asked: Asked,
    web: Web,
    /// What it said last, so that a message comes once and not with every round.
    said: Option<Answered>,
}

/// What came of showing a checkpoint to the witnesses.
#[derive(Debug)]
pub(crate) struct Round {
    /// The checkpoint with the cosignatures that it has.
    pub published: Published,
    pub cosigned: Vec<Cosigned>,
}

impl Witnesses {
    pub(crate) fn new(settings: &WitnessSettings) -> anyhow::Result<Self> {
        let WitnessSettings { witnesses, quorum, every, patience } = settings;
        let one = |(name, witness, url): &(String, Witness, String)| {
            let (asked, web) = (Asked::new(witness.clone(), None), Web::new(url, *patience)?);
            anyhow::Ok(Mutex::new(One { name: name.clone(), asked, web, said: None }))
        };
        let each = witnesses.iter().map(one).collect::<anyhow::Result<_>>()?;
        let keys = witnesses.iter().map(|(_, witness, _)| witness.clone()).collect();
        let (reached, shown) = (std::sync::Mutex::default(), AtomicU64::new(0));
        Ok(Self { each, keys, quorum: *quorum, every: *every, patience: *patience, reached, shown })
    }

    /// Recalls what each has cosigned last.
    pub(crate) async fn begin(&self, last: Option<&Published>) {
        for one in &self.each {
            let mut one = one.lock().await;
            one.asked = Asked::new(one.asked.witness.clone(), last);
        }
    }

    /// Which of them have cosigned a checkpoint.
    pub(crate) fn of(&self, published: &Published) -> Vec<Cosigned> {
        cosigned(&published.note, &self.keys)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.keys.len()
    }

    /// Refuses a log that is behind what a witness has seen, or another one. One that cannot be asked says nothing.
    pub(crate) async fn check(&self, found: &Found) -> anyhow::Result<()> {
        let shown = found.checkpoint()?;
        for (name, answer) in self.ask_all(found, &shown).await {
            let size = shown.checkpoint.size;
            let remedy = "Put the newest copy of the folder back; if that is lost, begin a new log in another --data folder and keep this one to read";
            match answer {
                Ok(Answered::Ahead(theirs)) => bail!(
                    "the witness {name} has cosigned {theirs} leaves of this log, of which the folder has a checkpoint over {size}: it was put back to an older state, or something else has this log's key. {remedy}"
                ),
                Ok(Answered::Forked(at)) => bail!(
                    "the witness {name} has cosigned another tree of {at} leaves under this log's key: the folder is not the one that it has seen, or something else has the key. {remedy}"
                ),
                _ => {}
            }
        }
        Ok(())
    }

    /// Shows the last checkpoint to them, unless it has reached the quorum already.
    pub(crate) async fn round_if_new(&self, reader: &Reader, last: Published) -> Option<Round> {
        let size = reader.cosigned().map_or(0, |cosigned| cosigned.checkpoint.size);
        if size >= last.checkpoint.size { None } else { Some(self.round(reader, last).await) }
    }

    /// Shows a checkpoint to all of them at once, and keeps it if enough have cosigned.
    pub(crate) async fn round(&self, reader: &Reader, mut published: Published) -> Round {
        for (_, answer) in self.ask_all(reader, &published).await {
            if let Ok(Answered::Cosigned(lines)) = answer {
                published.note.signatures.extend(lines);
            }
        }
        let cosigned = self.of(&published);
        if cosigned.len() >= self.quorum {
            self.keep(reader, &published).await;
        }
        Round { published, cosigned }
    }

    async fn keep(&self, reader: &Reader, published: &Published) {
        let (reader, published) = (reader.clone(), published.clone());
        match tokio::task::spawn_blocking(move || reader.keep_cosigned(published)).await {
            Ok(Ok(())) => {
                let mut reached = self.reached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                *reached = Some(Instant::now());
            }
            Ok(Err(error)) => tracing::error!(%error, "a cosigned checkpoint is not kept"),
            Err(error) => tracing::error!(%error, "a cosigned checkpoint is not kept"),
        }
    }

    /// The checkpoint for those outside: the newest that enough have cosigned, or if that has become old, since witnesses
    /// do not answer, the last one. `last` is that.
    pub(crate) fn to_show(&self, reader: &Reader, last: Published) -> Published {
        let reached = *self.reached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = reached.is_some_and(|reached| reached.elapsed() <= 3 * self.every + self.patience);
        let (shown, newest) = (self.shown.load(Ordering::Acquire), last.checkpoint.size);
        let fit = |size: u64| size >= shown && (fresh || size == newest);
        let show = reader.cosigned().filter(|cosigned| fit(cosigned.checkpoint.size)).unwrap_or(last);
        self.shown.fetch_max(show.checkpoint.size, Ordering::AcqRel);
        show
    }

    async fn ask_all<R>(&self, reader: &R, published: &Published) -> Vec<(String, anyhow::Result<Answered>)>
    where
        R: HashReader<Error = onrecord_ledger::Error> + Sync,
    {
        let ask = async |one: &Mutex<One>| {
            let mut one = one.lock().await;
            let answer = one.ask(reader, published).await;
            one.tell(&answer);
            (one.name.clone(), answer)
        };
        join_all(self.each.iter().map(ask)).await
    }
}

impl One {
    async fn ask<R>(&mut self, reader: &R, published: &Published) -> anyhow::Result<Answered>
    where
        R: HashReader<Error = onrecord_ledger::Error> + Sync,
    {
        for _ in 0..TRIES {
            let request = self.asked.request(reader, published)?.to_string();
            let answer = self
                .web
                .ask(Method::POST, "/add-checkpoint", "text/plain; charset=utf-8", Bytes::from(request))
                .await?;
            match self.asked.answer(published, answer.status, &answer.text()) {
                Answered::Again => {}
                answered => return Ok(answered),
            }
        }
        bail!(
            "what it remembers has changed {TRIES} times while it was asked; does another process use this log's key?"
        )
    }

    /// Says what is wrong, once.
    fn tell(&mut self, answer: &anyhow::Result<Answered>) {
        let said = match answer {
            Ok(Answered::Cosigned(_)) => None,
            Ok(other) => Some(other.clone()),
            Err(error) => Some(Answered::Refused(format!("{error:#}"))),
        };
        let before = std::mem::replace(&mut self.said, said.clone());
        let witness = self.name.as_str();
        match said {
            None if before.is_some() => tracing::info!(witness, "the witness cosigns again"),
            said if said == before => {}
            Some(Answered::Ahead(size)) => {
                tracing::error!(
                    witness,
                    size,
                    "the witness has cosigned a larger tree of this log: something else has its key"
                );
            }
            Some(Answered::Forked(size)) => {
                tracing::error!(
                    witness,
                    size,
                    "the witness has cosigned another tree of this log: something else has its key"
                );
            }
            Some(Answered::Refused(problem)) => {
                tracing::warn!(witness, problem, "the witness does not cosign; trying again");
            }
            _ => {}
        }
    }
}
