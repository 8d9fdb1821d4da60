//! Sets of leaves, as disposal records name them.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A set of leaf indexes. Its text is how a disposal record names the leaves that it is about: single ones and ranges of
/// which both ends belong to the set, in ascending order: `3,7-19,25`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeafSet(Vec<Range<u64>>);

impl LeafSet {
    /// How many leaves there are.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// True if there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more than the last leaf, 0 if there are none.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |range| range.end)
    }

    /// The ranges in ascending order; none touches the next.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// True if `leaf` belongs to the set.
    pub fn contains(&self, leaf: u64) -> bool {
        let after = self.0.partition_point(|range| range.end <= leaf);
        self.0.get(after).is_some_and(|range| range.start <= leaf)
    }

    /// True if one of `leaves` belongs to the set.
    pub fn touches(&self, leaves: &Range<u64>) -> bool {
        let after = self.0.partition_point(|range| range.end <= leaves.start);
        self.0.get(after).is_some_and(|range| range.start < leaves.end)
    }

    /// Adds the leaves of another set.
    pub fn add(&mut self, other: Self) {
        let mut all = std::mem::take(&mut self.0);
        all.extend(other.0);
        all.sort_unstable_by_key(|range| range.start);
        for range in all {
            match self.0.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => self.0.push(range),
            }
        }
    }

    /// The leaves that are in both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        for range in &self.0 {
            let from = other.0.partition_point(|range_b| range_b.end <= range.start);
            for range_b in other.0[from..].iter().take_while(|range_b| range_b.start < range.end) {
                both.push(range.start.max(range_b.start)..range.end.min(range_b.end));
            }
        }
        Self(both)
    }

    /// The leaves that are in this set and not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for range in &self.0 {
            let mut start = range.start;
            let from = other.0.partition_point(|range_b| range_b.end <= range.start);
            for range_b in other.0[from..].iter().take_while(|range_b| range_b.start < range.end) {
                if start < range_b.start {
                    left.push(start..range_b.start);
                }
                start = range_b.end;
            }
            if start < range.end {
                left.push(start..range.end);
            }
        }
        Self(left)
    }

    /// The same leaves in sets of at most so many ranges.
    pub fn in_parts(&self, ranges: usize) -> impl Iterator<Item = Self> + '_ {
        self.0.chunks(ranges.max(1)).map(|part| Self(part.to_vec()))
    }
}

impl FromIterator<u64> for LeafSet {
    fn from_iter<I: IntoIterator<Item = u64>>(leaves: I) -> Self {
        let mut set = Self::default();
        set.add(Self(leaves.into_iter().map(|leaf| leaf..leaf.saturating_add(1)).collect()));
        set
    }
}

impl fmt::Display for LeafSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match range.end - range.start {
                1 => write!(f, "{comma}{}", range.start)?,
                _ => write!(f, "{comma}{}-{}", range.start, range.end - 1)?,
            }
        }
        Ok(())
    }
}

impl FromStr for LeafSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("not a leaf index: {text:?}"));
        let mut ranges = Vec::<Range<u64>>::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (start, end) = (number(first)?, number(last)?.checked_add(1).ok_or("a leaf index is too large")?);
            if start >= end || ranges.last().is_some_and(|before| start <= before.end) {
                return Err(format!("leaf indexes are not in ascending order at {part:?}"));
            }
            ranges.push(start..end);
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn members(set: &LeafSet) -> BTreeSet<u64> {
        set.ranges().iter().cloned().flatten().collect()
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set(a in vec(0..60_u64, 0..40), b in btree_set(0..60_u64, 0..40), at in 0..60_u64) {
            let (left, right): (LeafSet, LeafSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            let a: BTreeSet<_> = a.into_iter().collect();
            prop_assert_eq!(members(&left), a.clone());
            prop_assert_eq!(left.len(), a.len() as u64);
            prop_assert_eq!(left.to_string().parse::<LeafSet>(), Ok(left.clone()));
            prop_assert_eq!(left.contains(at), a.contains(&at));
            prop_assert_eq!(left.touches(&(at..at + 3)), a.range(at..at + 3).next().is_some());
            prop_assert_eq!(members(&left.and(&right)), &a & &b);
            prop_assert_eq!(members(&left.without(&right)), &a - &b);
            let mut parts = LeafSet::default();
            left.in_parts(2).for_each(|part| parts.add(part));
            prop_assert_eq!(&parts, &left);
            parts.add(right);
            prop_assert_eq!(members(&parts), &a | &b);
        }
    }

    #[test]
    fn texts_that_name_no_set_are_refused() {
        for bad in ["x", "1,", "3-2", "2,1", "1-4,4", "1,2", "-1", "18446744073709551615"] {
            assert!(bad.parse::<LeafSet>().is_err(), "{bad}");
        }
        assert_eq!("".parse(), Ok(LeafSet::default()));
    }
}
