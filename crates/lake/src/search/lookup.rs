//! Which rows of a data file may fulfil the conditions of a statement, from its index: those that compare a column with
//! values, where the index has the column. Everything else is up to whoever reads the rows.

use std::io;
use std::ops::Range;

use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;
use onrecord_ledger::Needles;
use onrecord_proof::{Shape, field};

use super::bytes::Input;
use super::layout::EXACT as TERM;
use super::read::{Few, Index, Part, damaged};
use super::text::{EXACT, EXACT_BYTES, exact_term};
use crate::sql::HAS_TAG;

/// A condition that more than one of so many rows of a part fulfil spares no page from being read.
const SELECTIVE: usize = 50;

/// Conditions that all hold, each as the terms of which a row has at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions(Vec<Vec<Vec<u8>>>);

impl Conditions {
    /// Those among the filters of a scan of the table `records` that an index knows of.
    pub(crate) fn of(filters: &[Expr]) -> Self {
        let mut conditions = Self::default();
        for filter in filters {
            conditions.add(filter);
        }
        conditions
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a record holds that fulfils them, as far as that is known: the values of text fields stand in it as they are.
    pub(crate) fn needles(&self) -> Needles {
        let groups = self.0.iter().filter_map(|terms| terms.iter().map(|term| needle(term)).collect());
        Needles::new(groups)
    }

    fn add(&mut self, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.add(left);
                self.add(right);
            }
            other => self.0.extend(terms(other)),
        }
    }

    /// The rows of a file that may fulfil them, in order, none touching the next. `None` if nothing is known of them.
    pub(super) fn rows(&self, index: &Index) -> io::Result<Option<Vec<Range<usize>>>> {
        let (mut rows, mut start, mut is_selective) = (Vec::new(), 0, false);
        for part in index.parts()? {
            let end = start + part.rows() as usize;
            match self.rows_of_part(&part)? {
                Some(found) => {
                    is_selective = true;
                    for row in found {
                        add(&mut rows, start + row as usize..start + row as usize + 1);
                    }
                }
                None => add(&mut rows, start..end),
            }
            start = end;
        }
        Ok(is_selective.then_some(rows))
    }

    fn rows_of_part(&self, part: &Part<'_>) -> io::Result<Option<Vec<u32>>> {
        let mut found: Option<Vec<u32>> = None;
        for terms in &self.0 {
            let Some(rows) = rows_of_terms(part, terms)? else { continue };
            found = Some(match found {
                Some(mut found) => {
                    found.retain(|row| rows.binary_search(row).is_ok());
                    found
                }
                None => rows,
            });
            if found.as_ref().is_some_and(Vec::is_empty) {
                break;
            }
        }
        Ok(found)
    }
}

/// What a record with the term holds; of a long value as much as the term has of it.
fn needle(term: &[u8]) -> Option<Vec<u8>> {
    let split = term.iter().position(|byte| *byte == 0)?;
    let (name, value) = (&term[..split], &term[split + 1..]);
    let (_, fields) = EXACT.iter().find(|(known, _)| known.as_bytes() == name)?;
    let are_texts = !fields.is_empty() && fields.iter().all(|field| field.shape == Shape::Text);
    are_texts.then(|| value[..value.len().min(EXACT_BYTES)].to_vec())
}

/// The rows that have one of the terms, in order. `None` if they are too many to be worth it.
fn rows_of_terms(part: &Part<'_>, terms: &[Vec<u8>]) -> io::Result<Option<Vec<u32>>> {
    let (mut rows, most) = (Vec::new(), part.rows() as usize / SELECTIVE);
    for term in terms {
        match part.find_up_to(TERM, term, most)? {
            Few::None => {}
            Few::TooMany => return Ok(None),
            Few::Postings(postings) => {
                read_rows(&postings, &mut rows).ok_or_else(|| damaged("postings make no sense"))?;
            }
        }
    }
    rows.sort_unstable();
    rows.dedup();
    Ok(Some(rows))
}

/// Reads the postings of an exact term: the distance of each row from the one before.
pub(super) fn read_rows(postings: &[u8], rows: &mut Vec<u32>) -> Option<()> {
    let (mut input, mut row) = (Input(postings), 0_u32);
    while !input.0.is_empty() {
        row = row.checked_add(input.small()?)?;
        rows.push(row);
    }
    Some(())
}

fn add(rows: &mut Vec<Range<usize>>, more: Range<usize>) {
    match rows.last_mut() {
        Some(last) if last.end == more.start => last.end = more.end,
        _ => rows.push(more),
    }
}

/// The terms of which a row that fulfils the condition has at least one, if there are such.
fn terms(condition: &Expr) -> Option<Vec<Vec<u8>>> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (column, value) = column(left).zip(literal(right)).or_else(|| column(right).zip(literal(left)))?;
            Some(vec![exact_term(name(column)?, &value)])
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut either = terms(left)?;
            either.extend(terms(right)?);
            Some(either)
        }
        Expr::InList(list) if !list.negated => {
            let name = name(column(&list.expr)?)?;
            list.list.iter().map(|value| Some(exact_term(name, &literal(value)?))).collect()
        }
        Expr::ScalarFunction(function) if function.name() == HAS_TAG => tag(&function.args),
        _ => None,
    }
}

/// `has_tag(tags, 'key')` and `has_tag(tags, 'key', 'value')`.
fn tag(arguments: &[Expr]) -> Option<Vec<Vec<u8>>> {
    let (tags, wanted) = arguments.split_first()?;
    let wanted = wanted.iter().map(literal).collect::<Option<Vec<_>>>()?;
    (column(tags) == Some(&field::TAGS.column())).then(|| vec![exact_term("tag", &wanted.join("="))])
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// A value as its term has it.
fn literal(expr: &Expr) -> Option<String> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::Int64(Some(number)) => Some(number.to_string()),
        other => other.try_as_str().flatten().map(str::to_owned),
    }
}

/// The name under which an index has a column of the table `records`.
fn name(column: &str) -> Option<&'static str> {
    let of = |(name, fields): &(&'static str, &[&onrecord_proof::Field])| match fields {
        [] => *name == column && *name != "tag",
        fields => fields.iter().any(|field| field.column() == column),
    };
    EXACT.iter().find(|entry| of(entry)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn check(filters: &[Expr], expected: &[&[(&str, &str)]]) {
        let expected = expected.iter().map(|terms| terms.iter().map(|(name, value)| exact_term(name, value)).collect());
        assert_eq!(Conditions::of(filters), Conditions(expected.collect()), "{filters:?}");
    }

    #[test]
    fn what_a_record_holds() {
        let holds =
            |filter: Expr, record: &str| Conditions::of(&[filter]).needles().are_in(&[record.as_bytes()].into_iter());
        let session = || col("gen_ai_conversation_id");
        assert!(holds(session().eq(lit("abc")), "xabcx") && !holds(session().eq(lit("abc")), "xabx"));
        let either = session().in_list(vec![lit("abc"), lit("d")], false);
        assert!(holds(either.clone(), "d") && !holds(either.clone(), "ab"));
        assert!(
            holds(either.clone().and(session().eq(lit("x"))), "dx") && !holds(either.and(session().eq(lit("x"))), "d")
        );
        // Of these a record does not hold the text.
        assert!(holds(col("id").eq(lit("a")), "b") && holds(col("http_response_status_code").eq(lit(500_i64)), "b"));
        assert!(holds(session().eq(lit("a")).or(col("id").eq(lit("c"))), "b"));
        let long = "l".repeat(300);
        assert!(holds(session().eq(lit(long.clone())), &long) && !holds(session().eq(lit(long.clone())), &long[..255]));
    }

    #[test]
    fn what_an_index_knows_of() {
        let session = || col("gen_ai_conversation_id");
        check(&[session().eq(lit("a"))], &[&[("session", "a")]]);
        check(&[lit("a").eq(col("id")).and(col("kind").eq(lit("step")))], &[&[("id", "a")], &[("kind", "step")]]);
        check(&[session().in_list(vec![lit("a"), lit("b")], false)], &[&[("session", "a"), ("session", "b")]]);
        check(&[col("http_response_status_code").eq(lit(500_i64))], &[&[("status", "500")]]);
        let either = col("gen_ai_request_model").eq(lit("m")).or(col("gen_ai_response_model").eq(lit("m")));
        check(&[either], &[&[("model", "m"), ("model", "m")]]);
        for unknown in [
            session().not_eq(lit("a")),
            session().in_list(vec![lit("a")], true),
            session().eq(col("id")),
            session().eq(lit("a")).or(col("onrecord_step").eq(lit("a"))),
            col("tag").eq(lit("a")),
        ] {
            check(&[unknown], &[]);
        }
    }
}
