//! Full-text search, as the API and the command line show it.

use onrecord_lake::{SearchHit, SearchOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Engine, Moment};

/// Hits to show if it is not said how many.
const HITS: usize = 50;

/// What is searched for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    /// The query, in the language of searches.
    pub q: String,
    /// RFC 3339, or microseconds since 1970-01-01 UTC, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "Moment::optional")]
    #[schemars(with = "Option<Moment>")]
    pub since: Option<i64>,
    /// RFC 3339, or microseconds since 1970-01-01 UTC, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "Moment::optional")]
    #[schemars(with = "Option<Moment>")]
    pub until: Option<i64>,
    /// The newest first, instead of the best.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub newest: bool,
    /// Hits to show at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SearchAnswer {
    /// How many hits there are in all.
    pub total: u64,
    pub hits: Vec<Hit>,
}

/// A record that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Hit {
    pub origin: String,
    pub leaf_index: u64,
    pub id: String,
    pub kind: String,
    /// RFC 3339, UTC.
    pub time: String,
    pub session: Option<String>,
    pub model: Option<String>,
    pub score: f32,
    /// What the snippet is of: `input`, `output`, `error` or `judgement`.
    pub place: String,
    pub snippet: Vec<Piece>,
}

/// A piece of a snippet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Piece {
    pub text: String,
    /// It is what was searched for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
}

impl Engine {
    /// Searches everything that is committed now.
    pub(crate) async fn search(&self, search: &Search) -> onrecord_lake::Result<SearchAnswer> {
        let options = SearchOptions {
            since: search.since,
            until: search.until,
            limit: search.limit.unwrap_or(HITS).min(self.limits.rows),
            newest: search.newest,
            time: self.limits.time,
        };
        let result = self.lake.search(&search.q, options).await?;
        Ok(SearchAnswer { total: result.total, hits: result.hits.into_iter().map(Hit::from).collect() })
    }
}

impl From<SearchHit> for Hit {
    fn from(hit: SearchHit) -> Self {
        let pieces = hit.snippet.pieces.into_iter();
        Self {
            origin: hit.origin,
            leaf_index: hit.leaf_index,
            id: hit.id.to_string(),
            kind: hit.kind.to_owned(),
            time: crate::render::time(hit.time),
            session: hit.session,
            model: hit.model,
            score: hit.score,
            place: hit.snippet.place.to_owned(),
            snippet: pieces.map(|(text, found)| Piece { text, found }).collect(),
        }
    }
}
