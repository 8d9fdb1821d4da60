//! Questions for things that no log has: keys, indexes, constraints, triggers, descriptions. Programs ask for them with
//! statements that cannot be planned here; the answer is known all the same.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use onrecord_lake::datafusion::arrow::datatypes::{DataType, Field};
use onrecord_lake::datafusion::error::Result;
use onrecord_lake::datafusion::logical_expr::expr::Placeholder;
use onrecord_lake::datafusion::logical_expr::{Expr as Planned, LogicalPlan, LogicalPlanBuilder};
use onrecord_lake::datafusion::scalar::ScalarValue;
use onrecord_lake::datafusion::sql::sqlparser::ast::{
    Expr, Function, JoinOperator, ObjectName, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Value,
    visit_expressions, visit_expressions_mut, visit_relations,
};

/// Tables of the catalogue that have no rows in any log.
const EMPTY: [&str; 12] = [
    "pg_index",
    "pg_constraint",
    "pg_inherits",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_rewrite",
    "pg_statistic_ext",
    "pg_trigger",
    "table_constraints",
    "key_column_usage",
];

/// Functions that give a row where there is none.
const AGGREGATES: [&str; 9] = ["array_agg", "avg", "bool_and", "bool_or", "count", "max", "min", "string_agg", "sum"];

/// Functions of the catalogue that have nothing to say here.
const SILENT: [&str; 4] = ["col_description", "obj_description", "pg_get_viewdef", "shobj_description"];

/// Puts NULL in the place of what has no answer: descriptions, and in questions to the catalogue alone the sizes of tables.
pub(super) fn settle(statement: &mut Statement) {
    let catalogue = is_about_the_catalogue(statement);
    let is_silent = |function: &Function| match name(&function.name).as_deref() {
        Some("pg_size_pretty") => catalogue,
        name => name.is_some_and(|name| SILENT.contains(&name)),
    };
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        if matches!(expr, Expr::Function(function) if is_silent(function)) {
            *expr = Expr::Value(Value::Null.into());
        }
        ControlFlow::Continue(())
    });
}

fn is_about_the_catalogue(statement: &Statement) -> bool {
    let of_catalogue = |relation: &ObjectName| {
        name(relation).is_some_and(|table| table.starts_with("pg_"))
            || schema(relation).as_deref() == Some("pg_catalog")
    };
    let all = visit_relations(statement, |relation| {
        if of_catalogue(relation) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    all.is_continue()
}

/// The plan of a statement that cannot have rows, because all of them would have to be of an empty table.
pub(super) fn plan(statement: &Statement) -> Option<LogicalPlan> {
    let Statement::Query(query) = statement else { return None };
    let columns = columns(query)?;
    build(&parameters(statement), &columns).ok()
}

/// The columns of a query without rows. `None`: it may have some.
fn columns(query: &Query) -> Option<Vec<String>> {
    of_body(&query.body)
}

fn of_body(body: &SetExpr) -> Option<Vec<String>> {
    match body {
        SetExpr::Select(select) => of_select(select),
        SetExpr::Query(query) => columns(query),
        SetExpr::SetOperation { left, right, .. } => of_body(right).and_then(|_| of_body(left)),
        _ => None,
    }
}

fn of_select(select: &Select) -> Option<Vec<String>> {
    let joined = select.from.iter().find_map(|from| {
        let inner = from.joins.iter().filter(|join| {
            use JoinOperator::{CrossJoin, Inner, Join};
            matches!(join.join_operator, Join(_) | Inner(_) | CrossJoin(_))
        });
        // Of a left join the table at its left has to have rows, of the others both.
        let is_kept = from.joins.iter().all(|join| !is_right(&join.join_operator));
        let first = std::iter::once(&from.relation).filter(|_| is_kept);
        first.chain(inner.map(|join| &join.relation)).find_map(of_factor)
    })?;
    let mut names = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) if !is_aggregate(expr) => names.push(name_of(expr)),
            SelectItem::ExprWithAlias { expr, alias } if !is_aggregate(expr) => names.push(alias.value.clone()),
            SelectItem::Wildcard(_) if select.from.len() == 1 => names.extend(joined.iter().cloned()),
            _ => return None,
        }
    }
    Some(names)
}

/// True of joins that have rows where the left side has none.
fn is_right(join: &JoinOperator) -> bool {
    use JoinOperator::{Anti, FullOuter, Right, RightAnti, RightOuter};
    matches!(join, Right(_) | RightOuter(_) | FullOuter(_) | Anti(_) | RightAnti(_))
}

/// The columns of something without rows, as far as they are known: of a table none.
fn of_factor(factor: &TableFactor) -> Option<Vec<String>> {
    match factor {
        TableFactor::Table { name, args: None, .. } => is_empty(name).then(Vec::new),
        TableFactor::Derived { subquery, .. } => columns(subquery),
        _ => None,
    }
}

fn is_empty(table: &ObjectName) -> bool {
    let of_schema = |schema: String| matches!(schema.as_str(), "pg_catalog" | "information_schema");
    name(table).is_some_and(|table| EMPTY.contains(&table.as_str())) && schema(table).is_none_or(of_schema)
}

/// The last part of a name.
fn name(of: &ObjectName) -> Option<String> {
    of.0.last()?.as_ident().map(|name| name.value.to_lowercase())
}

/// The part before it.
fn schema(of: &ObjectName) -> Option<String> {
    of.0.iter().rev().nth(1)?.as_ident().map(|schema| schema.value.to_lowercase())
}

fn is_aggregate(expr: &Expr) -> bool {
    let is_one = |expr: &Expr| match expr {
        Expr::Function(function) => name(&function.name).is_some_and(|name| AGGREGATES.contains(&name.as_str())),
        _ => false,
    };
    visit_expressions(expr, |expr| if is_one(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        .is_break()
}

/// How PostgreSQL names a column without an alias.
fn name_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.clone()).unwrap_or_default(),
        Expr::Function(function) => name(&function.name).unwrap_or_default(),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => name_of(expr),
        _ => "?column?".to_owned(),
    }
}

fn parameters(statement: &Statement) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let _: ControlFlow<()> = visit_expressions(statement, |expr| {
        if let Expr::Value(value) = expr
            && let Value::Placeholder(name) = &value.value
        {
            found.insert(name.clone());
        }
        ControlFlow::Continue(())
    });
    found
}

/// No rows of texts. The parameters are in it, since whoever prepares the statement binds them.
fn build(parameters: &BTreeSet<String>, columns: &[String]) -> Result<LogicalPlan> {
    let mut plan = LogicalPlanBuilder::empty(false);
    for name in parameters {
        let text = Some(Arc::new(Field::new("", DataType::Utf8, true)));
        plan = plan.filter(Planned::Placeholder(Placeholder::new_with_field(name.clone(), text)).is_not_null())?;
    }
    let null = || Planned::Literal(ScalarValue::Utf8(None), None);
    plan.project(columns.iter().map(|name| null().alias(name)))?.build()
}

#[cfg(test)]
mod tests {
    use onrecord_lake::datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use onrecord_lake::datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn names(sql: &str) -> Option<Vec<String>> {
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        let plan = plan(&statement)?;
        Some(plan.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    #[test]
    fn what_needs_a_row_of_an_empty_table_has_none() {
        for (sql, columns) in [
            (
                "SELECT i.indkey, c.relname AS \"Table\" FROM pg_class c JOIN pg_catalog.pg_index i ON true",
                "indkey Table",
            ),
            ("SELECT r.x FROM (SELECT (f(conkey)).x AS x FROM pg_constraint) r WHERE r.x = $2 OR $1 > 3", "x"),
            ("SELECT * FROM (SELECT tgname::text, upper(tgname) FROM pg_trigger, pg_class) t", "tgname upper"),
            ("SELECT conname FROM pg_constraint UNION ALL SELECT indkey FROM pg_index", "conname"),
            ("SELECT 1 + 1 FROM information_schema.table_constraints LEFT JOIN pg_class ON true", "?column?"),
        ] {
            assert_eq!(names(sql).map(|names| names.join(" ")).as_deref(), Some(columns), "{sql}");
        }
    }

    #[test]
    fn what_may_have_rows_is_left_alone() {
        for sql in [
            "SELECT relname FROM pg_class LEFT JOIN pg_index ON true",
            "SELECT relname FROM pg_index RIGHT JOIN pg_class ON true",
            "SELECT count(*) FROM pg_index",
            "SELECT coalesce(max(indkey), 3) AS n FROM pg_index",
            "SELECT relname FROM pg_class WHERE oid IN (SELECT indrelid FROM pg_index)",
            "SELECT relname FROM pg_class UNION ALL SELECT indkey FROM pg_index",
            "SELECT id FROM public.pg_index",
            "SHOW timezone",
        ] {
            assert_eq!(names(sql), None, "{sql}");
        }
    }

    #[test]
    fn descriptions_are_null() {
        for (sql, settled) in [
            ("SELECT pg_catalog.col_description(c.oid, 1) FROM pg_class AS c", "SELECT NULL FROM pg_class AS c"),
            ("SELECT pg_size_pretty(pg_table_size(oid)) FROM pg_class", "SELECT NULL FROM pg_class"),
            ("SELECT pg_size_pretty(1) FROM interactions", "SELECT pg_size_pretty(1) FROM interactions"),
        ] {
            let mut statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
            settle(&mut statement);
            assert_eq!(statement.to_string(), settled);
        }
    }

    #[test]
    fn parameters_are_kept() {
        let sql = "SELECT indkey FROM pg_index WHERE indrelid = $2 AND indexrelid = $1";
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        let types = plan(&statement).unwrap().get_parameter_types().unwrap();
        assert_eq!(types.len(), 2);
        assert_eq!(types["$2"], Some(DataType::Utf8));
    }
}
