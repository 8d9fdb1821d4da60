//! Statements that are about the connection: SET, SHOW, RESET, and transactions, which all see the log as it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion_postgres::pgwire::api::Type;
use datafusion_postgres::pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::error::PgWireResult;
use futures::stream;
use onrecord_lake::datafusion::sql::sqlparser::ast::{ContextModifier, Expr, Reset, Set, Statement};

use super::connection::Connection;
use super::error;
use super::login::SERVER_VERSION;

/// What a statement does to the connection alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    Set(String, String),
    /// Until the end of the transaction.
    SetLocal(String, String),
    Reset(Option<String>),
    /// As on a new connection.
    Discard,
    Show(String),
    Begin,
    /// COMMIT or ROLLBACK.
    End(&'static str),
    /// ROLLBACK TO SAVEPOINT.
    Back,
    /// Taken and without effect, under this name.
    Nothing(&'static str),
    /// DEALLOCATE of one prepared statement.
    Forget(String),
}

impl Session {
    /// `None`: the statement is about something else.
    pub(super) fn of(statement: &Statement) -> Option<Self> {
        Some(match statement {
            Statement::Set(set) => of_set(set),
            Statement::Reset(reset) => Self::Reset(match &reset.reset {
                Reset::ALL => None,
                Reset::ConfigurationParameter(name) => Some(name.to_string().to_lowercase()),
            }),
            Statement::ShowVariable { variable } => {
                let words: Vec<_> = variable.iter().map(|word| word.value.to_lowercase()).collect();
                Self::Show(if words == ["time", "zone"] { "timezone".to_owned() } else { words.join(".") })
            }
            Statement::StartTransaction { .. } => Self::Begin,
            Statement::Commit { .. } => Self::End("COMMIT"),
            Statement::Rollback { savepoint: None, .. } => Self::End("ROLLBACK"),
            Statement::Rollback { .. } => Self::Back,
            Statement::Savepoint { .. } => Self::Nothing("SAVEPOINT"),
            Statement::ReleaseSavepoint { .. } => Self::Nothing("RELEASE"),
            Statement::Discard { .. } => Self::Discard,
            Statement::UNLISTEN { .. } => Self::Nothing("UNLISTEN"),
            Statement::Deallocate { name, .. } if name.value.eq_ignore_ascii_case("all") => {
                Self::Nothing("DEALLOCATE ALL")
            }
            Statement::Deallocate { name, .. } => Self::Forget(name.value.clone()),
            _ => return None,
        })
    }

    /// The columns of its answer.
    pub(super) fn columns(&self) -> Vec<FieldInfo> {
        match self {
            Self::Show(name) => vec![FieldInfo::new(name.clone(), None, None, Type::TEXT, FieldFormat::Text)],
            _ => Vec::new(),
        }
    }

    /// Does it. `failed`: in a transaction in which something went wrong.
    pub(super) fn run(&self, connection: &Connection, failed: bool) -> PgWireResult<Response> {
        match self {
            Self::Set(name, value) => connection.set(name, value).map(|()| Response::Execution(Tag::new("SET"))),
            Self::SetLocal(name, value) => {
                connection.set_local(name, value).map(|()| Response::Execution(Tag::new("SET")))
            }
            Self::Discard => {
                connection.reset_all();
                Ok(Response::Execution(Tag::new("DISCARD ALL")))
            }
            Self::Reset(name) => {
                name.as_ref().map_or_else(|| connection.reset_all(), |name| connection.reset(name));
                Ok(Response::Execution(Tag::new("RESET")))
            }
            Self::Show(name) => self.show(&value(connection, name)?),
            Self::Begin => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
            Self::End(tag) => {
                connection.end_transaction();
                Ok(Response::TransactionEnd(Tag::new(tag)))
            }
            // What went wrong is undone with the transaction, since there is nothing else in it.
            Self::Back if failed => Ok(Response::TransactionEnd(Tag::new("ROLLBACK"))),
            Self::Back => Ok(Response::Execution(Tag::new("ROLLBACK"))),
            Self::Nothing(tag) => Ok(Response::Execution(Tag::new(tag))),
            Self::Forget(_) => Ok(Response::Execution(Tag::new("DEALLOCATE"))),
        }
    }

    fn show(&self, value: &str) -> PgWireResult<Response> {
        let columns = Arc::new(self.columns());
        let mut row = DataRowEncoder::new(Arc::clone(&columns));
        row.encode_field(&value)?;
        let mut answer = QueryResponse::new(columns, stream::iter([Ok(row.take_row())]));
        answer.set_command_tag("SHOW");
        Ok(Response::Query(answer))
    }
}

fn of_set(set: &Set) -> Session {
    match set {
        Set::SingleAssignment { scope, variable, values, .. } => {
            let name = variable.to_string().to_lowercase();
            if let [Expr::Identifier(value)] = values.as_slice()
                && value.quote_style.is_none()
                && value.value.eq_ignore_ascii_case("default")
            {
                return Session::Reset(Some(name));
            }
            let value = values.iter().map(text_of).collect::<Vec<_>>().join(", ");
            if *scope == Some(ContextModifier::Local) {
                Session::SetLocal(name, value)
            } else {
                Session::Set(name, value)
            }
        }
        Set::SetTimeZone { value, .. } => Session::Set("timezone".to_owned(), text_of(value)),
        // Roles, character sets, isolation: there is one of each.
        _ => Session::Nothing("SET"),
    }
}

fn text_of(value: &Expr) -> String {
    match value {
        Expr::Value(value) => value.clone().into_string().unwrap_or_else(|| value.to_string()),
        Expr::Identifier(name) => name.value.clone(),
        other => other.to_string(),
    }
}

/// What is in force where nothing was set.
const DEFAULTS: [(&str, &str); 17] = [
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO, MDY"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("intervalstyle", "postgres"),
    ("max_identifier_length", "63"),
    (super::connection::PURPOSE, ""),
    ("search_path", "public"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("timezone", "UTC"),
    ("transaction_read_only", "on"),
];

pub(super) fn default(name: &str) -> Option<&'static str> {
    DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

pub(super) fn value(connection: &Connection, name: &str) -> PgWireResult<String> {
    // Each statement sees all that is committed when it begins.
    let name = if name.contains("transaction.isolation") { "transaction_isolation" } else { name };
    if name == "transaction_isolation" {
        return Ok("read committed".to_owned());
    }
    let default = || default(name).map(str::to_owned);
    let unknown = || error::error("42704", format!("unrecognized configuration parameter \"{name}\""));
    connection.setting(name).or_else(default).ok_or_else(unknown)
}

/// Takes over what a client said when it connected: its name, and `-c name=value` among its options.
pub(super) fn begin(connection: &Connection, given: &HashMap<String, String>) -> PgWireResult<()> {
    for (name, value) in given {
        match name.as_str() {
            "user" | "database" => {}
            "options" => {
                for (name, value) in options(value) {
                    connection.set(&name, &value)?;
                }
            }
            _ => connection.set(&name.to_lowercase(), value)?,
        }
    }
    Ok(())
}

/// `-c a=b --c=d` as pairs; a backslash keeps a space.
fn options(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\\ ", "\u{0}");
    let words = text
        .split_whitespace()
        .filter_map(|word| word.trim_start_matches("--").trim_start_matches("-c").split_once('='));
    words.map(|(name, value)| (name.to_lowercase(), value.replace('\u{0}', " "))).collect()
}

/// How long a statement may take, if the client has set less than there is.
pub(super) fn timeout(connection: &Connection) -> Option<Duration> {
    let text = connection.setting("statement_timeout")?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok().filter(|number| *number > 0)?;
    match text[digits..].trim() {
        "" | "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "min" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}
