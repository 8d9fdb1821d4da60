//! A statement between its text and its rows.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::FieldInfo;
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::{ClientInfo, Type};
use datafusion_postgres::pgwire::error::PgWireResult;
use onrecord_lake::datafusion::common::ParamValues;
use onrecord_lake::datafusion::common::tree_node::TreeNodeRecursion;
use onrecord_lake::datafusion::logical_expr::LogicalPlan;
use onrecord_lake::datafusion::sql::parser::Statement as Planned;
use onrecord_lake::datafusion::sql::sqlparser::ast::Statement as Ast;

use super::connection::Connection;
use super::query::Queries;
use super::session::Session;
use super::{Postgres, columns, error, nothing, parameters};

/// What a statement comes to.
#[derive(Clone)]
pub(super) enum Statement {
    Session(Session),
    Query(Arc<Query>),
}

/// A statement that gives rows.
pub(super) struct Query {
    /// As the client wrote it.
    pub(super) text: String,
    pub(super) plan: LogicalPlan,
}

/// Statements that would change something, by their first word.
const CHANGES: [&str; 13] = [
    "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "COMMENT",
    "VACUUM", "CALL",
];

impl Postgres {
    /// The statements of a text.
    pub(super) fn parse(&self, text: &str) -> PgWireResult<Vec<Ast>> {
        self.parser.parse(text).map_err(|wrong| error::error("42601", plain(&wrong.to_string())))
    }

    /// Plans a statement; `text` is what goes on record of it.
    pub(super) async fn plan(&self, mut ast: Ast, text: &str) -> PgWireResult<Statement> {
        if let Some(session) = Session::of(&ast) {
            return Ok(Statement::Session(session));
        }
        let statement = ast.to_string();
        let command = statement.split_whitespace().next().unwrap_or_default();
        if CHANGES.contains(&command) {
            return Err(error::read_only(command));
        }
        nothing::settle(&mut ast);
        let plan = if let Some(plan) = nothing::plan(&ast) {
            plan
        } else {
            let planned = Planned::Statement(Box::new(ast));
            let limits = self.engine.limits.clone();
            let plan = self.engine.lake.plan(self.catalog.clone(), planned, limits).await;
            plan.map_err(|failed| error::of_lake(&failed))?
        };
        Ok(Statement::Query(Arc::new(Query { text: text.to_owned(), plan })))
    }
}

fn plain(text: &str) -> String {
    let text = text.trim_start_matches("sql parser error: ");
    format!("syntax error: {text}")
}

impl Query {
    /// What goes on record: the statement with what was bound to it.
    pub(super) fn recorded(&self, values: &ParamValues) -> String {
        let ParamValues::List(values) = values else { return self.text.clone() };
        let bound = values.iter().enumerate().map(|(n, value)| format!("\n-- ${} = {}", n + 1, value.value()));
        bound.fold(self.text.clone(), |statement, value| statement + &value)
    }

    /// True unless it only asks the catalogue, where no payload is.
    pub(super) fn reads_records(&self) -> bool {
        let scan = self.plan.apply_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = node else { return Ok(TreeNodeRecursion::Continue) };
            let about_tables = matches!(scan.table_name.schema(), Some("pg_catalog" | "information_schema"));
            Ok(if about_tables { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        });
        // A plan that cannot be walked counts as one that reads.
        scan.map_or(true, |scan| scan == TreeNodeRecursion::Stop)
    }
}

impl Statement {
    pub(super) fn columns(&self, format: &Format) -> PgWireResult<Vec<FieldInfo>> {
        match self {
            Self::Session(session) => Ok(session.columns()),
            Self::Query(query) => columns::describe(query.plan.schema().as_arrow(), format),
        }
    }
}

#[async_trait]
impl QueryParser for Queries {
    type Statement = Statement;

    async fn parse_sql<C>(&self, client: &C, sql: &str, _types: &[Option<Type>]) -> PgWireResult<Option<Statement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        Connection::of(client)?;
        let mut statements = self.0.parse(sql)?;
        match statements.len() {
            0 => Ok(None),
            1 => self.0.plan(statements.swap_remove(0), sql).await.map(Some),
            _ => Err(error::error("42601", "cannot insert multiple commands into a prepared statement")),
        }
    }

    fn get_parameter_types(&self, statement: &Statement) -> PgWireResult<Vec<Type>> {
        match statement {
            Statement::Session(_) => Ok(Vec::new()),
            Statement::Query(query) => parameters::wire_types(&query.plan),
        }
    }

    fn get_result_schema(&self, statement: &Statement, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        statement.columns(format.unwrap_or(&Format::UnifiedText))
    }
}
