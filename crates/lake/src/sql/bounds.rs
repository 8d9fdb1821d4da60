//! Which leaves a statement is about, from its conditions on `leaf_index`.

use std::ops::Range;

use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use datafusion::scalar::ScalarValue;

use crate::schema::{COLUMNS, Source};

/// The leaves that may fulfil all of the filters.
pub(super) fn leaves(filters: &[Expr]) -> Range<u64> {
    let mut leaves = 0..u64::MAX;
    for filter in filters {
        narrow(&mut leaves, filter);
    }
    leaves
}

fn narrow(leaves: &mut Range<u64>, filter: &Expr) {
    let from = |leaves: &mut Range<u64>, from: u64| leaves.start = leaves.start.max(from);
    let until = |leaves: &mut Range<u64>, until: u64| leaves.end = leaves.end.min(until);
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            narrow(leaves, left);
            narrow(leaves, right);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let straight = leaf(left, right).map(|leaf| (*op, leaf));
            let swapped = || leaf(right, left).and_then(|leaf| Some((op.swap()?, leaf)));
            match straight.or_else(swapped) {
                Some((Operator::Eq, leaf)) => {
                    from(leaves, leaf);
                    until(leaves, leaf.saturating_add(1));
                }
                Some((Operator::GtEq, leaf)) => from(leaves, leaf),
                Some((Operator::Gt, leaf)) => from(leaves, leaf.saturating_add(1)),
                Some((Operator::LtEq, leaf)) => until(leaves, leaf.saturating_add(1)),
                Some((Operator::Lt, leaf)) => until(leaves, leaf),
                _ => {}
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            if let Some(low) = leaf(expr, low) {
                from(leaves, low);
            }
            if let Some(high) = leaf(expr, high) {
                until(leaves, high.saturating_add(1));
            }
        }
        _ => {}
    }
}

/// The leaf that the column is compared with.
fn leaf(column: &Expr, value: &Expr) -> Option<u64> {
    let is_leaf = |name: &str| COLUMNS.iter().any(|of| of.source == Source::LeafIndex && of.field.name() == name);
    match (column, value) {
        (Expr::Column(column), Expr::Literal(ScalarValue::Int64(Some(leaf)), _)) if is_leaf(&column.name) => {
            // A negative one says nothing here; the filter itself is looked at for every row that is read.
            u64::try_from(*leaf).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn leaves_of_conditions() {
        let leaf = || col("leaf_index");
        for (filter, expected) in [
            (leaf().eq(lit(5_i64)), 5..6),
            (leaf().gt_eq(lit(5_i64)).and(leaf().lt(lit(9_i64))), 5..9),
            (lit(5_i64).lt(leaf()).and(lit(9_i64).gt_eq(leaf())), 6..10),
            (leaf().between(lit(5_i64), lit(9_i64)), 5..10),
            (leaf().between(lit(-5_i64), lit(9_i64)), 0..10),
            (leaf().not_between(lit(5_i64), lit(9_i64)), 0..u64::MAX),
            (leaf().eq(lit(5_i64)).or(leaf().eq(lit(7_i64))), 0..u64::MAX),
            (leaf().gt(lit(i64::MAX)), i64::MAX as u64 + 1..u64::MAX),
            (leaf().lt(lit(-1_i64)).and(col("kind").eq(lit(3_i64))), 0..u64::MAX),
        ] {
            assert_eq!(leaves(std::slice::from_ref(&filter)), expected, "{filter}");
        }
        assert!(leaves(&[leaf().gt(lit(5_i64)), leaf().lt(lit(3_i64))]).is_empty());
        assert_eq!(leaves(&[]), 0..u64::MAX);
    }
}
