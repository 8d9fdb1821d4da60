//! `information_schema` as PostgreSQL has it, in terms of `pg_catalog`: with PostgreSQL's names of types, by which programs
//! tell times from texts.

use std::sync::Arc;

use onrecord_lake::datafusion::catalog::{CatalogProvider, MemorySchemaProvider, SchemaProvider as _};
use onrecord_lake::datafusion::datasource::ViewTable;
use onrecord_lake::datafusion::error::Result;
use onrecord_lake::datafusion::prelude::SessionContext;

/// Each view, by its name and what it is over `pg_catalog`. What no log has, such as keys, has no rows.
const VIEWS: [(&str, &str); 6] = [
    (
        "schemata",
        "SELECT current_database() AS catalog_name, nspname AS schema_name, 'onrecord' AS schema_owner FROM pg_catalog.pg_namespace",
    ),
    (
        "tables",
        "SELECT current_database() AS table_catalog, n.nspname AS table_schema, c.relname AS table_name, \
         CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'BASE TABLE' END AS table_type, 'NO' AS is_insertable_into \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON c.relnamespace = n.oid WHERE c.relkind IN ('r', 'v')",
    ),
    (
        "views",
        "SELECT current_database() AS table_catalog, n.nspname AS table_schema, c.relname AS table_name, \
         CAST(NULL AS VARCHAR) AS view_definition, 'NONE' AS check_option, 'NO' AS is_updatable, 'NO' AS is_insertable_into \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON c.relnamespace = n.oid WHERE c.relkind = 'v'",
    ),
    (
        "columns",
        "SELECT current_database() AS table_catalog, n.nspname AS table_schema, c.relname AS table_name, \
         a.attname AS column_name, CAST(a.attnum AS INT) AS ordinal_position, CAST(NULL AS VARCHAR) AS column_default, \
         CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END AS is_nullable, \
         CASE WHEN starts_with(t.typname, '_') THEN 'ARRAY' ELSE format_type(a.atttypid, NULL) END AS data_type, \
         CAST(NULL AS INT) AS character_maximum_length, CAST(NULL AS INT) AS numeric_precision, \
         CAST(NULL AS INT) AS numeric_scale, CAST(NULL AS INT) AS datetime_precision, \
         current_database() AS udt_catalog, 'pg_catalog' AS udt_schema, t.typname AS udt_name, \
         'NO' AS is_identity, 'NEVER' AS is_generated, 'NO' AS is_updatable \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON c.relnamespace = n.oid \
         JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid JOIN pg_catalog.pg_type t ON a.atttypid = t.oid \
         WHERE c.relkind IN ('r', 'v') AND a.attnum > 0",
    ),
    (
        "table_constraints",
        "SELECT '' AS constraint_catalog, '' AS constraint_schema, '' AS constraint_name, '' AS table_catalog, \
         '' AS table_schema, '' AS table_name, '' AS constraint_type WHERE false",
    ),
    (
        "key_column_usage",
        "SELECT '' AS constraint_catalog, '' AS constraint_schema, '' AS constraint_name, '' AS table_catalog, \
         '' AS table_schema, '' AS table_name, '' AS column_name, 0 AS ordinal_position WHERE false",
    ),
];

/// Adds the schema to the database in which `context` plans.
pub(super) async fn register(context: &SessionContext, database: &dyn CatalogProvider) -> Result<()> {
    let schema = MemorySchemaProvider::new();
    for (name, statement) in VIEWS {
        let plan = context.state().create_logical_plan(statement).await?;
        schema.register_table(name.to_owned(), Arc::new(ViewTable::new(plan, Some(statement.to_owned()))))?;
    }
    database.register_schema("information_schema", Arc::new(schema))?;
    Ok(())
}
