//! The PostgreSQL wire protocol, for reading only: what `psql`, drivers and dashboards speak.
//!
//! The messages are those of `pgwire`, and the system catalogue is that of `datafusion-pg-catalog`. Who may ask, what goes on
//! record and what a query may take are the same as in the API.

mod catalog;
mod columns;
mod connection;
mod error;
mod functions;
mod information_schema;
mod listen;
mod login;
mod nothing;
mod parameters;
mod query;
mod rows;
mod session;
mod statement;

use std::sync::Arc;

use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use onrecord_lake::datafusion::execution::SessionState;

use crate::auth::Tokens;
use crate::engine::Engine;
use connection::Connections;
pub(crate) use listen::Listener;

/// What every connection asks.
pub(crate) struct Postgres {
    engine: Arc<Engine>,
    tokens: Arc<Tokens>,
    /// The token of this run, which the command line has.
    own: Arc<str>,
    /// What statements are planned with: the lake's tables and the system catalogue beside them.
    catalog: SessionState,
    parser: PostgresCompatibilityParser,
    connections: Connections,
}

impl Postgres {
    pub(crate) async fn new(engine: Arc<Engine>, tokens: Arc<Tokens>, own: Arc<str>) -> anyhow::Result<Self> {
        let catalog = catalog::session(&engine.lake).await?;
        let parser = PostgresCompatibilityParser::new();
        Ok(Self { engine, tokens, own, catalog, parser, connections: Connections::default() })
    }
}
