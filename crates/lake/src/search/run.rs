//! Runs a search over everything that is committed: indexes where there are some, else the rows themselves.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use onrecord_ledger::Committed;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::ask::ask;
use super::best::Best;
use super::brief::Brief;
use super::matcher::matches;
use super::query::Query;
use super::read::Index;
use super::snippet::Snippet;
use super::text::{Document, exact_term};
use crate::error::{Error, Result};
use crate::lake::{Awaited, Lake, blocking, blocking_while_awaited};
use crate::snapshot::Snapshot;
use crate::table::DataFile;

/// Payload that is read from the log at once, in bytes.
const CHUNK: usize = 4 << 20;
/// Files that are asked at the same time: one for each thread, and one that waits for the disk.
const AT_ONCE: usize = 4;
/// Hits of a search that shows them, at most: each has its record read.
pub(crate) const HITS_MAX: usize = 10_000;

/// What a search gives.
#[derive(Debug, Clone)]
pub struct SearchOptions {
    /// Only records that began then or later, in microseconds since 1970-01-01 UTC.
    pub since: Option<i64>,
    /// Only records that began before.
    pub until: Option<i64>,
    /// Hits to show at most.
    pub limit: usize,
    /// The newest hits, instead of those with the highest score.
    pub newest: bool,
    /// How long it may take.
    pub time: Duration,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { since: None, until: None, limit: 50, newest: false, time: Duration::from_mins(1) }
    }
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchHit {
    /// The log that it is in.
    pub origin: String,
    /// Its place there.
    pub leaf_index: u64,
    /// Its id.
    pub id: Uuid,
    /// What it is about.
    pub kind: &'static str,
    /// When it began, in microseconds since 1970-01-01 UTC.
    pub time: i64,
    /// Its session.
    pub session: Option<String>,
    /// The model that answered, or else the one that was asked for.
    pub model: Option<String>,
    /// The higher, the more it is about what was searched for. Depends on the record and the query alone.
    pub score: f32,
    /// Where.
    pub snippet: Snippet,
}

/// The hits of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResult {
    /// The best or newest ones first.
    pub hits: Vec<SearchHit>,
    /// How many there are in all.
    pub total: u64,
}

impl Lake {
    /// Searches everything that is committed now. An [`Error::Query`] is about the query, and names the place in it.
    ///
    /// A hit has all that `query` asks for in its own record; calls carry the history of their conversation, so a word
    /// is found in every call that it was sent with.
    pub async fn search(&self, query: &str, options: SearchOptions) -> Result<SearchResult> {
        let (limit, time) = (options.limit.min(HITS_MAX), options.time);
        let search = Search::new(self, query)?.between(options.since, options.until);
        let found = async move {
            let (found, total) = search.best(limit, options.newest).await?;
            let shown = search.shown(&found).await?;
            let hits = found.iter().zip(shown).filter_map(|(found, shown)| Some(search.hit(found, shown?)));
            Ok(SearchResult { hits: hits.collect(), total })
        };
        self.inner.engine.spawn_within(found, time).await
    }

    /// The leaves of the records with these ids, from the indexes and the log. The ids that are left may be in files that
    /// have no index; if there are no such files, none is left.
    pub(crate) async fn leaves_of_ids(&self, ids: HashSet<Uuid>) -> Result<(Vec<u64>, HashSet<Uuid>)> {
        let search = Search::all(self);
        self.inner.engine.spawn(async move { search.leaves_of_ids(ids).await }).await
    }
}

/// A hit, before its record was read.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// `None` if it is hot.
    pub(super) file: Option<Arc<DataFile>>,
    pub(super) leaf: u64,
    pub(super) time: i64,
    pub(super) score: f32,
}

/// What is searched one by one.
#[derive(Debug, Clone)]
enum Unit {
    Log,
    File(Arc<DataFile>),
}

/// A query and what it sees.
#[derive(Clone)]
pub(super) struct Search {
    lake: Lake,
    snapshot: Arc<Snapshot>,
    query: Arc<Query>,
    since: i64,
    until: Option<i64>,
}

impl Search {
    pub(super) fn new(lake: &Lake, query: &str) -> Result<Self> {
        Ok(Self { query: Arc::new(Query::parse(query)?), ..Self::all(lake) })
    }

    fn all(lake: &Lake) -> Self {
        let (snapshot, query) = (Arc::new(lake.snapshot()), Arc::new(Query::All(Vec::new())));
        Self { lake: lake.clone(), snapshot, query, since: i64::MIN, until: None }
    }

    /// Sees what a snapshot sees.
    pub(super) fn at(self, snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, ..self }
    }

    fn between(self, since: Option<i64>, until: Option<i64>) -> Self {
        Self { since: since.unwrap_or(i64::MIN), until, ..self }
    }

    /// All hits, file by file, the newest first.
    pub(super) fn found(&self) -> BoxStream<'static, Result<Vec<Found>>> {
        self.each(None).map_ok(|(found, _)| found).boxed()
    }

    /// The hits of each file, the newest first, or those that may be among the best; with the number of all of the file's.
    fn each(&self, best: Option<Best>) -> BoxStream<'static, Result<(Vec<Found>, u64)>> {
        let files = self.snapshot.sealed.files.iter().rev().map(|file| Unit::File(Arc::clone(file)));
        let units: Vec<_> = std::iter::once(Unit::Log).chain(files).collect();
        let search = self.clone();
        stream::iter(units)
            .map(move |unit| {
                let (search, best) = (search.clone(), best.clone());
                async move { search.of(unit, best).await }
            })
            .buffered(AT_ONCE)
            .boxed()
    }

    /// The best or newest hits, in order, and the number of all of them.
    pub(super) async fn best(&self, limit: usize, newest: bool) -> Result<(Vec<Found>, u64)> {
        let best = Best::new(limit, newest);
        let (mut all, mut total, mut found) = (Vec::new(), 0, self.each(Some(best.clone())));
        while let Some((more, count)) = found.try_next().await? {
            total += count;
            all.extend(more);
            best.keep(&mut all);
        }
        Ok((all, total))
    }

    async fn of(&self, unit: Unit, best: Option<Best>) -> Result<(Vec<Found>, u64)> {
        let Unit::File(file) = unit else { return self.of_log().await.map(counted) };
        if let Some(index) = self.lake.inner.indexes.get(&file)
            && let Some(found) = self.of_index(&file, index, best).await?
        {
            return Ok(found);
        }
        let mut found = Vec::new();
        let mut rows = self.lake.read_file(&file, 0, u64::MAX).await?;
        while let Some(rows) = rows.try_next().await? {
            found.extend(rows.iter().filter_map(|row| self.matched(row, Some(&file))));
        }
        Ok(counted(found))
    }

    /// `None` if the index is damaged.
    async fn of_index(
        &self,
        file: &Arc<DataFile>,
        index: Arc<Index>,
        best: Option<Best>,
    ) -> Result<Option<(Vec<Found>, u64)>> {
        let (search, file) = (self.clone(), Arc::clone(file));
        blocking_while_awaited(move |awaited| match search.ask(&file, &index, best.as_ref(), awaited) {
            Ok(found) => Ok(Some(found)),
            // Nobody takes it.
            Err(_) if awaited.is_over() => Ok(None),
            Err(error) => {
                search.lake.inner.indexes.bad(&file, &error);
                Ok(None)
            }
        })
        .await
    }

    fn ask(
        &self,
        file: &Arc<DataFile>,
        index: &Index,
        best: Option<&Best>,
        awaited: &Awaited,
    ) -> std::io::Result<(Vec<Found>, u64)> {
        let (mut all, mut total) = (Vec::new(), 0);
        for part in index.parts()? {
            let mut rows = ask(&part, &self.query, awaited)?;
            let is_bounded = self.since > i64::MIN || self.until.is_some();
            if !is_bounded {
                total += rows.len() as u64;
                if let Some(best) = best {
                    best.pass(&mut rows);
                }
            }
            if rows.is_empty() {
                continue;
            }
            let (leaves, times) = (part.leaves()?, part.times()?);
            let found = |(row, score): (u32, f32)| {
                let (leaf, time) = (*leaves.get(row as usize)?, *times.get(row as usize)?);
                self.is_in_time(time).then(|| Found { file: Some(Arc::clone(file)), leaf, time, score })
            };
            let before = all.len();
            all.extend(rows.into_iter().filter_map(found));
            if is_bounded {
                total += (all.len() - before) as u64;
            }
            if let Some(best) = best {
                best.keep(&mut all);
            }
        }
        Ok((all, total))
    }

    async fn of_log(&self) -> Result<Vec<Found>> {
        let search = self.clone();
        blocking_while_awaited(move |awaited| {
            let mut found = Vec::new();
            search.walk_log(|row| {
                found.extend(search.matched(row, None));
                !awaited.is_over()
            })?;
            Ok(found)
        })
        .await
    }

    async fn leaves_of_ids(&self, ids: HashSet<Uuid>) -> Result<(Vec<u64>, HashSet<Uuid>)> {
        let (mut left, mut leaves, mut complete) = (ids, Vec::new(), true);
        for file in self.snapshot.sealed.own_files().iter().rev() {
            let Some(index) = self.lake.inner.indexes.get(file).filter(|_| !left.is_empty()) else {
                complete &= left.is_empty();
                continue;
            };
            let damaged;
            (left, damaged) = self.ids_in_index(file, index, left, &mut leaves).await?;
            complete &= !damaged;
        }
        let mut left = self.ids_in_log(left, &mut leaves)?;
        if complete {
            left.clear();
        }
        Ok((leaves, left))
    }

    /// Adds the leaves of those ids that an index has, and gives the others; and if the index is damaged.
    async fn ids_in_index(
        &self,
        file: &Arc<DataFile>,
        index: Arc<Index>,
        mut left: HashSet<Uuid>,
        leaves: &mut Vec<u64>,
    ) -> Result<(HashSet<Uuid>, bool)> {
        let (search, file) = (self.clone(), Arc::clone(file));
        let (left, found, damaged) = blocking_while_awaited(move |awaited| {
            let mut found = Vec::new();
            let asked = take_ids(&index, &mut left, &mut found, awaited);
            if let Err(error) = &asked
                && !awaited.is_over()
            {
                search.lake.inner.indexes.bad(&file, error);
            }
            Ok((left, found, asked.is_err()))
        })
        .await?;
        leaves.extend(found);
        Ok((left, damaged))
    }

    /// The same for hot rows, whose ids the log knows without reading them.
    fn ids_in_log(&self, mut left: HashSet<Uuid>, leaves: &mut Vec<u64>) -> Result<HashSet<Uuid>> {
        if left.is_empty() {
            return Ok(left);
        }
        let (log, cursor, size) = (&self.lake.inner.log, self.snapshot.sealed.cursor, self.snapshot.size);
        for (leaf, id) in log.leaves_of_ids(&left, cursor, size).map_err(Error::Log)? {
            leaves.extend(left.remove(&id).then_some(leaf));
        }
        Ok(left)
    }

    /// Calls `each` with every hot row, until it says false.
    fn walk_log(&self, mut each: impl FnMut(&Committed) -> bool) -> Result<()> {
        let Snapshot { sealed, size, .. } = &*self.snapshot;
        let mut next = sealed.cursor;
        while next < *size {
            let rows = self.lake.inner.log.read(next, *size, CHUNK).map_err(Error::Log)?;
            let last = rows.last().ok_or_else(|| Error::corrupt("the log", format!("no leaf {next}")))?;
            next = last.index + 1;
            if !rows.iter().all(&mut each) {
                break;
            }
        }
        Ok(())
    }

    fn matched(&self, row: &Committed, file: Option<&Arc<DataFile>>) -> Option<Found> {
        let time = row.record.captured_at;
        let score = self.is_in_time(time).then(|| matches(&self.query, &Document::of(row))).flatten()?;
        Some(Found { file: file.cloned(), leaf: row.index, time, score })
    }

    fn is_in_time(&self, time: i64) -> bool {
        time >= self.since && self.until.is_none_or(|until| time < until)
    }

    /// What is to be shown of hits, in their order. `None` for one whose record is gone.
    pub(super) async fn shown(&self, found: &[Found]) -> Result<Vec<Option<Shown>>> {
        let mut order: Vec<_> = (0..found.len()).collect();
        order.sort_by_key(|at| (found[*at].file.as_ref().map(|file| &file.path), found[*at].leaf));
        let mut files = JoinSet::new();
        for same in order.chunk_by(|a, b| found[*a].file_path() == found[*b].file_path()) {
            let (search, file, same) = (self.clone(), found[same[0]].file.clone(), same.to_vec());
            let leaves: Vec<_> = same.iter().map(|at| found[*at].leaf).collect();
            files.spawn(async move { search.shown_of(file.as_deref(), &leaves).await.map(|shown| (same, shown)) });
        }
        let mut all: Vec<_> = found.iter().map(|_| None).collect();
        while let Some(done) = files.join_next().await {
            let (same, shown) = done.map_err(|stopped| Error::corrupt("a search", stopped))??;
            let mut shown = shown.into_iter().peekable();
            for at in same {
                all[at] = shown.next_if(|shown| shown.brief.leaf == found[at].leaf);
            }
        }
        Ok(all)
    }

    /// The same of some leaves of a file or of the log, which are in order.
    async fn shown_of(&self, file: Option<&DataFile>, leaves: &[u64]) -> Result<Vec<Shown>> {
        let Some(file) = file else {
            let records = self.hot(leaves.to_vec()).await?;
            return Ok(records.iter().map(|record| self.show(Brief::of(record), Some(record))).collect());
        };
        let mut briefs = Vec::new();
        for batch in self.lake.read_columns(file, leaves, Brief::columns()).await? {
            briefs.extend(Brief::read(&batch)?.into_iter().filter(|brief| leaves.binary_search(&brief.leaf).is_ok()));
        }
        let wants_all = |brief: &&Brief| Snippet::of_brief(&self.query, brief).is_none();
        let whole: Vec<_> = briefs.iter().filter(wants_all).map(|brief| brief.leaf).collect();
        let mut records = Vec::new();
        if !whole.is_empty() {
            records = self.lake.read_leaves(file, &whole).await?;
        }
        let show = |brief: Brief| {
            let record = records.binary_search_by_key(&brief.leaf, |record| record.index).ok().map(|at| &records[at]);
            self.show(brief, record)
        };
        Ok(briefs.into_iter().map(show).collect())
    }

    fn show(&self, brief: Brief, record: Option<&Committed>) -> Shown {
        let of_all = || record.map(|record| Snippet::of(&self.query, &Document::of(record)));
        let snippet = Snippet::of_brief(&self.query, &brief).or_else(of_all).unwrap_or_default();
        Shown { brief, snippet }
    }

    async fn hot(&self, leaves: Vec<u64>) -> Result<Vec<Committed>> {
        let search = self.clone();
        blocking(move || {
            let log = &search.lake.inner.log;
            let read = |leaf| log.read(leaf, leaf + 1, CHUNK).map_err(Error::Log);
            Ok(leaves.into_iter().map(read).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })
        .await
    }

    /// The log that a hit is in.
    pub(super) fn origin<'a>(&'a self, found: &'a Found) -> &'a str {
        found.file.as_ref().map_or(&self.snapshot.sealed.origin, |file| &file.origin)
    }

    fn hit(&self, found: &Found, shown: Shown) -> SearchHit {
        let Shown { brief: Brief { leaf, id, kind, session, model, .. }, snippet } = shown;
        let (origin, time, score) = (self.origin(found).to_owned(), found.time, found.score);
        SearchHit { origin, leaf_index: leaf, id, kind, time, session, model, score, snippet }
    }
}

/// What a list has of a hit.
pub(super) struct Shown {
    brief: Brief,
    pub(super) snippet: Snippet,
}

fn counted(found: Vec<Found>) -> (Vec<Found>, u64) {
    let total = found.len() as u64;
    (found, total)
}

impl Found {
    fn file_path(&self) -> Option<&str> {
        self.file.as_ref().map(|file| file.path.as_ref())
    }
}

/// Moves the ids that an index has from `left` to `found`, as their leaves.
fn take_ids(index: &Index, left: &mut HashSet<Uuid>, found: &mut Vec<u64>, awaited: &Awaited) -> std::io::Result<()> {
    for part in index.parts()? {
        let mut leaves = None;
        let mut seen = HashSet::new();
        for id in left.iter() {
            let query = Query::Exact { term: exact_term("id", &id.to_string()), prefix: false };
            let Some((row, _)) = ask(&part, &query, awaited)?.first().copied() else { continue };
            let leaves = match &mut leaves {
                Some(leaves) => leaves,
                none => none.insert(part.leaves()?),
            };
            found.extend(leaves.get(row as usize));
            seen.insert(*id);
        }
        left.retain(|id| !seen.contains(id));
    }
    Ok(())
}
