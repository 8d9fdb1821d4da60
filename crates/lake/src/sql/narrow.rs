//! Tables without the columns that a statement does not name. A record has more than a hundred and fifty columns, and whatever
//! looks at a plan looks at each of them: with those alone that can matter, a list takes two thirds of the time.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
    TableProvider,
};
use datafusion::common::TableReference;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Select, SelectFlavor, SelectItem,
    TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::records::RecordsTable;

pub(super) const CATALOG: &str = "onrecord";
pub(super) const SCHEMA: &str = "public";
pub(super) const RECORDS: &str = "records";
/// Is in every table, so that none is without columns.
const ALWAYS: &str = "leaf_index";

/// The words of a statement if it can read no column but those that it names: no `*`, nothing that goes by the place of a
/// column or by which ones there are.
pub(super) fn names(statement: &Statement) -> Option<HashSet<String>> {
    let Statement::Statement(statement) = statement else { return None };
    let ast::Statement::Query(query) = &**statement else { return None };
    if query.visit(&mut Whole).is_break() {
        return None;
    }
    let tokens = Tokenizer::new(&GenericDialect {}, &query.to_string()).tokenize().ok()?;
    let word = |token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_lowercase()),
        Token::Word(word) => Some(word.value),
        _ => None,
    };
    let words: HashSet<_> = tokens.into_iter().filter_map(word).collect();
    // `TABLE name` is another way to say `SELECT *`.
    let depends_on_all = ["table", "natural", "information_schema"].iter().any(|word| words.contains(*word));
    (!depends_on_all).then_some(words)
}

/// Breaks off where a query depends on columns that it does not name.
struct Whole;

impl Visitor for Whole {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        break_if(select.flavor == SelectFlavor::FromFirstNoSelect || select.projection.iter().any(is_star))
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        match table {
            // Names for columns by their place.
            TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => {
                break_if(alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()))
            }
            TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<()> {
        match expr {
            ast::Expr::Function(function) => break_if(takes_all_columns(function)),
            ast::Expr::Wildcard(_) | ast::Expr::QualifiedWildcard(..) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        // Its columns have names by their place.
        let named = |with: &ast::With| with.cte_tables.iter().any(|table| !table.alias.columns.is_empty());
        break_if(query.with.as_ref().is_some_and(named))
    }
}

fn break_if(condition: bool) -> ControlFlow<()> {
    if condition { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// True of `f(*)`, save `count(*)`, which counts rows.
fn takes_all_columns(function: &Function) -> bool {
    let FunctionArguments::List(arguments) = &function.args else { return false };
    let is_star = |argument: &FunctionArg| match argument {
        FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } | FunctionArg::Unnamed(arg) => {
            matches!(arg, FunctionArgExpr::Wildcard | FunctionArgExpr::QualifiedWildcard(_))
        }
    };
    let counts_rows =
        function.name.to_string().eq_ignore_ascii_case("count") && arguments.duplicate_treatment.is_none();
    arguments.args.iter().any(is_star) && !counts_rows
}

/// The tables, each without the columns that are not among the names.
#[derive(Debug)]
pub(super) struct Narrow {
    tables: Arc<dyn SchemaProvider>,
    names: HashSet<String>,
}

impl Narrow {
    /// In a catalog in which a statement finds them as it finds `tables`.
    pub(super) fn catalog(
        tables: Arc<dyn SchemaProvider>,
        mut names: HashSet<String>,
    ) -> Result<Arc<dyn CatalogProviderList>> {
        names.insert(ALWAYS.to_owned());
        let schema = MemoryCatalogProvider::new();
        schema.register_schema(SCHEMA, Arc::new(Self { tables, names }))?;
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(schema));
        Ok(Arc::new(catalogs))
    }

    /// A view of records with some of its columns; `None` of other views.
    async fn view(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        let LogicalPlan::Projection(columns) = plan else { return Ok(None) };
        let LogicalPlan::Filter(rows) = &*columns.input else { return Ok(None) };
        let LogicalPlan::TableScan(_) = &*rows.input else { return Ok(None) };
        let columns: Vec<_> =
            columns.expr.iter().filter(|column| self.names.contains(&column.qualified_name().1)).cloned().collect();
        let read: BTreeSet<_> = columns.iter().chain([&rows.predicate]).flat_map(Expr::column_refs).collect();
        let Some(records) = self.tables.table(RECORDS).await? else { return Ok(None) };
        let Some(records) = records.downcast_ref::<RecordsTable>() else { return Ok(None) };
        let records = records.with(|name| read.iter().any(|column| column.name == name));
        let scan =
            LogicalPlanBuilder::scan(TableReference::bare(RECORDS), provider_as_source(Arc::new(records)), None)?;
        scan.filter(rows.predicate.clone())?.project(columns)?.build().map(Some)
    }
}

#[async_trait::async_trait]
impl SchemaProvider for Narrow {
    fn table_names(&self) -> Vec<String> {
        self.tables.table_names()
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.table_exist(name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(table) = self.tables.table(name).await? else { return Ok(None) };
        if let Some(records) = table.downcast_ref::<RecordsTable>() {
            return Ok(Some(Arc::new(records.with(|name| self.names.contains(name)))));
        }
        let narrow = match table.get_logical_plan() {
            Some(plan) => self.view(&plan).await?,
            None => None,
        };
        Ok(Some(match narrow {
            Some(plan) => Arc::new(ViewTable::new(plan, None)),
            None => table,
        }))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::parser::DFParser;

    use super::*;

    fn names_of(text: &str) -> Option<HashSet<String>> {
        names(&DFParser::parse_sql(text).unwrap().pop_front().unwrap())
    }

    #[test]
    fn a_statement_that_names_its_columns() {
        for (text, expected) in [
            ("SELECT Model, count(*) FROM interactions WHERE \"id\" = $1 GROUP BY 1", ["model", "id"]),
            (
                "SELECT a.id, 2 * b.score FROM interactions a JOIN feedback b ON b.subject_id = a.id",
                ["id", "subject_id"],
            ),
            ("SELECT max(x) FROM (SELECT duration_ms * 2 AS x FROM interactions) AS t", ["duration_ms", "x"]),
            ("WITH t AS (SELECT id FROM steps) SELECT count(*) FROM t JOIN records USING (id)", ["id", "steps"]),
            ("SELECT id FROM search('refund') ORDER BY score", ["id", "score"]),
            ("SELECT id FROM steps UNION ALL SELECT id FROM alerts", ["id", "alerts"]),
        ] {
            let names = names_of(text).unwrap_or_else(|| panic!("{text}"));
            assert!(expected.iter().all(|name| names.contains(*name)), "{text}: {names:?}");
        }
    }

    #[test]
    fn a_statement_that_depends_on_all_columns() {
        for text in [
            "SELECT * FROM records",
            "SELECT id, r.* FROM records r",
            "SELECT DISTINCT * FROM records",
            "SELECT id FROM (SELECT * FROM records)",
            "SELECT id FROM steps WHERE EXISTS (SELECT * FROM alerts)",
            "SELECT id FROM steps UNION ALL SELECT * FROM alerts",
            "FROM records",
            "SELECT id FROM steps UNION ALL TABLE alerts",
            "SELECT id FROM steps NATURAL JOIN feedback",
            "SELECT a FROM (steps NATURAL LEFT JOIN feedback)",
            "SELECT a FROM steps AS t (a, b)",
            "WITH t (a, b) AS (SELECT id, name FROM steps) SELECT a FROM t",
            "SELECT count(DISTINCT *) FROM records",
            "SELECT f(records.*) FROM records",
            "SELECT column_name FROM information_schema.columns",
            "SHOW TABLES",
            "EXPLAIN SELECT id FROM records",
            "DELETE FROM records",
        ] {
            assert_eq!(names_of(text), None, "{text}");
        }
    }
}
