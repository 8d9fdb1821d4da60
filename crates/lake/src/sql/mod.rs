//! SQL over hot and sealed rows.

mod bounds;
mod engine;
mod functions;
mod hot;
mod message;
mod narrow;
mod readers;
mod records;
mod result;
mod tokens;
mod views;

pub(crate) use engine::Engine;
pub use engine::QueryLimits;
pub(crate) use functions::HAS_TAG;
pub(crate) use records::QueryView;
pub use result::QueryResult;
pub(crate) use views::rows_of_view;
pub use views::{ColumnDoc, columns};
