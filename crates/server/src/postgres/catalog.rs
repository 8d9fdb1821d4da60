//! The session that statements are planned with: the lake's tables, and the system catalogue that clients look them up in.

use std::sync::Arc;

use anyhow::Context as _;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::setup_pg_catalog;
use onrecord_lake::Lake;
use onrecord_lake::datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
};
use onrecord_lake::datafusion::execution::{SessionState, SessionStateBuilder};
use onrecord_lake::datafusion::prelude::SessionContext;

/// The names of the database and of the schema with the tables.
const DATABASE: &str = "onrecord";
const SCHEMA: &str = "public";

/// The catalogue is a list of its own, so that the API and the command line have the tables alone.
pub(super) async fn session(lake: &Lake) -> anyhow::Result<SessionState> {
    let base = lake.session();
    let tables = base.catalog_list().catalog(DATABASE).and_then(|catalog| catalog.schema(SCHEMA));
    let tables = tables.context("the lake has no tables")?;
    let database = Arc::new(MemoryCatalogProvider::new());
    database.register_schema(SCHEMA, tables)?;
    let databases = MemoryCatalogProviderList::new();
    databases.register_catalog(DATABASE.to_owned(), Arc::clone(&database) as _);
    let config = base.config().clone().with_create_default_catalog_and_schema(false).with_information_schema(false);
    let state = SessionStateBuilder::new_from_existing(base).with_config(config).with_catalog_list(Arc::new(databases));
    let context = SessionContext::new_with_state(state.build());
    setup_pg_catalog(&context, DATABASE, EmptyContextProvider).map_err(|failed| *failed)?;
    super::functions::register(&context);
    super::information_schema::register(&context, &*database).await?;
    Ok(context.state())
}
