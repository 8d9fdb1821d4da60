//! The two ways to ask: a text of statements at once, and prepared statements with parameters.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::Response;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use futures::Sink;
use onrecord_lake::datafusion::common::ParamValues;

use super::connection::Connection;
use super::rows::Asked;
use super::session::Session;
use super::statement::Statement;
use super::{Postgres, error, parameters};

fn has_failed(client: &impl ClientInfo) -> bool {
    client.transaction_status() == TransactionStatus::Error
}

/// After an error in a transaction nothing goes until its end.
fn check_transaction(client: &impl ClientInfo, statement: &Statement) -> PgWireResult<()> {
    let ends = matches!(statement, Statement::Session(Session::End(_) | Session::Back));
    if has_failed(client) && !ends {
        let text = "current transaction is aborted, commands ignored until end of transaction block";
        return Err(error::error("25P02", text));
    }
    Ok(())
}

/// Statements in one text; their queries are begun one after the other and then wait for each other's rows to be taken.
const STATEMENTS_MAX: usize = 16;

/// What answers queries.
pub(super) struct Queries(pub(super) Arc<Postgres>);

#[async_trait]
impl SimpleQueryHandler for Queries {
    async fn do_query<C>(&self, client: &mut C, text: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let connection = Connection::of(client)?;
        let statements = self.0.parse(text)?;
        if statements.len() > STATEMENTS_MAX {
            return Err(error::error(
                "54000",
                format!("more than {STATEMENTS_MAX} statements at once; send them apart"),
            ));
        }
        let canceled = connection.begin();
        let single = statements.len() == 1;
        let mut responses = Vec::with_capacity(statements.len());
        for ast in statements {
            let own = if single { text.to_owned() } else { ast.to_string() };
            let statement = self.0.plan(ast, &own).await?;
            check_transaction(client, &statement)?;
            responses.push(match &statement {
                Statement::Session(session) => {
                    if let Session::Forget(name) = session {
                        client.portal_store().rm_statement(name);
                    }
                    session.run(&connection, has_failed(client))?
                }
                Statement::Query(query) => {
                    let values = ParamValues::List(Vec::new());
                    let asked =
                        Asked { connection: &connection, query, canceled: &canceled, format: &Format::UnifiedText };
                    Response::Query(self.0.rows(asked, values).await?)
                }
            });
        }
        Ok(if responses.is_empty() { vec![Response::EmptyQuery] } else { responses })
    }
}

#[async_trait]
impl ExtendedQueryHandler for Queries {
    type Statement = Statement;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self> {
        Arc::new(Self(Arc::clone(&self.0)))
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Statement>, _max_rows: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Statement>,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        let connection = Connection::of(client)?;
        let statement = &portal.statement.statement;
        check_transaction(client, statement)?;
        match statement {
            Statement::Session(session) => session.run(&connection, has_failed(client)),
            Statement::Query(query) => {
                let values = parameters::values(portal, &query.plan)?;
                let (canceled, format) = (connection.begin(), &portal.result_column_format);
                let asked = Asked { connection: &connection, query, canceled: &canceled, format };
                Ok(Response::Query(self.0.rows(asked, values).await?))
            }
        }
    }
}
