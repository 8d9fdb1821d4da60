//! SQL over hot and sealed rows.

mod engine;
mod functions;
mod hot;
mod message;
mod records;
mod result;
mod views;

pub(crate) use engine::Engine;
pub use engine::QueryLimits;
pub use result::QueryResult;
pub use views::{ColumnDoc, columns};
