//! Full-text search: `search('refund AND (damaged OR late) -spam "exact phrase" model:qwen')`.
//!
//! What a hit is, [`matcher`] says of one record alone. Sealed files have an index each, which gives the same hits
//! without reading the file; hot rows, and files without an index, are read and matched. So an answer never depends on
//! what is indexed, only the time that it takes does.

mod ask;
mod best;
mod brief;
mod bytes;
mod indexer;
mod layout;
mod lookup;
mod matcher;
mod merge;
mod output;
mod query;
mod read;
mod run;
mod snippet;
mod store;
pub(crate) mod table;
mod text;
mod words;
mod write;

pub(crate) use indexer::DEFAULT_PART_BYTES;
pub use indexer::Indexer;
pub(crate) use lookup::Conditions;
pub use run::{SearchHit, SearchOptions, SearchResult};
pub use snippet::Snippet;
pub(crate) use store::Indexes;
