//! SQL over hot and sealed rows.

mod bounds;
mod engine;
mod functions;
mod hot;
mod message;
mod readers;
mod records;
mod result;
mod tokens;
mod views;

/// True for the name of a view.
pub(crate) fn is_view(name: &str) -> bool {
    views::VIEWS.iter().any(|view| view.name == name)
}

pub(crate) use engine::Engine;
pub use engine::QueryLimits;
pub(crate) use functions::HAS_TAG;
pub(crate) use records::QueryView;
pub use result::QueryResult;
pub use views::{ColumnDoc, columns};
