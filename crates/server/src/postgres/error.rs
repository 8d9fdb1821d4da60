//! Errors as the protocol has them, with the codes of SQLSTATE that drivers look at.

use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use onrecord_lake::Error;

/// An error of a statement, after which the connection goes on.
pub(super) fn error(code: &str, message: impl Into<String>) -> PgWireError {
    told("ERROR", code, message.into())
}

/// An error that ends the connection.
pub(super) fn fatal(code: &str, message: impl Into<String>) -> PgWireError {
    told("FATAL", code, message.into())
}

fn told(severity: &str, code: &str, message: String) -> PgWireError {
    PgWireError::UserError(Box::new(ErrorInfo::new(severity.to_owned(), code.to_owned(), message)))
}

/// The statement changes something.
pub(super) fn read_only(command: &str) -> PgWireError {
    error("25006", format!("cannot execute {command}: the log is only read here"))
}

/// The client asked for the end of its query.
pub(super) fn canceled() -> PgWireError {
    error("57014", "the query was canceled, as the client asked")
}

/// An error of the lake.
pub(super) fn of_lake(failed: &Error) -> PgWireError {
    let code = match failed {
        Error::Query(text) => code_of_text(text),
        Error::QueryMemory { .. } => "53200",
        Error::QueryTime { .. } => "57014",
        _ => "58000",
    };
    error(code, failed.to_string())
}

/// What the lake says of a statement begins in one of these ways.
fn code_of_text(text: &str) -> &'static str {
    const BEGINNINGS: [(&str, &str); 6] = [
        ("no table named", "42P01"),
        ("no column named", "42703"),
        ("Invalid function", "42883"),
        ("a query only reads", "25006"),
        ("not supported", "0A000"),
        ("Divide by zero", "22012"),
    ];
    BEGINNINGS.iter().find(|(beginning, _)| text.starts_with(beginning)).map_or("42601", |(_, code)| code)
}
